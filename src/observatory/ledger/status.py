"""How it stands with a dataset, kept with each change: so an overview of ten thousand reads one index.

Time alone changes it too, when a period becomes due or late. When it next will is kept beside it, and a clock
in each server looks at those whose moment has come; that a dataset becomes late, or recovers, is an entry of
the journal.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from ..records import SETTLED, Dataset, Status
from ..wants import DatasetStatus
from . import journal
from .catalogue import fetch, related_filters
from .coverage import among as in_states
from .database import Transaction, row
from .filters import condition
from .holdings import Held
from .statements import Statement, among
from .tables import MOMENT, coverage, dataset_releases, datasets, holdings, wanted, workflows

FURTHER = timedelta(days=15)  # before what is written out ends, more is
NOW = bindparam("now", type_=MOMENT)
W = wanted.c
# What is restated is there: it came in time, and is only to be loaded again.
IS_AWAITED = W.restated.is_(None)
MISSING = and_(W.dataset_id == bindparam("dataset"), W.since.is_not(None))


class State(NamedTuple):
    """What is kept: the status, the end of the newest settled period, since when late, and the next look."""

    status: Status
    newest: datetime | None
    late_since: datetime | None
    next_look: datetime | None


def _first(column: ColumnElement[datetime], *where: ColumnElement[bool]) -> Any:
    """Returns the first of some moments, of which an index knows the order."""
    return select(func.min(column)).where(MISSING, column.is_not(None), *where).scalar_subquery()


def _is_incomplete(late: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Returns the condition that more is missing than what is due; what is late is not looked at."""
    # Of what is only due, `since` is the moment at which it became so. Of that there is little.
    is_more = or_(W.late.is_(None), W.since != W.due)
    first = select(W.since).where(MISSING, W.since <= NOW, is_more).order_by(W.since)
    is_there = first.limit(literal_column("1")).scalar_subquery().is_not(None)
    return case((late <= NOW, literal_column("false")), else_=is_there)


def _newest() -> Any:
    mine = coverage.c.dataset_id == bindparam("dataset")
    last = select(func.max(coverage.c.start_date)).where(mine).scalar_subquery()
    run = select(coverage.c.end_date).where(mine, coverage.c.start_date == last)
    releases = dataset_releases.c
    instant = select(func.max(releases.start_date)).where(
        releases.dataset_id == bindparam("dataset"),
        releases.start_date == releases.end_date,
        in_states(SETTLED),
    )
    return run.scalar_subquery(), instant.scalar_subquery()


def _state() -> Select[Any]:
    late, due = _first(W.late, IS_AWAITED), _first(W.since)
    told = [
        or_(holdings.c.probed_whole.is_not(None), holdings.c.offers > literal_column("0")),
        holdings.c.horizon,
        late,
        _is_incomplete(late),
        func.coalesce(due <= NOW, literal_column("false")),
        _first(W.late, W.late > NOW, IS_AWAITED),
        _first(W.since, W.since > NOW),
        *_newest(),
    ]
    return select(*(one.label(f"told_{at}") for at, one in enumerate(told))).where(
        holdings.c.dataset_id == bindparam("dataset")
    )


STATE = Statement(_state())
NOTE = Statement(
    update(holdings)
    .where(holdings.c.dataset_id == bindparam("dataset"))
    .values(**{name: bindparam(name) for name in State._fields})
)
DUE = Statement(
    select(holdings.c.dataset_id)
    .where(holdings.c.next_look <= NOW)
    .order_by(holdings.c.next_look)
    .limit(bindparam("limit"))
)
NEWER = Statement(
    update(holdings)
    .where(
        holdings.c.dataset_id == bindparam("dataset"),
        func.coalesce(holdings.c.newest < bindparam("newest", type_=MOMENT), True),
    )
    .values(newest=bindparam("newest", type_=MOMENT))
)


async def newer(tx: Transaction, dataset_id: int, held: Held, end: datetime) -> None:
    """Notes the end of a period that was recorded, in a dataset of which nothing is wanted."""
    if held.newest is None or end > held.newest:
        await tx.rows(NEWER, {"dataset": dataset_id, "newest": end})


