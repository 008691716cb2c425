"""The order of the journal's entries, and how far it is complete.

On PostgreSQL an entry is seen once its transaction has committed, and a transaction that began earlier may
commit later. So the journal ends, for whoever reads it, before the first transaction that still runs: `end`
looks both up in one statement, and before what it answers nothing can come any more. SQLite writes one
transaction after the other, and there the end is the last entry.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, literal_column, select, tuple_, update

from ..errors import Gone, Invalid
from .database import Transaction, row
from .statements import Statement, Values
from .tables import BIG, book, journal

ORDER = (journal.c.place, journal.c.sequence)
# The first transaction that still runs, and the first number that no transaction has yet.
RUNNING = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
NEXT = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

_LAST = select(*ORDER).order_by(*(c.desc() for c in ORDER)).limit(1)
_COMPLETE = journal.c.place < literal_column(f"{RUNNING} + (SELECT shift FROM book)")
END = Statement(_LAST.where(_COMPLETE), _LAST)
FIRST = Statement(select(*ORDER).order_by(*ORDER).limit(1))
AT = Statement(select(journal.c.place).where(journal.c.sequence == bindparam("sequence")))
_GREATEST = select(func.max(journal.c.place)).scalar_subquery()
SHIFT = Statement(
    update(book)
    .where(literal_column(NEXT) + book.c.shift <= _GREATEST)
    .values(shift=_GREATEST + 1 - literal_column(RUNNING)),
    update(book).where(book.c.shift < _GREATEST).values(shift=_GREATEST),
)


class Position(NamedTuple):
    """A place in the order of entries."""

    place: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.place}.{self.sequence}"


BEGINNING = Position(-1, 0)


async def end(tx: Transaction) -> Position:
    """Returns the place of the last entry that no other can come before any more."""
    found = await row(tx, END, {})
    return Position(*found) if found else BEGINNING


async def behind(tx: Transaction, cursor: str) -> Position:
    """Returns the place of the entry that a cursor names.

    Raises Gone where it is kept no longer, Invalid where it is none of this book.
    """
    if cursor == str(BEGINNING):
        return BEGINNING
    position = position_of(cursor)
    found = await row(tx, AT, {"sequence": position.sequence})
    if found and found[0] == position.place:
        return position
    first = await row(tx, FIRST, {})
    if first and position < Position(*first):
        cure = f"read on without `after`: the journal begins at {Position(*first)} now"
        raise Gone(
            "what follows this cursor is kept no longer, so entries may have been missed", {"after": cure}
        )
    cure = (
        "is none of this book, or of it before an older copy was restored: read on without it, or from `now`"
    )
    raise Invalid("a parameter is not what is expected", {"after": cure})


async def keep_order(tx: Transaction) -> None:
    """Lets new entries follow those that are there, though the database counts its transactions anew.

    That is so after a book was moved to another server of PostgreSQL, or from it to a file.
    """
    await tx.rows(SHIFT, {})


def position_of(cursor: str) -> Position:
    """Returns the place that a cursor says; raises Invalid where it says none."""
    place, dot, sequence = cursor.partition(".")
    if dot and all(n.isascii() and n.isdigit() and len(n) <= 19 for n in (place, sequence)):
        position = Position(int(place), int(sequence))
        if max(position) < 2**63:
            return position
    cure = "is no cursor: take it from an entry, or say `now`"
    raise Invalid("a parameter is not what is expected", {"after": cure})


def bounds(after: Position, until: Position) -> Values:
    """Returns the values of `between`."""
    return {
        "after_place": after.place,
        "after_sequence": after.sequence,
        "until_place": until.place,
        "until_sequence": until.sequence,
    }


def between(place: ColumnElement[int] = journal.c.place) -> list[ColumnElement[bool]]:
    """Returns the conditions that an entry is behind one place, and not behind another."""
    here = tuple_(place, journal.c.sequence)

    def given(name: str) -> ColumnElement[tuple[int, int]]:
        return tuple_(*(bindparam(f"{name}_{part}", type_=BIG) for part in Position._fields))

    return [here > given("after"), here <= given("until")]
