"""The rows of which runs of what is missing are told: where they begin and end, and what is apart in them.

Inside a run all rows are alike, but for those that a claim, a failure or the clock tells apart. With these,
those before and behind them are read, and so none of the others is.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, literal_column, or_, tuple_

from .database import Transaction
from .edges import BEGINS, ENDS, TOUCHES
from .missing_rows import (
    NOW,
    PLACE,
    Asked,
    Place,
    Shape,
    W,
    behind,
    note,
    reason,
    rows_of,
    shape_of,
    values_of,
)
from .neighbours import given, next_to
from .statements import Statement
from .tables import MOMENT, TRIED

AHEAD = "ahead"  # the reason of what is not missing yet
_IS_TRIED: ColumnElement[bool] = literal_column(f"({TRIED})")
_IN_GRACE = and_(W.late > NOW, W.since <= NOW)


class Spot(NamedTuple):
    """A row, why it is missing, and what it begins or ends; what is `apart` may be unlike all of its run."""

    dataset: int
    start: datetime
    end: datetime
    edge: int
    reason: str
    note: str | None
    since: datetime
    apart: bool

    @property
    def place(self) -> Place:
        """Where it is in the order of all."""
        return Place(self.dataset, self.start, self.end)

    def goes_on(self) -> bool:
        """Tells whether the row before it is in the same run."""
        return not self.edge & BEGINS

    def is_next_to(self, before: "Spot") -> bool:
        """Tells whether no time is between it and another; between snapshots there always is."""
        return before.start < before.end == self.start < self.end

    def touches_before(self) -> bool:
        """Tells whether nothing is between it and the row before it, in whichever run that is."""
        return self.goes_on() or bool(self.edge & TOUCHES)


COLUMNS = [
    *PLACE,
    func.coalesce(W.edge, literal_column("0")).label("edge"),
    case((W.since > NOW, literal_column(f"'{AHEAD}'")), else_=reason()).label("reason"),
    note().label("note"),
    W.since,
    case((or_(_IS_TRIED, _IN_GRACE), literal_column("1")), else_=literal_column("0")).label("apart"),
]


BEFORE, BEHIND = next_to(COLUMNS, before=True), next_to(COLUMNS, before=False)


async def edges(tx: Transaction, asked: Asked, size: int, after: Place | None) -> tuple[list[Spot], bool]:
    """Returns what is to be known of the runs behind a place, in order, and whether these are the last."""
    shape = shape_of(tx, asked)._replace(behind=after is not None)
    values = values_of(tx, asked) | behind(after)
    found = [Spot(*row) for row in await tx.rows(_edges(shape), {**values, "limit": size})]
    is_last = len(found) < size
    if not is_last and not found[-1].edge & ENDS:
        found.pop()  # it is read again, with the end of its run
    if found:
        until = {f"until_{name}": value for name, value in found[-1].place._asdict().items()}
        found += [Spot(*row) for row in await tx.rows(_apart(shape), values | until)]
    known = {spot.place: spot for spot in found}
    near: list[Spot] = []
    for statement, places in _unknown(sorted(known.values()), after):
        rows = (
            await tx.rows(statement, {"places": given(place[:3] for place in places), "now": tx.now})
            if places
            else []
        )
        near += [Spot(*row) for row in rows]
    known |= {spot.place: spot for spot in near if after is None or spot.place > after}
    return sorted(known.values()), is_last


async def all_of(tx: Transaction, asked: Asked, size: int, after: Place | None) -> tuple[list[Spot], bool]:
    """Returns the rows behind a place, in order, and whether these are the last."""
    shape = shape_of(tx, asked)._replace(behind=after is not None)
    values = values_of(tx, asked) | behind(after)
    found = [Spot(*row) for row in await tx.rows(_all(shape), {**values, "limit": size})]
    return found, len(found) < size


def _unknown(known: Sequence[Spot], after: Place | None) -> list[tuple[Statement, list[Place]]]:
    """Returns before and behind which rows there may be one that is not known, and unlike its neighbour."""
    before: list[Place] = []
    beyond: list[Place] = []
    last: Spot | None = None
    for spot in known:
        if last is None or last.dataset != spot.dataset:
            last = None
        if spot.goes_on() and not (last and spot.is_next_to(last)):
            place = last.place if last else after
            if place and (last is None or last.apart):
                beyond.append(place)
            # Ahead of us it is unlike all that are not, which are before it.
            if spot.apart or (spot.reason == AHEAD and not (last and last.reason == AHEAD)):
                before.append(spot.place)
        last = spot
    return [(BEFORE, before), (BEHIND, beyond)]


@cache
def _edges(shape: Shape) -> Statement:
    def statement(sqlite: bool) -> Select[Any]:
        rows = rows_of(shape, sqlite, COLUMNS).where(W.edge.is_not(None))
        return rows.order_by(*PLACE).limit(bindparam("limit"))

    return Statement(statement(sqlite=False), statement(sqlite=True))


@cache
def _apart(shape: Shape) -> Statement:
    until = [bindparam(f"until_{name}", type_=MOMENT) for name in ("start", "end")]
    place: Any = tuple_(*PLACE[1:]) <= tuple_(*until)
    if not shape.of_dataset:
        place = tuple_(*PLACE) <= tuple_(bindparam("until_dataset"), *until)

    def statement(sqlite: bool) -> Select[Any]:
        return rows_of(shape, sqlite, COLUMNS).where(or_(_IS_TRIED, _IN_GRACE), place)

    return Statement(statement(sqlite=False), statement(sqlite=True))


@cache
def _all(shape: Shape) -> Statement:
    def statement(sqlite: bool) -> Select[Any]:
        return rows_of(shape, sqlite, COLUMNS).order_by(*PLACE).limit(bindparam("limit"))

    return Statement(statement(sqlite=False), statement(sqlite=True))