async def refresh(tx: Transaction, dataset_id: int, held: Held) -> State:
    """Works out how it stands with a dataset now, and writes it down; the caller holds the dataset."""
    found = await row(tx, STATE, {"dataset": dataset_id, "now": tx.now})
    assert found is not None
    before = State(held.status, held.newest, held.late_since, held.next_look)
    after = _worked_out(tx.now, *found)
    if after != before:
        await tx.rows(NOTE, {"dataset": dataset_id, **after._asdict()})
    if (before.status == "late") != (after.status == "late"):
        was, now = ({"status": each.status, "late_since": each.late_since} for each in (before, after))
        told = [msgspec.json.encode(each).decode() for each in (was, now)]
        note = journal.Note("change", DatasetStatus, dataset_id, held.organisation_id, dataset_id, *told)
        await journal.write(tx, [note])
    return after


async def due(tx: Transaction, limit: int) -> list[int]:
    """Returns datasets whose status may be another by now, the longest overdue first."""
    return [id for [id] in await tx.rows(DUE, {"now": tx.now, "limit": limit})]


async def listed(
    tx: Transaction, asked: Mapping[str, Any], limit: int, after: int = 0
) -> list[DatasetStatus]:
    """Returns how it stands with datasets, by id; `asked` are filters, as {"status": "late"}."""
    seen = tx.by.within("read")
    statement = _listed(tuple(sorted(asked)), seen is not None)
    values = {"limit": limit, "after": after, "seen": sorted(seen or ()), **asked}
    found = [_told(tx.now, *one) for one in await tx.rows(statement, values)]
    for name, other in related_filters(Dataset).items() if not found else ():
        if name in asked:  # an empty list for what does not exist would lie
            await fetch(tx, other, asked[name])
    return found


def _told(
    now: datetime, id: int, name: str, status: Status, newest: datetime | None, *more: Any
) -> DatasetStatus:
    lag = None if newest is None else (now - newest).total_seconds()
    return DatasetStatus(Dataset(id=id, name=name), status, newest, lag, *more)


@cache
def _listed(asked: tuple[str, ...], restricted: bool) -> Statement:
    return Statement(_overview(asked, restricted, sqlite=False), _overview(asked, restricted, sqlite=True))


def _overview(asked: tuple[str, ...], restricted: bool, sqlite: bool) -> Select[Any]:
    h = holdings.c
    status = func.coalesce(h.status, "unknown")
    told = (h.late_since, h.probed, h.probe_outcome, h.probe_error)
    rows = select(datasets.c.id, datasets.c.name, status.label("status"), h.newest, *told)
    rows = rows.join_from(datasets, workflows).outerjoin(holdings, h.dataset_id == datasets.c.id)
    rows = rows.where(datasets.c.id > bindparam("after"))
    for name in asked:
        # One that nobody has recorded into or probed has no row of its own.
        is_asked = status == bindparam("status") if name == "status" else condition(Dataset, name, sqlite)
        rows = rows.where(is_asked)
    if restricted:
        rows = rows.where(among(workflows.c.organisation_id, "seen", sqlite))
    return rows.order_by(datasets.c.id).limit(bindparam("limit"))


def _worked_out(
    now: datetime,
    is_known: bool,
    horizon: datetime | None,
    late: datetime | None,
    is_incomplete: bool,
    is_due: bool,
    next_late: datetime | None,
    next_due: datetime | None,
    run_end: datetime | None,
    instant: datetime | None,
) -> State:
    newest = max((end for end in (run_end, instant) if end), default=None)
    # What is expected is written out further before it ends.
    further = horizon and max(horizon - FURTHER, now)
    moments = [moment for moment in (next_late, next_due, further) if moment]
    is_late = late is not None and late <= now
    status: Status = "complete" if is_known or horizon else "unknown"
    if is_late:
        status = "late"
    elif is_incomplete:
        status = "incomplete"
    elif is_due:
        status = "due"
    return State(status, newest, late if is_late else None, min(moments, default=None))
