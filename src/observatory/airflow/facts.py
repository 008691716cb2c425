"""What tasks find out about releases, carried to the tasks after them, as each makes its releases anew."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from airflow.sdk import Context

from ..errors import Invalid
from .releases import Release

KEY = "facts"  # of the XCom
TYPES = {field.name: field.type for field in msgspec.structs.fields(Release)}

Facts = dict[str, Any]


@contextmanager
def carried(made: object, context: Context) -> Iterator[None]:
    """Gives releases the facts that tasks before this one set, and keeps what it sets, if it ends well.

    Releases are told apart by their periods. Whatever else is made is left alone.
    """
    among = made if isinstance(made, Sequence) else [made]
    releases = {_period(one): one for one in among if isinstance(one, Release)}
    for earlier in _earlier(context) if releases else []:
        for period in earlier.keys() & releases.keys():
            _set(releases[period], earlier[period])
    before = {period: _facts(release) for period, release in releases.items()}
    yield
    changed = {period: _changed(before[period], _facts(one)) for period, one in releases.items()}
    if any(changed.values()):
        context["ti"].xcom_push(key=KEY, value={period: facts for period, facts in changed.items() if facts})


def _earlier(context: Context) -> list[dict[str, Facts]]:
    """Returns what each task before this one has set, by period, in the order they were added."""
    before = context["task"].get_flat_relative_ids(upstream=True)
    in_order = [task_id for task_id in context["dag"].task_dict if task_id in before]
    found = context["ti"].xcom_pull(task_ids=in_order, key=KEY) if in_order else []
    return [one for one in found if one]


def _facts(release: Release) -> Facts:
    """Returns the facts of a release as an XCom can keep them."""
    facts: Facts = {}
    for field, kind in TYPES.items():
        try:
            facts[field] = msgspec.to_builtins(getattr(release, field))
            msgspec.convert(facts[field], kind)
        except (TypeError, msgspec.ValidationError) as error:
            raise Invalid("a release has a fact that cannot be recorded", {field: str(error)}) from None
    return facts


def _changed(before: Facts, after: Facts) -> Facts:
    return {field: value for field, value in after.items() if value != before[field]}


def _set(release: Release, facts: Facts) -> None:
    for field, value in facts.items():
        setattr(release, field, msgspec.convert(value, TYPES[field]))


def _period(release: Release) -> str:
    return f"{release.start_date.isoformat()}/{release.end_date.isoformat()}"
