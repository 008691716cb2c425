"""Reading the journal: entries in the order in which they became true, of those the caller may see."""

from datetime import datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from ..intervals import EVER
from ..records import Entry
from . import inputs
from .database import Transaction, row
from .horizon import ORDER, Position, between, bounds, end, position_of
from .statements import Row, Statement, Values, among
from .tables import BIG, journal

Audited = Literal["all", "some", "none"]

WINDOW = 10_000  # so many entries are looked through at a time for those that are asked for
# Transactions are dated by their start, and servers by their own clocks: so far the order of entries may
# differ from that of their times, and a little more.
SLACK = timedelta(hours=1)

COLUMNS = [journal.c[name] for name in Entry.__struct_fields__ if name != "cursor"]
LAST_SEQUENCE = Statement(select(func.max(journal.c.sequence)))
FROM = Statement(
    select(journal.c.sequence, journal.c.place, journal.c.time)
    .where(journal.c.sequence >= bindparam("sequence"))
    .order_by(journal.c.sequence)
    .limit(1)
)


class Wanted(NamedTuple):
    """Which entries are asked for; times are those of the entries, `until` not included."""

    organisation_id: int | None = None
    kind: str | None = None
    record_id: int | None = None
    dataset_id: int | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Part(NamedTuple):
    """Entries in their order, and up to where all that were asked for are among them."""

    entries: list[Entry]
    reached: Position


async def entries(tx: Transaction, wanted: Wanted, after: Position, end: Position, limit: int) -> Part:
    """Returns up to `limit` entries behind `after` and not behind `end`, of those the caller may see.

    It looks through so many at a time that the answer may be empty, and still not all have been seen.
    """
    last = end
    if wanted.since:
        after = max(after, await _before(tx, wanted.since))
    if wanted.until:
        last = min(end, await _after(tx, wanted.until))
    if after >= last:
        return Part([], end)
    asked = tuple(name for name, value in wanted._asdict().items() if value is not None)
    # Where all is asked for and seen, a page is found without looking through a window.
    edge = None
    if asked or _audited(tx) != "all":
        edge = await row(tx, EDGE, bounds(after, last) | {"limit": WINDOW})
    reach = Position(*edge) if edge else last
    # What is far behind the end is looked up where an index leads to it.
    key = wanted.dataset_id or (wanted.kind and wanted.record_id)
    if is_indexed := reach < last and bool(key):
        reach = last
    values = bounds(after, reach) | wanted._asdict() | _rights(tx) | {"limit": limit}
    statement = _entries(asked, is_indexed, tx.by.within("read") is not None, _audited(tx))
    found = [_entry(one) for one in await tx.rows(statement, values)]
    await inputs.entries_shown(tx, found)
    if len(found) == limit:
        return Part(found, position_of(found[-1].cursor))
    return Part(found, end if reach == last else reach)


async def _before(tx: Transaction, time: datetime) -> Position:
    """Returns a place before all entries of a time and later: a while before the first."""
    found = await _found(tx, max(time, EVER.start_date + SLACK) - SLACK)
    return Position(found[1], found[0] - 1) if found else await end(tx)


async def _after(tx: Transaction, time: datetime) -> Position:
    """Returns a place behind all entries before a time."""
    found = await _found(tx, min(time, EVER.end_date - SLACK) + SLACK)
    return Position(found[1], found[0]) if found else Position(2**63 - 1, 0)


async def _found(tx: Transaction, time: datetime) -> Row | None:
    """Returns about the first entry that is of a time or later, by halves: they are nearly in its order."""
    [[last]] = await tx.rows(LAST_SEQUENCE, {})
    low, high = 0, (last or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = await row(tx, FROM, {"sequence": middle})
        if found is None or found[2] >= time:
            high = middle
        else:
            low = found[0] + 1
    return await row(tx, FROM, {"sequence": low})


def _entry(row: Row) -> Entry:
    place, sequence, *values, before, after, request = row
    told = [None if text is None else msgspec.json.decode(text) for text in (before, after)]
    return Entry(*[f"{place}.{sequence}", *values, *told, request])


def _edge() -> Select[tuple[int, int]]:
    """Returns the last entry of a window, where it ends before the end."""
    window = select(*ORDER).where(*between()).order_by(*ORDER).limit(bindparam("limit"))
    found = window.subquery()
    return select(found).order_by(*(c.desc() for c in found.c)).limit(1)


EDGE = Statement(_edge())


# Who reads an organisation sees what changes in it; who audits it, also who reads its addresses. Accounts
# and keys belong to the whole book, and are seen by those who audit all of it.


def _audited(tx: Transaction) -> Audited:
    where = tx.by.within("audit")
    return "all" if where is None else "some" if where else "none"


def _rights(tx: Transaction) -> Values:
    return {"seen": sorted(tx.by.within("read") or ()), "audited": sorted(tx.by.within("audit") or ())}


def _seen(restricted: bool, audited: Audited, sqlite: bool) -> ColumnElement[bool] | None:
    """Returns the condition that the caller may see an entry; None where they see all."""
    if audited == "all":
        return None
    owner = journal.c.organisation_id
    changes = and_(
        journal.c.action != literal_column("'read'"),
        journal.c.kind.not_in([literal_column("'Account'"), literal_column("'Key'")]),
    )
    if restricted:
        changes = and_(changes, or_(owner.is_(None), among(owner, "seen", sqlite)))
    return or_(changes, among(owner, "audited", sqlite)) if audited == "some" else changes


def _condition(name: str) -> ColumnElement[bool]:
    if name == "since":
        return journal.c.time >= bindparam("since")
    if name == "until":
        return journal.c.time < bindparam("until")
    return journal.c[name] == bindparam(name)


@cache
def _entries(asked: tuple[str, ...], is_indexed: bool, restricted: bool, audited: Audited) -> Statement:
    # Added to nothing, so that the order does not tempt the database away from the index of what is asked.
    place = literal_column("journal.place + 0", BIG) if is_indexed else journal.c.place

    def rows(sqlite: bool) -> Select[tuple[object, ...]]:
        wanted = [*between(place), *map(_condition, asked)]
        if is_indexed:
            wanted.append(_split("dataset_id" in asked))
        if (seen := _seen(restricted, audited, sqlite)) is not None:
            wanted.append(seen)
        found = select(*ORDER, *COLUMNS).where(*wanted)
        return found.order_by(place, journal.c.sequence).limit(bindparam("limit"))

    return Statement(rows(sqlite=False), rows(sqlite=True))


def _split(of_dataset: bool) -> ColumnElement[bool]:
    """Returns a condition that is always true, and names the two indexes: of changes, and of reads."""
    read: ColumnElement[str] = literal_column("'read'")
    changes, reads = journal.c.action != read, journal.c.action == read
    if of_dataset:
        key = journal.c.dataset_id == bindparam("dataset_id")
        return or_(and_(changes, key), and_(reads, key))
    key = and_(journal.c.kind == bindparam("kind"), journal.c.record_id == bindparam("record_id"))
    return or_(and_(changes, key), and_(reads, journal.c.dataset_id == bindparam("record_id")))
