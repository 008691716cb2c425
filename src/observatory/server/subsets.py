"""Of which periods a subset of a dataset is, as OpenLineage says what a run wrote. Pure.

Understood are partitions by one date, by date and hour, or by year, month, day and hour; locations whose
last part is such a date, or which are written as `date=2021-01-02`; and comparisons of one field with times,
put together with AND, and several of them with OR. A part of a period, such as one country of a day, is none.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..intervals import Period, Step, moment
from ..naming import period_named
from .openlineage import Expression

PARTS = ("year", "month", "day", "hour")
HOURS = ("hour", "hr")


class Unclear(ValueError):
    """Nobody can tell of which period a subset is."""


class Bounds(NamedTuple):
    """Between which times a field is."""

    field: str
    start: datetime | None
    end: datetime | None


def periods_of(said: Expression, granularity: Step | None) -> list[Period]:
    """Returns the periods of a subset, once each; raises Unclear, which says why, where nobody can tell."""
    found: list[Period]
    match said.type:
        case "partition":
            found = [_of_dimensions(p.dimensions, p.identifier, granularity) for p in said.partitions]
        case "location":
            found = [_of_location(location, granularity) for location in said.locations]
        case "binary" if said.operator == "OR" and said.left and said.right:
            found = [*periods_of(said.left, granularity), *periods_of(said.right, granularity)]
        case _:
            found = [_between(_bounds(said, granularity))]
    if not found:
        raise Unclear(f"its subset of type {said.type!r} names nothing")
    return list(dict.fromkeys(found))


def _of_dimensions(dimensions: Mapping[str, Any], identifier: str | None, step: Step | None) -> Period:
    values = {name.lower(): str(value) for name, value in dimensions.items()}
    named = [part for part in PARTS if part in values]
    text = identifier or ""
    if values and len(named) == len(values) and tuple(named) == PARTS[: len(named)]:
        text = "".join(values[part].rjust(2, "0") for part in named)
    elif len(values) == 1:
        [text] = values.values()
    elif len(values) == 2 and (hour := next((values.pop(name) for name in HOURS if name in values), None)):
        [day] = values.values()
        text = f"{day}T{hour.rjust(2, '0')}"
    elif values:
        raise Unclear(f"a partition by {', '.join(dimensions)} may be a part of a period only")
    if (found := period_named(text, step)) is None:
        raise Unclear(f"the partition {text!r} names no period")
    return found


def _of_location(location: str, step: Step | None) -> Period:
    parts = [part for part in location.split("/") if part]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    if named:
        return _of_dimensions(named, None, step)
    if not parts or (found := period_named(parts[-1], step)) is None:
        raise Unclear(f"the location {location!r} names no period")
    return found


def _bounds(said: Expression, step: Step | None) -> Bounds:
    """Returns what a comparison says of a field, or what two comparisons say of the same."""
    if said.type == "binary" and said.operator == "AND" and said.left and said.right:
        one, other = _bounds(said.left, step), _bounds(said.right, step)
        if one.field != other.field:
            raise Unclear(f"a subset by {one.field} and {other.field} may be a part of a period only")
        starts = [at for at in (one.start, other.start) if at is not None]
        ends = [at for at in (one.end, other.end) if at is not None]
        return Bounds(one.field, max(starts, default=None), min(ends, default=None))
    left, right = said.left, said.right
    if said.type != "compare" or not (left and right) or (left.type, right.type) != ("field", "literal"):
        raise Unclear(f"a subset of type {said.type!r} is not understood")
    at = _period_of(str(right.value), step)
    match said.comparison:
        case "EQUAL":
            return Bounds(left.field, at.start_date, at.end_date)
        case "GREATER_EQUAL_THAN":
            return Bounds(left.field, at.start_date, None)
        case "LESS_THAN":
            return Bounds(left.field, None, at.start_date)
        # What is at most a day has its end behind that day; behind a moment there is no next one.
        case "GREATER_THAN" if not at.is_instant:
            return Bounds(left.field, at.end_date, None)
        case "LESS_EQUAL_THAN" if not at.is_instant:
            return Bounds(left.field, None, at.end_date)
    raise Unclear(f"{left.field} {said.comparison} {right.value!r} is no half-open period")


def _period_of(text: str, step: Step | None) -> Period:
    if found := period_named(text, step):
        return found
    try:
        said = datetime.fromisoformat(text)
        at = moment(said if said.tzinfo else said.replace(tzinfo=UTC))
    except ValueError:
        raise Unclear(f"{text!r} is no time") from None
    return Period(at, at)


def _between(bounds: Bounds) -> Period:
    if bounds.start is None or bounds.end is None:
        raise Unclear(f"{bounds.field} has no {'start' if bounds.start is None else 'end'} in the subset")
    if bounds.start > bounds.end:
        raise Unclear(f"{bounds.field} ends before it starts in the subset")
    return Period(bounds.start, bounds.end)
