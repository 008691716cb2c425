"""What is to be done so that a book says what a catalogue says, and doing it. Nothing is ever deleted."""

from copy import copy
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from ...client import ObservatoryApi
from ...records import Dataset, Record, is_given, relations
from ..keys import OWNERS, Key, fields_of, key_field, key_of, key_text, plural, singular
from .difference import Difference, differences
from .entries import KINDS, OPTIONAL, Entry, mistake
from .mistakes import SHOWN, Mistake, WrongFile
from .references import Known, WrongReference
from .source import Source

Book = dict[type[Record], dict[Key, Record]]


class Change(NamedTuple):
    """What is to be done for one record: create it where `current` is None, change it, or leave it.

    `inputs` are the keys of the datasets that it is made from, where the file says them.
    """

    key: Key
    record: Record
    related: dict[str, Key]
    inputs: list[Key] | None
    current: Record | None
    differences: list[Difference]


def read_book(api: ObservatoryApi) -> Book:
    """Returns all records of a book that a catalogue can name."""
    return {kind: {key_of(one): one for one in getattr(api, f"get_{plural(kind)}")()} for kind in KINDS}


def dataset_names(book: Book) -> dict[int, Key]:
    """Returns the keys of the datasets of a book by their ids, by which datasets name their inputs."""
    return {record.id: key for key, record in book[Dataset].items()}


def plan(source: Source, entries: list[Entry], book: Book) -> list[Change]:
    """Returns what is to be done, in an order in which it can be done.

    Raises WrongFile for what refers to nothing, is described twice, or is not whole.
    """
    known = Known({kind: list(book[kind]) for kind in KINDS})
    described: dict[tuple[type[Record], Key], int | None] = {}
    mistakes: list[Mistake] = []
    found: list[tuple[Entry, Change]] = []
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
            found.append((entry, Change(key, entry.record, related, None, current, [])))
        mistakes += [mistake(source, (*entry.path, field), why) for field, why in wrong.items()]
        if len(mistakes) > SHOWN:
            raise WrongFile(mistakes)
    # Once all datasets are known: each may be made from one that is described further down.
    names = dataset_names(book)
    changes = [_with_inputs(entry, change, known, names, source, mistakes) for entry, change in found]
    if mistakes:
        raise WrongFile(mistakes)
    return _in_order(changes, described)


def carry_out(api: ObservatoryApi, change: Change, book: Book) -> None:
    """Creates or changes one record in the book; what it refers to is there by now."""
    kind, record = type(change.record), copy(change.record)
    for field, key in change.related.items():
        other = relations(kind)[field]
        setattr(record, field, other(id=book[other][key].id))
    if isinstance(record, Dataset) and change.inputs is not None:
        record.inputs = [book[Dataset][key].id for key in change.inputs]
    if change.current is not None:
        # With its version, so that what somebody else changed since it was shown is not overwritten.
        record.id, record.version = change.current.id, change.current.version
    book[kind][change.key] = getattr(api, f"put_{singular(kind)}")(record)


def _resolved(entry: Entry, known: Known) -> tuple[dict[str, Key], dict[str, str]]:
    """Returns the key of each record that an entry refers to, and what is wrong with the others."""
    related, wrong = dict[str, Key](), dict[str, str]()
    for field, said in entry.references.items():
        if field == "inputs":
            continue
        try:
            related[field] = known.find(relations(type(entry.record))[field], said)
        except WrongReference as error:
            wrong[field] = str(error)
    return related, wrong


def _with_inputs(
    entry: Entry,
    change: Change,
    known: Known,
    names: dict[int, Key],
    source: Source,
    mistakes: list[Mistake],
) -> Change:
    """Returns the change with the inputs that the entry names, and with what differs from the book."""
    inputs: dict[Key, None] = {}
    for at, said in enumerate(entry.references.get("inputs", [])):
        try:
            inputs[known.find(Dataset, said)] = None
        except WrongReference as error:
            mistakes.append(mistake(source, (*entry.path, "inputs", at), str(error)))
    made_from = list(inputs) if "inputs" in entry.references else None
    told: dict[str, Any] = {**change.related, **({} if made_from is None else {"inputs": made_from})}
    different = differences(change.record, told, change.current, names)
    return change._replace(inputs=made_from, differences=different)


def _in_order(changes: list[Change], described: dict[tuple[type[Record], Key], int | None]) -> list[Change]:
    """Returns the changes with each dataset behind those that it is made from."""
    datasets = {change.key: change for change in changes if isinstance(change.record, Dataset)}
    graph = {key: [one for one in of.inputs or () if one in datasets] for key, of in datasets.items()}
    try:
        ordered = [datasets[key] for key in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        why = f"is made from itself: {' from '.join(map(key_text, circle))}"
        raise WrongFile([Mistake(described[Dataset, circle[0]], why)]) from None
    return [*(change for change in changes if not isinstance(change.record, Dataset)), *ordered]


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
