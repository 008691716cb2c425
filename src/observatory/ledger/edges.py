"""Where runs of what is missing begin and end, kept with each change.

Rows that are missing one behind another for the same kept reason are a run, and only its first and its last
know of it: so a run of half a million holes is read as quickly as one of two. Claims, failures and lateness
come and go by themselves, and are looked up when runs are read.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)

from ..records import SETTLED
from .coverage import among
from .statements import Statement
from .tables import MOMENT, dataset_releases, wanted

# An edge is the sum of these. A row inside a run has none.
BEGINS, ENDS = 1, 2
TOUCHES = 4  # nothing is between it and the missing row before it, though it begins a run of its own

W = wanted.c
REACH, END = (bindparam(name, type_=MOMENT) for name in ("reach", "end"))
NEIGHBOURS = ("start_date", "end_date", "since", "late", "kept", "note")


def kept_reason() -> ColumnElement[str]:
    """Returns why a row is missing, of what no clock and no claim changes."""
    return case(
        (W.withdrawn.is_not(None), _said("withdrawn")),
        (W.restated.is_not(None), _said("restated")),
        # Also where it is offered: it will be late.
        (W.late.is_not(None), _said("expected")),
        else_=_said("offered"),
    )


def _said(word: str) -> ColumnElement[str]:
    return literal_column(f"'{word}'")


def _edges() -> Update:
    """Returns the statement that marks the edges among the rows whose start is from `reach` to `end`.

    The next row on either side is marked too, and one more is read, to know what that goes on with.
    """
    first, last = _nearest(func.max, "<", REACH), _nearest(func.min, ">", END)
    before, behind = _nearest(func.max, "<", first), _nearest(func.min, ">", last)
    span = (func.coalesce(before, first, REACH), func.coalesce(behind, last, END))
    found = _found(_linked(W.start_date.between(*span))).subquery("found")
    f = found.c
    return (
        update(wanted)
        .values(edge=f.edge)
        .where(
            W.dataset_id == bindparam("dataset"),
            W.start_date == f.start_date,
            W.end_date == f.end_date,
            f.start_date.between(func.coalesce(first, REACH), func.coalesce(last, END)),
            W.edge.is_distinct_from(f.edge),
        )
    )


def _nearest(function: Any, operator: str, to: ColumnElement[Any]) -> Any:
    near = wanted.alias()
    found = select(function(near.c.start_date)).where(near.c.dataset_id == bindparam("dataset"))
    return found.where(near.c.since.is_not(None), near.c.start_date.op(operator)(to)).scalar_subquery()


def differing() -> Select[Any]:
    """Returns the rows of a dataset whose edge is not what follows from all of them."""
    found = _found(_linked(true())).subquery("found")
    same = and_(W.start_date == found.c.start_date, W.end_date == found.c.end_date)
    rows = select(W.dataset_id, W.start_date, W.end_date).select_from(wanted.outerjoin(found, same))
    return rows.where(W.dataset_id == bindparam("dataset"), W.edge.is_distinct_from(found.c.edge))


def _linked(condition: ColumnElement[bool]) -> Any:
    """Returns rows, each with whether it touches the one before it, and is in one run with it."""
    rows = (
        select(
            W.start_date,
            W.end_date,
            W.since,
            W.late,
            kept_reason().label("kept"),
            case((W.withdrawn.is_not(None), W.reason)).label("note"),
        )
        .where(W.dataset_id == bindparam("dataset"), W.since.is_not(None), condition)
        .subquery("rows_")
    )
    order = (rows.c.start_date, rows.c.end_date)
    lagging = [func.lag(rows.c[name]).over(order_by=order).label(f"before_{name}") for name in NEIGHBOURS]
    n = select(rows, *lagging).subquery("neighbours").c
    releases = dataset_releases.c
    between = exists().where(
        releases.dataset_id == bindparam("dataset"),
        releases.start_date > n.before_start_date,
        releases.start_date < n.start_date,
        among(SETTLED),
    )
    is_instant, is_behind_one = n.start_date == n.end_date, n.before_start_date == n.before_end_date
    # Snapshots have no length to touch with: between two that do there is none that is settled.
    touches = case(
        (and_(is_instant, is_behind_one), ~between),
        (or_(is_instant, is_behind_one), literal_column("false")),
        else_=n.before_end_date == n.start_date,
    )
    # What becomes missing, or late, in the order of its run has done so up to one place in it.
    in_order = and_(n.before_since <= n.since, n.before_late <= n.late)
    is_same = and_(
        n.before_kept == n.kept,
        n.before_note.is_not_distinct_from(n.note),
        or_(n.kept != _said("expected"), in_order),
    )
    links = [n.start_date, n.end_date, touches.label("touches"), and_(touches, is_same).label("goes_on")]
    return select(*links).subquery("linked")


def _found(linked: Any) -> Select[Any]:
    c = linked.c
    following = func.lead(c.goes_on).over(order_by=(c.start_date, c.end_date))

    def number(condition: ColumnElement[bool], of: int) -> ColumnElement[int]:
        return case((condition, literal_column(str(of))), else_=literal_column("0"))

    yes: ColumnElement[bool] = literal_column("true")
    goes_on, touches = c.goes_on.is_not_distinct_from(yes), c.touches.is_not_distinct_from(yes)
    edge = number(~goes_on, BEGINS) + number(following.is_distinct_from(yes), ENDS)
    edge = edge + number(and_(touches, ~goes_on), TOUCHES)
    return select(c.start_date, c.end_date, func.nullif(edge, literal_column("0")).label("edge"))


EDGES = Statement(_edges())
