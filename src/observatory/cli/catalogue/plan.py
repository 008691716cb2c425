"""What is to be done so that a book says what a catalogue says, and doing it. Nothing is ever deleted."""

from copy import copy
from typing import NamedTuple

from ...client import ObservatoryApi
from ...records import Record, is_given, relations
from ..keys import OWNERS, Key, fields_of, key_field, key_of, key_text, plural, singular
from .difference import Difference, differences
from .entries import KINDS, OPTIONAL, Entry, mistake
from .mistakes import SHOWN, Mistake, WrongFile
from .references import Known, WrongReference
from .source import Source

Book = dict[type[Record], dict[Key, Record]]


class Change(NamedTuple):
    """What is to be done for one record: create it where `current` is None, change it, or leave it."""

    key: Key
    record: Record
    related: dict[str, Key]
    current: Record | None
    differences: list[Difference]


def read_book(api: ObservatoryApi) -> Book:
    """Returns all records of a book that a catalogue can name."""
    return {kind: {key_of(one): one for one in getattr(api, f"get_{plural(kind)}")()} for kind in KINDS}


def plan(source: Source, entries: list[Entry], book: Book) -> list[Change]:
    """Returns what is to be done, in an order in which it can be done.

    Raises WrongFile for what refers to nothing, is described twice, or is not whole.
    """
    known = Known({kind: list(book[kind]) for kind in KINDS})
    described: dict[tuple[type[Record], Key], int | None] = {}
    mistakes: list[Mistake] = []
    changes: list[Change] = []
    for entry in entries:
        kind = type(entry.record)
        related, wrong = _resolved(entry, known)
        key = _key(entry, related)
        current = book[kind].get(key) if key else None
        if current is None:
            wrong |= dict.fromkeys(_absent(entry), "is required")
        if key and (kind, key) in described:
            wrong[key_field(kind)] = f"{key_text(key)!r} is described on line {described[kind, key]} already"
        elif key:
            described[kind, key] = source.lines.get(entry.path)
            known.add(kind, key)
            different = differences(entry.record, related, current)
            changes.append(Change(key, entry.record, related, current, different))
        mistakes += [mistake(source, (*entry.path, field), why) for field, why in wrong.items()]
        if len(mistakes) > SHOWN:
            break
    if mistakes:
        raise WrongFile(mistakes)
    return changes


def carry_out(api: ObservatoryApi, change: Change, book: Book) -> None:
    """Creates or changes one record in the book; what it refers to is there by now."""
    kind, record = type(change.record), copy(change.record)
    for field, key in change.related.items():
        other = relations(kind)[field]
        setattr(record, field, other(id=book[other][key].id))
    if change.current is not None:
        # With its version, so that what somebody else changed since it was shown is not overwritten.
        record.id, record.version = change.current.id, change.current.version
    book[kind][change.key] = getattr(api, f"put_{singular(kind)}")(record)


def _resolved(entry: Entry, known: Known) -> tuple[dict[str, Key], dict[str, str]]:
    """Returns the key of each record that an entry refers to, and what is wrong with the others."""
    related, wrong = dict[str, Key](), dict[str, str]()
    for field, said in entry.references.items():
        try:
            related[field] = known.find(relations(type(entry.record))[field], said)
        except WrongReference as error:
            wrong[field] = str(error)
    return related, wrong


def _key(entry: Entry, related: dict[str, Key]) -> Key | None:
    """Returns what the record is known by, if the entry says it."""
    kind = type(entry.record)
    own = getattr(entry.record, key_field(kind))
    if not is_given(own) or (kind in OWNERS and OWNERS[kind] not in related):
        return None
    return (*related[OWNERS[kind]], own) if kind in OWNERS else (own,)


def _absent(entry: Entry) -> list[str]:
    """Returns the fields that a new record needs and the entry does not say."""
    fields = [f for f in fields_of(type(entry.record)) if f not in (*OPTIONAL, *entry.references)]
    return [field for field in fields if not is_given(getattr(entry.record, field))]
