"""Coverage counted anew from the releases, without holding more of them than a part at a time.

It is kept with each change, and so must always equal what is counted here; where it does not, as after a
repair of the file by hand, `repair` writes down what is counted.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, delete, select, tuple_

from ..intervals import EVER, Period, merge
from ..records import SETTLED
from . import status, wanted
from .coverage import LONGER, PUT, microseconds
from .database import Transaction
from .holdings import hold
from .inputs import derive_all
from .statements import Statement
from .tables import BIG, MOMENT, coverage
from .tables import dataset_releases as table

PART = 10_000  # periods that are merged at a time


def _part() -> Select[Any]:
    place: list[BindParameter[Any]] = [
        bindparam("start", type_=MOMENT),
        bindparam("end", type_=MOMENT),
        bindparam("revision", type_=BIG),
    ]
    order = (table.c.start_date, table.c.end_date, table.c.revision)
    releases = select(*order, table.c.state).where(table.c.dataset_id == bindparam("dataset"))
    return releases.where(tuple_(*order) > tuple_(*place)).order_by(*order).limit(PART)


NEXT = Statement(_part())
CLEAR = Statement(delete(coverage).where(coverage.c.dataset_id == bindparam("dataset")))


def runs(periods: Iterable[Period]) -> Iterator[Period]:
    """Yields the maximal runs of periods that come in their order, without keeping them."""
    coming = iter(periods)
    last: list[Period] = []
    while part := list(islice(coming, PART)):
        merged = merge([*last, *(period for period in part if not period.is_instant)])
        # What comes begins no earlier than all of these, so only the last run can still grow.
        yield from merged[:-1]
        last = merged[-1:]
    yield from last


async def repair(tx: Transaction, dataset_id: int) -> None:
    """Writes down anew what follows from the releases of a dataset.

    That is its coverage, the length of its longest period, what is looked up of what they are made from,
    since when what is wanted is missing, and how it stands. Nobody records into the dataset meanwhile.
    """
    held = await hold(tx, dataset_id)
    await tx.rows(CLEAR, {"dataset": dataset_id})
    last: list[Period] = []
    longest = 0
    place = (*_beginning(), 0)
    while found := await tx.rows(NEXT, _behind(dataset_id, place)):
        told = [(Period(start, end), state) for start, end, _, state in found]
        longest = max([longest, *(microseconds(period) for period, _ in told)])
        merged = list(runs([*last, *(period for period, state in told if state in SETTLED)]))
        await _put(tx, dataset_id, merged[:-1])
        last = merged[-1:]
        place = (found[-1][0], found[-1][1], found[-1][2])
    await _put(tx, dataset_id, last)
    await tx.rows(LONGER, {"dataset": dataset_id, "longest": longest})
    await derive_all(tx, dataset_id)
    if held.widest is not None:
        await wanted.reckon(tx, dataset_id, held.widest, [EVER])
    await status.refresh(tx, dataset_id, held)


def _beginning() -> tuple[Any, Any]:
    return EVER.start_date, EVER.start_date


def _behind(dataset_id: int, place: tuple[Any, Any, int]) -> dict[str, Any]:
    return {"dataset": dataset_id, "start": place[0], "end": place[1], "revision": place[2]}


async def _put(tx: Transaction, dataset_id: int, found: list[Period]) -> None:
    if found:
        await tx.insert(PUT, [(dataset_id, run.start_date, run.end_date) for run in found])
