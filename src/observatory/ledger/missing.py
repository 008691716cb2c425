"""What is missing and why: of one dataset or of many, as runs of periods or one by one, from one index.

A reason is what explains a gap best: that somebody is at it, that it failed, that it was withdrawn or
restated, that it is late, that the source offers it, that it is expected. Claims end and lateness begins by
time alone, so reasons are worked out when they are asked for.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)

from ..errors import Invalid
from ..intervals import EVER, Period
from ..records import SETTLED, Dataset, Organisation, Reason, Workflow
from ..wants import Missing, MissingPage, MissingRun
from . import catalogue
from .coverage import among as in_states
from .database import Transaction
from .filters import has_tag
from .holdings import must_exist
from .statements import Statement, Values, among
from .tables import MOMENT, claims, dataset_releases, datasets, wanted, workflows

NOW = bindparam("now", type_=MOMENT)
W = wanted.c
PLACE = (W.dataset_id, W.start_date, W.end_date)
DETAILS = ("late", "version_label", "published", "size", "digest", "extras", "failures", "retry_at")


class Asked(NamedTuple):
    """Of what is asked what is missing; without any of it, of everything that the caller may see."""

    dataset_id: int | None = None
    workflow_id: int | None = None
    organisation_id: int | None = None
    tag: str | None = None
    span: Period | None = None
    reasons: tuple[Reason, ...] = ()


class Place(NamedTuple):
    """The last period of a page: the next one begins behind it."""

    dataset: int
    start: datetime
    end: datetime


def reason() -> ColumnElement[str]:
    """Returns why a period is missing now."""
    is_offered = and_(W.first_seen.is_not(None), W.gone.is_(None))
    return case(
        (W.claimed_until > NOW, _said("claimed")),
        # A claim that ran out was given back by nobody: whoever held it came to grief.
        (or_(W.failures > 0, W.claimed_until.is_not(None)), _said("failed")),
        (W.withdrawn.is_not(None), _said("withdrawn")),
        (W.restated.is_not(None), _said("restated")),
        (W.late <= NOW, _said("late")),
        (is_offered, _said("offered")),
        else_=_said("expected"),
    )


def _said(word: Reason) -> ColumnElement[str]:
    return literal_column(f"'{word}'")


def _note() -> ColumnElement[str]:
    return case((W.failures > 0, W.error), (W.withdrawn.is_not(None), W.reason))


async def missing(
    tx: Transaction, asked: Asked, runs: bool, limit: int, after: Place | None = None
) -> MissingPage:
    """Returns how much is missing for which reasons, and a page of it: runs of periods, or single ones.

    All of it is of one moment. Raises NotFound where the dataset does not exist.
    """
    if asked.dataset_id is not None:
        await must_exist(tx, asked.dataset_id)
    seen = tx.by.within("read")
    shape = _Shape(
        of_dataset=asked.dataset_id is not None,
        of_workflow=asked.workflow_id is not None,
        of_organisation=asked.organisation_id is not None,
        tagged=asked.tag is not None,
        in_span=asked.span is not None,
        reasons=asked.reasons,
        behind=after is not None,
        restricted=seen is not None,
    )
    values = _values(tx, asked, limit, after) | {"seen": sorted(seen or ())}
    rows = await tx.rows(_statement(shape, runs), values)
    counts, found = _from_json(rows[0][0]), [row[1:] for row in rows if row[1] is not None]
    if not counts:
        await must_be_there(tx, asked.workflow_id, asked.organisation_id)
    page = MissingPage(tx.now, counts)
    if runs:
        page.runs = [_run(*row) for row in found]
        last = Place(found[-1][0], found[-1][8], found[-1][9]) if found else None
    else:
        page.periods = [_period(*row) for row in found]
        last = Place(found[-1][0], found[-1][2], found[-1][3]) if found else None
    if last and len(found) == limit:
        page.after = said(last)
    return page


async def must_be_there(tx: Transaction, workflow_id: int | None, organisation_id: int | None) -> None:
    """Raises NotFound where what is asked about does not exist: an empty list would lie."""
    if workflow_id is not None:
        await catalogue.fetch(tx, Workflow, workflow_id)
    if organisation_id is not None:
        await catalogue.fetch(tx, Organisation, organisation_id)


def said(place: Place) -> str:
    """Returns a place as it is told."""
    return f"{place.dataset}~{place.start.isoformat()}~{place.end.isoformat()}"


def place(told: str) -> Place:
    """Returns the place that was told; raises Invalid where it is none."""
    try:
        dataset, start, end = told.split("~")
        moments = [datetime.fromisoformat(moment).astimezone(UTC) for moment in (start, end)]
        found = Place(int(dataset), *moments)
    except (ValueError, OverflowError):
        found = None
    if found is None or not 0 < found.dataset < 2**63:
        cure = "is no place in a list: take it from the page before"
        raise Invalid("a parameter is not what is expected", {"after": cure})
    return found


class _Shape(NamedTuple):
    """Which conditions a statement has."""

    of_dataset: bool
    of_workflow: bool
    of_organisation: bool
    tagged: bool
    in_span: bool
    reasons: tuple[Reason, ...]
    behind: bool
    restricted: bool


def _values(tx: Transaction, asked: Asked, limit: int, after: Place | None) -> Values:
    span = asked.span or EVER
    values: Values = {"now": tx.now, "limit": limit, "dataset": asked.dataset_id, "tag": asked.tag}
    values |= {"workflow": asked.workflow_id, "organisation": asked.organisation_id}
    values |= {"span_start": span.start_date, "span_end": span.end_date}
    if after:
        values |= {"after_dataset": after.dataset, "after_start": after.start, "after_end": after.end}
    return values


@cache
def _statement(shape: _Shape, runs: bool) -> Statement:
    return Statement(_page(shape, runs, sqlite=False), _page(shape, runs, sqlite=True))


def _page(shape: _Shape, runs: bool, sqlite: bool) -> Select[Any]:
    counted = _open(shape, sqlite, [reason().label("reason")]).subquery("counted")
    counts = (
        select(counted.c.reason, func.count().label("periods")).group_by(counted.c.reason).subquery("counts")
    )
    as_json = func.json_group_object if sqlite else func.json_object_agg
    told = select(as_json(counts.c.reason, counts.c.periods)).scalar_subquery().label("told")
    page = (_runs(shape, sqlite) if runs else _periods(shape, sqlite)).limit(bindparam("limit"))
    listed = page.subquery("page")
    one = select(told).subquery("one")
    order = (listed.c.dataset_id, listed.c.start_date, listed.c.end_date)
    return select(one.c.told, *listed.c).select_from(one.outerjoin(listed, true())).order_by(*order)


def _open(
    shape: _Shape, sqlite: bool, columns: Sequence[ColumnElement[Any]], joined: bool = False
) -> Select[Any]:
    """Returns the rows of what is missing now."""
    source: FromClause = wanted
    is_joined = joined or shape.of_workflow or shape.of_organisation or shape.tagged or shape.restricted
    if is_joined:
        source = source.join(datasets, datasets.c.id == W.dataset_id).join(workflows)
    rows = select(*columns).select_from(source).where(W.since.is_not(None), W.since <= NOW)
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
    return rows


def _behind(shape: _Shape, rows: Select[Any]) -> Select[Any]:
    if not shape.behind:
        return rows
    start, end = bindparam("after_start", type_=MOMENT), bindparam("after_end", type_=MOMENT)
    if shape.of_dataset:
        return rows.where(tuple_(*PLACE[1:]) > tuple_(start, end))
    return rows.where(tuple_(*PLACE) > tuple_(bindparam("after_dataset"), start, end))


def _periods(shape: _Shape, sqlite: bool) -> Select[Any]:
    columns = [
        W.dataset_id,
        datasets.c.name,
        W.start_date,
        W.end_date,
        reason().label("reason"),
        W.since,
        _note().label("note"),
        *(W[name] for name in DETAILS),
        case((W.claimed_until > NOW, W.claim_id)).label("claim_id"),
        select(claims.c.holder)
        .where(claims.c.id == W.claim_id, W.claimed_until > NOW)
        .scalar_subquery()
        .label("holder"),
        case((W.claimed_until > NOW, W.claimed_until)).label("claimed_until"),
    ]
    return _behind(shape, _open(shape, sqlite, columns, joined=True)).order_by(*PLACE)


def _runs(shape: _Shape, sqlite: bool) -> Select[Any]:
    """Returns the runs: rows are numbered, those that begin one are marked, and paired with its last."""
    columns = [*PLACE, datasets.c.name, reason().label("reason"), _note().label("note"), W.since]
    rows = _behind(shape, _open(shape, sqlite, columns, joined=True)).subquery("rows_")
    order = (rows.c.dataset_id, rows.c.start_date, rows.c.end_date)

    def before(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.lag(column).over(order_by=order)

    neighbours = select(
        rows,
        func.row_number().over(order_by=order).label("number"),
        *(
            before(rows.c[name]).label(f"before_{name}")
            for name in ("dataset_id", "start_date", "end_date", "reason", "note")
        ),
    ).subquery("neighbours")
    n = neighbours.c
    marked = select(neighbours, (~_goes_on(n)).label("begins")).subquery("marked")
    m = marked.c
    order = (m.dataset_id, m.start_date, m.end_date)
    ends = func.coalesce(func.lead(m.begins).over(order_by=order), true()).label("ends")
    edges = select(marked, ends).subquery("edges")
    kept = select(edges).where(or_(edges.c.begins, edges.c.ends)).subquery("kept")
    k = kept.c
    order = (k.dataset_id, k.start_date, k.end_date)

    def last(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return case((k.ends, column), else_=func.lead(column).over(order_by=order))

    paired = select(
        k.dataset_id,
        k.name,
        k.start_date,
        last(k.end_date).label("end_date"),
        (last(k.number) - k.number + 1).label("periods"),
        k.reason,
        k.since,
        k.note,
        last(k.start_date).label("last_start"),
        last(k.end_date).label("last_end"),
        k.begins,
    ).subquery("paired")
    p = paired.c
    shown = [c for c in p if c.name != "begins"]
    return select(*shown).where(p.begins).order_by(p.dataset_id, p.start_date, p.end_date)


def _goes_on(n: Any) -> ColumnElement[bool]:
    """Returns the condition that a row goes on with the run of the one before it."""
    releases = dataset_releases.c
    between = exists().where(
        releases.dataset_id == n.dataset_id,
        releases.start_date > n.before_start_date,
        releases.start_date < n.start_date,
        in_states(SETTLED),
    )
    are_instants = and_(n.start_date == n.end_date, n.before_start_date == n.before_end_date)
    # Snapshots have no length to touch with: between two of a run there is none that is settled.
    touches = case((are_instants, ~between), else_=n.before_end_date == n.start_date)
    is_same = [n[f"before_{name}"].is_not_distinct_from(n[name]) for name in ("dataset_id", "reason", "note")]
    return and_(*is_same, func.coalesce(touches, False))


def _from_json(told: Any) -> dict[Reason, int]:
    return msgspec.json.decode(told) if isinstance(told, str | bytes) else told or {}


def _run(
    dataset: int,
    name: str,
    start: datetime,
    end: datetime,
    periods: int,
    reason: Reason,
    since: datetime,
    note: str | None,
    *_: Any,
) -> MissingRun:
    return MissingRun(Dataset(id=dataset, name=name), start, end, periods, reason, since, note)


def _period(dataset: int, name: str, *facts: Any) -> Missing:
    return Missing(Dataset(id=dataset, name=name), *facts)
