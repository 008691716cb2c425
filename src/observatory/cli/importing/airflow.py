"""`observatory adopt-from airflow`: what Airflow's asset events say was loaded."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...intervals import Period, Step, moment
from ...naming import period_named
from ...records import Dataset, DatasetRelease, Run
from ..book import opened
from ..keys import id_of
from .plan import DatasetName, DryRun, carry_out

if TYPE_CHECKING:
    from ...client.airflow_events import AirflowEvents, AssetEvent, Interval

NAMED = 20  # so many events without a period are named
IntervalOf = Callable[[str, str], "Interval | None"]


def airflow(
    context: typer.Context,
    airflow_url: Annotated[str, typer.Option("--url", metavar="URL", help="Where Airflow is served.")],
    asset: Annotated[str, typer.Option(metavar="ASSET", help="The URI or the name of the asset.")],
    dataset: DatasetName,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AIRFLOW_API_TOKEN",
            metavar="TOKEN",
            help="Of Airflow's API; better given in the environment: other users of a machine see options.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Records a release for each period that the asset events of Airflow tell of.

    The period is what the `extra` of an event says, as start_date and end_date, or snapshot_date; else its
    partition key; else the data interval of the run that made it. So are row_count, version_label and digest
    taken from the extra. Of several events of a period the last one counts. Events that tell of no period
    are named and passed over.
    """
    # Imported here, since it reads HTTP's library, which takes longer than all the rest.
    from ...client.airflow_events import AirflowEvents

    with AirflowEvents(airflow_url, token) as source, opened(context) as api:
        found = api.get_dataset(id_of(api, Dataset, dataset))
        step: Step | None = found.dataset_type.table_type.granularity
        passed: list[int] = []
        releases = list(_releases(source, asset, found.id, step, passed))
        if passed:
            which = ", ".join(map(str, passed[:NAMED])) + (" …" if len(passed) > NAMED else "")
            print(f"note: events that tell of no period: {which}", file=sys.stderr)
        carry_out(api, found.id, releases, dry_run)


def _releases(
    source: "AirflowEvents", said: str, dataset_id: int, step: Step | None, passed: list[int]
) -> Iterator[DatasetRelease]:
    asset = source.asset(said)
    interval_of = cache(source.interval)
    for event in source.events(asset.id):
        if (period := _period(event, step, interval_of)) is None:
            passed.append(event.id)
            continue
        extra = event.extra or {}
        index = event.source_map_index
        yield DatasetRelease(
            dataset=Dataset(id=dataset_id),
            start_date=period.start_date,
            end_date=period.end_date,
            version_label=_text(extra.get("version_label")),
            digest=_text(extra.get("digest")),
            row_count=count if type(count := extra.get("row_count")) is int and count >= 0 else None,
            ingestion_end=event.timestamp,
            run=Run(event.source_dag_id, event.source_run_id, event.source_task_id, index),
            reason="adopted: an asset event of Airflow",
            extras={"evidence": {"asset": asset.uri, "event": event.id}},
        )


def _period(event: "AssetEvent", step: Step | None, interval_of: IntervalOf) -> Period | None:
    """Returns the period that an event tells of; None where it tells of none."""
    extra = event.extra or {}
    if "start_date" in extra and "end_date" in extra:
        return _between(_time(extra["start_date"]), _time(extra["end_date"]))
    if "snapshot_date" in extra:
        at = _time(extra["snapshot_date"])
        return _between(at, at)
    if event.partition_key:
        return period_named(event.partition_key, step)
    if event.source_dag_id and event.source_run_id:
        interval = interval_of(event.source_dag_id, event.source_run_id)
        if interval:
            return _between(interval.data_interval_start, interval.data_interval_end)
    return None


def _between(start: datetime | None, end: datetime | None) -> Period | None:
    if start is None or end is None or start.tzinfo is None or end.tzinfo is None or start > end:
        return None
    return Period(moment(start), moment(end))


def _time(said: Any) -> datetime | None:
    """Returns the time that an extra says: a date is its midnight in UTC, a time needs its offset."""
    if (
        day := period_named(said) if isinstance(said, str) and len(said) == len("2021-01-31") else None
    ) is not None:
        return day.start_date
    try:
        return datetime.fromisoformat(said)
    except (TypeError, ValueError):
        return None


def _text(said: Any) -> str | None:
    return said if isinstance(said, str) and 0 < len(said) <= 2000 and said.isprintable() else None
