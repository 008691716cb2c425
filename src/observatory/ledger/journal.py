"""The journal: an entry for each change, written in the transaction that makes it.

So there is no change without its entry and no entry without its change. Reading it is feed.py's.
"""

from collections.abc import Iterable
from copy import copy
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import update

from ..records import Action, Dataset, DatasetRelease, Record, kind_of, relations
from .database import Transaction
from .statements import InsertMany, Statement
from .tables import book, journal

COLUMNS = [
    "time",
    "actor",
    "account_id",
    "action",
    "kind",
    "record_id",
    "organisation_id",
    "dataset_id",
    "before",
    "after",
    "request",
]
# The number of the transaction, unless there are later entries already: it may have waited for theirs to be
# committed, and what it then did came after them.
OWN = "pg_current_xact_id()::text::bigint + (SELECT shift FROM book)"
PLACE = f"greatest({OWN}, (SELECT max(place) FROM journal))"
WRITE = InsertMany(
    journal,
    COLUMNS,
    # The number of the transaction, where there are several at a time: see tables.py.
    on_postgresql={"place": PLACE},
    on_sqlite={"place": "(SELECT shift FROM book)"},
)
COUNT = Statement(update(book).values(catalogue=book.c.catalogue + 1))


class Note(NamedTuple):
    """What an entry says beside who did it and when. `before` and `after` are JSON."""

    action: Action
    kind: type[msgspec.Struct]  # a record, or what is told of one
    record_id: int
    organisation_id: int | None
    dataset_id: int | None = None
    before: str | None = None
    after: str | None = None


async def write(tx: Transaction, notes: Iterable[Note]) -> None:
    """Writes entries, however many there are, in one statement."""
    rows = [
        (tx.now, tx.by.account, tx.by.account_id, n.action, n.kind.__name__, *n[2:], tx.by.request)
        for n in notes
    ]
    if rows:
        await tx.insert(WRITE, rows)


async def catalogue_changed(tx: Transaction, note: Note) -> None:
    """Writes the entry of a record that is no release, and counts: no list of before is the newest now.

    Done last, because whoever changes the catalogue waits here until the others have committed.
    """
    await write(tx, [note])
    await tx.rows(COUNT, {})


def told(record: Record) -> str:
    """Returns a whole record as entries tell it: what it refers to by id, and no address."""
    made = copy(record)
    for field in relations(kind_of(record)):
        other = getattr(record, field)
        setattr(made, field, type(other)(id=other.id))
    return msgspec.json.encode(made).decode()


def differences(before: Record, fields: Iterable[str]) -> str:
    """Returns what of a record is to be changed, as it was."""
    return msgspec.json.encode({field: _value(before, field) for field in fields}).decode()


def of_release(
    action: Action, release: DatasetRelease, organisation_id: int | None, before: str | None = None
) -> Note:
    """Returns the entry of a release; its dataset is named in it by id and name."""
    after = None if action == "delete" else msgspec.json.encode(release).decode()
    dataset = release.dataset.id
    return Note(action, DatasetRelease, release.id, organisation_id, dataset, before, after)


def of_record(action: Action, record: Record, organisation_id: int | None, before: str | None = None) -> Note:
    """Returns the entry of any other record."""
    after = None if action == "delete" else told(record)
    kind = kind_of(record)
    return Note(
        action, kind, record.id, organisation_id, record.id if kind is Dataset else None, before, after
    )


def _value(record: Record, field: str) -> Any:
    value = getattr(record, field)
    return {"id": value.id} if isinstance(value, Record) else value
