"""The chain of hashes over the journal: whoever changes, removes or inserts an entry later breaks it.

A link seals some hundred entries. Of each it keeps a leaf: the first bytes of the hash over all that is in
the entry, so that the first one that was tampered with can be named. Its digest is over the digest of the
link before, its number and its leaves. Whoever owns the database can still write a chain of their own; only
a checkpoint that is kept elsewhere tells.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from hashlib import sha256
from time import monotonic
from typing import NamedTuple

from sqlalchemy import Select, Text, bindparam, cast, func, literal, literal_column, select, tuple_

from ..access import operator
from ..errors import Invalid, ObservatoryError
from .database import Database, Transaction, row
from .horizon import BEGINNING, ORDER, Position, between, bounds, end
from .statements import InsertMany, Row, Statement
from .tables import BIG, book, journal, seals

LINK, LEAF = 500, 16  # entries in a link at most, bytes of a leaf
PAUSE, BREATH = 5.0, 0.02  # seconds between two looks, and between two links while many are to be made
LOCK = 0x0B5F  # any number that is nobody else's
OPERATOR = operator("read")

# Times as SQLite keeps them, so that a book that moves to another database stays what it is.
_ISO = 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
_UTC = func.timezone(literal_column("'UTC'"), journal.c.time)
_TIMES = func.to_char(_UTC, literal_column(f"'{_ISO}'")), cast(journal.c.time, Text)


def _entries(time: object) -> Select[tuple[object, ...]]:
    columns = [time if c is journal.c.time else c for c in journal.c]
    found = select(*columns).where(*between()).order_by(*ORDER)  # type: ignore[call-overload]
    return found.limit(bindparam("limit"))  # type: ignore[no-any-return]


ENTRIES = Statement(*map(_entries, _TIMES))
_LINKS = select(*seals.c)
LAST = Statement(_LINKS.order_by(seals.c.number.desc()).limit(1))
NEXT = Statement(
    _LINKS.where(seals.c.number > bindparam("number")).order_by(seals.c.number).limit(1),
)
REST = Statement(
    select(func.count()).where(
        tuple_(*ORDER) > tuple_(bindparam("place", type_=BIG), bindparam("sequence", type_=BIG))
    )
)
# One server at a time seals; another one would do the same, and in vain.
ALONE = Statement(select(func.pg_try_advisory_xact_lock(literal_column(str(LOCK)))), select(literal(1)))
PUT = InsertMany(seals, [c.name for c in seals.c], key=["number"])
BOOK = Statement(select(book.c.id))


class Link(NamedTuple):
    """A link of the chain, which goes up to an entry."""

    number: int
    place: int
    sequence: int
    time: datetime | None
    leaves: bytes
    digest: bytes

    @property
    def until(self) -> Position:
        """The place of the last entry in it."""
        return Position(self.place, self.sequence)

    def follows(self, before: "Link") -> bool:
        """Tells whether its digest is the one that follows from the link before and its leaves."""
        return self.digest == _digest(before, self.leaves)


START = Link(0, *BEGINNING, None, b"", bytes(32))


class Report(NamedTuple):
    """What was found of a chain: how far it is sound, and what is the first thing that is not."""

    sound: int
    unsealed: int
    broken: str | None


class Checkpoint(NamedTuple):
    """A digest of a book's chain, to be kept where whoever owns the book cannot change it."""

    book: str
    number: int
    digest: str
    time: str

    def __str__(self) -> str:
        return " ".join(map(str, self))


def checkpoint_of(line: str) -> Checkpoint:
    """Returns the checkpoint that a line tells; raises Invalid where it tells none."""
    with suppress(ValueError):
        book, number, digest, time = line.split()
        return Checkpoint(book, int(number), digest, time)
    cure = "keep the lines of `observatory journal checkpoint` as they are"
    raise Invalid("a line is no checkpoint", {"checkpoint": f"{line.strip()!r}: {cure}"})


async def seal(tx: Transaction) -> int:
    """Seals what is complete and not sealed yet, up to one link, and returns how many entries it sealed."""
    [[is_alone]] = await tx.rows(ALONE, {})
    if not is_alone:
        return 0
    found = await row(tx, LAST, {})
    last = Link(*found) if found else START
    entries = await _read(tx, last.until, await end(tx), LINK)
    if entries:
        leaves = b"".join(map(leaf, entries))
        digest = _digest(last, leaves)
        await tx.insert(PUT, [(last.number + 1, *_position(entries[-1]), tx.now, leaves, digest)])
    return len(entries)


