"""What telescopes do, as plain functions for tasks that are written with TaskFlow or by hand.

@task
def missing() -> list[dict]:
    return missing_releases(3)

@task(map_index_template="{{ task.op_kwargs['release']['start_date'] }}")
def ingest(release: dict) -> None:
    with claimed_release(3, release) as one:
        one.row_count = load(one.start_date)

ingest.expand(release=missing())
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from airflow.sdk import get_current_context

from ..client import make_observatory_api
from ..errors import Invalid
from ..intervals import Period, moment
from ..leases import Order
from ..records import DatasetRelease
from ..wants import Missing, Probed
from . import claims
from .recording import record
from .releases import TOLD, Release, run_of
from .telescopes import MOST


def probe_source(
    dataset_id: int, offered: Callable[[], Iterable[Release]], *, sees_all: bool = True
) -> Probed:
    """Tells the book what a source offers now, as `offered` returns it, and returns what that changed.

    That it could not be looked at is told too, and raised. Where `offered` tells only a part of what the
    source has, `sees_all` must be false, or the rest is taken to be gone.
    """
    with make_observatory_api() as api:
        return claims.probe(api, dataset_id, offered, sees_all)[1]


def missing_releases(dataset_id: int, *, limit: int = MOST, order: Order = "oldest") -> list[dict[str, Any]]:
    """Returns what this run may load of what is missing of a dataset, to expand a task over.

    Each has `start_date` and `end_date` as text, and what the source tells of it. What others hold, and what
    failed a short while ago, is not among them.
    """
    run = run_of(get_current_context())
    with make_observatory_api() as api:
        free = claims.loadable(api.get_missing(dataset_id=dataset_id), run, datetime.now(UTC))
    free.sort(key=lambda one: (one.start_date, one.end_date), reverse=order == "newest")
    return [_told(one) for one in free[:limit]]


@contextmanager
def claimed_release(
    dataset_id: int,
    release: Mapping[str, Any] | Period | tuple[date, date],
    *,
    seconds: int = 900,
    partitioned: bool = True,
) -> Iterator[DatasetRelease]:
    """Claims a release for the length of a `with` statement, which loads it; at its end it is recorded.

    It is yielded with the facts that are known, to be given those that loading tells: `row_count`, `digest`,
    `extras`. Where it fails for the last time it is given back with the error. Raises AirflowSkipException
    where it is not missing, or somebody else loads it; Empty or Unobtainable raised in it is recorded.
    """
    context = get_current_context()
    period = _period(release)
    with make_observatory_api() as api, claims.claimed(api, dataset_id, period, context, seconds) as claim:
        made = DatasetRelease(dataset=api.get_dataset(dataset_id), run=run_of(context))
        made.start_date, made.end_date = period.start_date, period.end_date
        made.ingestion_start = datetime.now(UTC)
        for name in ("version_label", "published", "extras"):
            if isinstance(release, Mapping) and release.get(name) is not None:
                setattr(made, name, release[name])
        yield made
        made.ingestion_end = datetime.now(UTC)
        record(api, [made], context, claim, partitioned)


def record_release(dataset_id: int, start_date: date, end_date: date, **facts: Any) -> int:
    """Records a release with facts such as `row_count`, and returns its id; again, it is the one there."""
    context = get_current_context()
    with make_observatory_api() as api:
        made = DatasetRelease(dataset=api.get_dataset(dataset_id), run=run_of(context), **facts)
        made.start_date, made.end_date = moment(start_date), moment(end_date)
        return record(api, [made], context)[0].id


def _told(missing: Missing) -> dict[str, Any]:
    facts = {name: getattr(missing, name) for name in ("start_date", "end_date", *TOLD)}
    told: dict[str, Any] = msgspec.to_builtins({name: one for name, one in facts.items() if one is not None})
    return told


def _period(release: Mapping[str, Any] | Period | tuple[date, date]) -> Period:
    if isinstance(release, Period):
        return release
    try:
        if isinstance(release, tuple):
            return Period(moment(release[0]), moment(release[1]))
        return msgspec.convert({"start_date": release["start_date"], "end_date": release["end_date"]}, Period)
    except (KeyError, ValueError) as error:
        cure = "give one of those that missing_releases returns, or a pair of times"
        raise Invalid(f"{release!r} is no release: {error}", {"release": cure}) from None
