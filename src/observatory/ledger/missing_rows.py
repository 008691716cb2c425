"""Which rows of `wanted` are asked for, and why each of them is missing.

A reason is what explains a gap best: that somebody is at it, that it failed, that it was withdrawn or
restated, that it is late, that the source offers it, that it is expected. Claims end and lateness begins by
time alone, so reasons are worked out when they are asked for.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    case,
    literal_column,
    or_,
    select,
    tuple_,
)

from ..intervals import EVER, Period
from ..records import Reason
from .database import Transaction
from .filters import has_tag
from .statements import Values, among
from .tables import MOMENT, datasets, wanted, workflows

NOW = bindparam("now", type_=MOMENT)
W = wanted.c
PLACE = (W.dataset_id, W.start_date, W.end_date)


class Asked(NamedTuple):
    """Of what is asked what is missing; without any of it, of everything that the caller may see."""

    dataset_id: int | None = None
    workflow_id: int | None = None
    organisation_id: int | None = None
    tag: str | None = None
    span: Period | None = None
    reasons: tuple[Reason, ...] = ()
    stale: bool = False  # also what is to be made again


class Place(NamedTuple):
    """The last period of a page: the next one begins behind it. What is stale is behind all else."""

    dataset: int
    start: datetime
    end: datetime
    stale: bool = False


class Shape(NamedTuple):
    """Which conditions a statement has."""

    of_dataset: bool
    of_workflow: bool
    of_organisation: bool
    tagged: bool
    in_span: bool
    restricted: bool
    reasons: tuple[Reason, ...] = ()
    behind: bool = False


def shape_of(tx: Transaction, asked: Asked) -> Shape:
    """Returns the conditions of what is asked, but for the reasons."""
    return Shape(
        of_dataset=asked.dataset_id is not None,
        of_workflow=asked.workflow_id is not None,
        of_organisation=asked.organisation_id is not None,
        tagged=asked.tag is not None,
        in_span=asked.span is not None,
        restricted=tx.by.within("read") is not None,
    )


def values_of(tx: Transaction, asked: Asked) -> Values:
    """Returns the values of these conditions, and the moment of which all is told."""
    span = asked.span or EVER
    values: Values = {"now": tx.now, "dataset": asked.dataset_id, "tag": asked.tag}
    values |= {"workflow": asked.workflow_id, "organisation": asked.organisation_id}
    values |= {"span_start": span.start_date, "span_end": span.until}
    return values | {"seen": sorted(tx.by.within("read") or ())}


def behind(place: Place | None) -> Values:
    """Returns the values of a statement whose shape is `behind`."""
    return {f"after_{name}": value for name, value in place._asdict().items()} if place else {}


def reason() -> ColumnElement[str]:
    """Returns why a period is missing now."""
    return case((W.claimed_until > NOW, _said("claimed")), else_=why())


def why() -> ColumnElement[str]:
    """Returns why a period is missing now, whoever holds it."""
    return case(
        # A claim that ran out was given back by nobody: whoever held it came to grief.
        (or_(W.failures > literal_column("0"), W.claimed_until <= NOW), _said("failed")),
        (W.withdrawn.is_not(None), _said("withdrawn")),
        (W.restated.is_not(None), _said("restated")),
        (W.late <= NOW, _said("late")),
        (and_(W.first_seen.is_not(None), W.gone.is_(None)), _said("offered")),
        else_=_said("expected"),
    )


def note() -> ColumnElement[str]:
    """Returns what was said when it became so: the error of a failure, the reason of a withdrawal."""
    return case((W.failures > 0, W.error), (W.withdrawn.is_not(None), W.reason))


def rows_of(shape: Shape, sqlite: bool, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Returns the rows of what is missing, or will be, in their order."""
    source: FromClause = wanted
    if datasets.c.name in columns or any(shape[1:4]) or shape.restricted:
        source = source.join(datasets, datasets.c.id == W.dataset_id).join(workflows)
    rows = select(*columns).select_from(source).where(W.since.is_not(None))
    if shape.of_dataset:
        rows = rows.where(W.dataset_id == bindparam("dataset"))
    if shape.of_workflow:
        rows = rows.where(datasets.c.workflow_id == bindparam("workflow"))
    if shape.of_organisation:
        rows = rows.where(workflows.c.organisation_id == bindparam("organisation"))
    if shape.tagged:
        rows = rows.where(has_tag(workflows.c.tags, bindparam("tag")))
    if shape.in_span:
        start, end = bindparam("span_start", type_=MOMENT), bindparam("span_end", type_=MOMENT)
        rows = rows.where(W.start_date < end, or_(W.end_date > start, W.start_date >= start))
    if shape.reasons:
        rows = rows.where(or_(*(reason() == _said(one) for one in shape.reasons)))
    if shape.restricted:
        rows = rows.where(among(workflows.c.organisation_id, "seen", sqlite))
    return rows.where(_is_beyond("after", shape)) if shape.behind else rows


def _is_beyond(place: str, shape: Shape) -> ColumnElement[bool]:
    start, end = (bindparam(f"{place}_{name}", type_=MOMENT) for name in ("start", "end"))
    if shape.of_dataset:
        return tuple_(*PLACE[1:]) > tuple_(start, end)
    return tuple_(*PLACE) > tuple_(bindparam(f"{place}_dataset"), start, end)


def _said(word: Reason) -> ColumnElement[str]:
    return literal_column(f"'{word}'", Text)