@asynccontextmanager
async def sealing(database: Database, lag: Callable[[float], object]) -> AsyncIterator[None]:
    """Seals in the background, and tells how many seconds ago the last time was that nothing was left."""
    task = asyncio.create_task(_seal_on(database, lag))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def checkpoint(database: Database) -> Checkpoint:
    """Returns the last digest of the chain; raises Invalid where nothing is sealed yet."""
    [[id]] = await database.read(OPERATOR, _rows, BOOK)
    found = await database.read(OPERATOR, _rows, LAST)
    if not found:
        raise Invalid("nothing of the journal is sealed yet", {"journal": "a running server seals it"})
    last = Link(*found[0])
    assert last.time
    return Checkpoint(id, last.number, last.digest.hex(), last.time.isoformat(timespec="seconds"))


async def verify(database: Database, checkpoints: Sequence[Checkpoint] = ()) -> Report:
    """Follows the chain along the journal, as far as it is sound, in constant memory.

    It is held against the checkpoints; raises Invalid where one is of another book.
    """
    [[id]] = await database.read(OPERATOR, _rows, BOOK)
    if any(kept.book != id for kept in checkpoints):
        raise Invalid("a checkpoint is of another book", {"checkpoint": f"this is book {id}"})
    kept = {one.number: one.digest for one in checkpoints}
    last, sound = START, 0
    while found := await database.read(OPERATOR, _rows, NEXT, {"number": last.number}):
        link = Link(*found[0])
        size = len(link.leaves) // LEAF
        entries = await database.scan(OPERATOR, _read, last.until, Position(2**63 - 1, 0), size + 1)
        broken = _broken_link(last, link) or _first_broken(link, last.until, entries)
        if not broken and kept.get(link.number, digest := link.digest.hex()) != digest:
            broken = f"link {link.number} is not that of its checkpoint: the chain was written anew"
        if broken:
            return Report(sound, 0, broken)
        last, sound = link, sound + size
    if cut := [number for number in kept if number > last.number]:
        broken = (
            f"the chain ends with link {last.number}, and there was a link {max(cut)}: its end was cut off"
        )
        return Report(sound, 0, broken)
    [[rest]] = await database.scan(OPERATOR, _rows, REST, last.until._asdict())
    return Report(sound, rest, None)


def leaf(entry: Row) -> bytes:
    """Returns the first bytes of the hash over an entry, each of whose values is behind its length."""
    texts = [b"" if value is None else str(value).encode() for value in entry]
    said = [b"-" if v is None else b"%d:%s" % (len(t), t) for v, t in zip(entry, texts, strict=True)]
    return sha256(b"".join(said)).digest()[:LEAF]


async def _seal_on(database: Database, lag: Callable[[float], object]) -> None:
    sealed, whole = 0, monotonic()
    while True:
        try:
            sealed = await database.write(OPERATOR, seal)
            whole = monotonic() if sealed < LINK else whole
        except ObservatoryError as error:
            logging.getLogger(__name__).warning(
                "the journal could not be sealed, and will be later: %s", error
            )
        lag(monotonic() - whole)
        await asyncio.sleep(BREATH if sealed == LINK else PAUSE)


async def _rows(tx: Transaction, statement: Statement, values: dict[str, int] | None = None) -> list[Row]:
    return await tx.rows(statement, values or {})


async def _read(tx: Transaction, after: Position, until: Position, limit: int) -> list[Row]:
    return await tx.rows(ENTRIES, bounds(after, until) | {"limit": limit})


def _digest(before: Link, leaves: bytes) -> bytes:
    return sha256(before.digest + (before.number + 1).to_bytes(8) + leaves).digest()


def _position(entry: Row) -> Position:
    sequence, place, *_ = entry
    return Position(place, sequence)


def _broken_link(last: Link, link: Link) -> str | None:
    if link.number != last.number + 1:
        return f"link {last.number + 1} of the chain was removed"
    if not link.follows(last):
        return f"link {link.number} of the chain was changed, or the one before it written anew"
    return None


def _first_broken(link: Link, before: Position, entries: Sequence[Row]) -> str | None:
    """Returns what is wrong with the first entry of a link that is not as it was sealed."""
    leaves = [link.leaves[at : at + LEAF] for at in range(0, len(link.leaves), LEAF)]
    found = [leaf(entry) for entry in entries]
    for at, expected in enumerate(leaves):
        if at >= len(entries) or _position(entries[at]) > link.until:
            return f"an entry behind {before} was removed"
        if found[at] != expected:
            here = _position(entries[at])
            if expected in found[at + 1 :]:
                return f"entry {here} was inserted"
            if found[at] in leaves[at + 1 :]:
                return f"an entry between {before} and {here} was removed"
            return f"entry {here} was changed: {_told(entries[at])}"
        before = _position(entries[at])
    return None if before == link.until else f"link {link.number} of the chain was changed"


def _told(entry: Row) -> str:
    said = dict(zip((c.name for c in journal.c), entry, strict=True))
    return f"{said['time']} {said['actor']} {said['action']} {said['kind']} {said['record_id']}"
