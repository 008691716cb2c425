"""What a catalogue file says of each record, checked as far as the file alone tells."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

import msgspec

from ...errors import Invalid
from ...records import (
    Dataset,
    DatasetType,
    Organisation,
    Record,
    TableType,
    Workflow,
    WorkflowType,
    relations,
)
from ...rules import normal
from ..keys import article, fields_of, plural, words
from .cadences import cadence_of
from .mistakes import Mistake, Path, WrongFile, place
from .source import Source

# In this order each refers only to those before it.
KINDS: tuple[type[Record], ...] = (Organisation, WorkflowType, TableType, DatasetType, Workflow, Dataset)
SECTIONS = {plural(kind): kind for kind in KINDS}
# What a new record need not say; the ledger has a value for it.
OPTIONAL = ("tags", "extras", "granularity", "cadence", "shrink_guard", "inputs")


class Entry(NamedTuple):
    """One record as a file describes it: its own fields, and what it refers to as it is written there.

    It refers to one record by a relation, and to a list of datasets by the inputs of a dataset.
    """

    record: Record
    references: dict[str, Any]
    path: Path


def entries(source: Source) -> list[Entry]:
    """Returns the records that a file describes; raises WrongFile with all that is wrong in it."""
    mistakes: list[Mistake] = []
    found = list(_entries(source, mistakes))
    if mistakes:
        raise WrongFile(mistakes)
    return found


def mistake(source: Source, path: Path, why: str) -> Mistake:
    """Returns what is wrong at a path, on the line on which it or what holds it stands."""
    line = next((source.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in source.lines), None)
    return Mistake(line, f"{place(path)}: {why}" if path else why)


def like(name: str, known: list[str]) -> str:
    """Returns a hint at what was meant."""
    if close := get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    return f"it is one of {', '.join(known)}" if 0 < len(known) <= 10 else "look at its spelling"


def _entries(source: Source, mistakes: list[Mistake]) -> Iterator[Entry]:
    said = source.value
    if not isinstance(said, dict):
        why = "is empty" if said is None else "is no catalogue"
        mistakes.append(mistake(source, (), f"{why}: it has lists under {', '.join(SECTIONS)}"))
        return
    for section in said:
        if section not in SECTIONS:
            why = f"is no part of a catalogue: {like(section, list(SECTIONS))}"
            mistakes.append(mistake(source, (section,), why))
    for section, kind in SECTIONS.items():
        listed = said.get(section)
        if listed is not None and not isinstance(listed, list):
            why = f"must be a list: begin each {words(kind)} with a dash"
            mistakes.append(mistake(source, (section,), why))
        elif listed:
            for at, one in enumerate(listed):
                yield from _entry(kind, one, (section, at), source, mistakes)


def _entry(
    kind: type[Record], said: Any, path: Path, source: Source, mistakes: list[Mistake]
) -> Iterator[Entry]:
    if not isinstance(said, dict):
        why = f"must say {', '.join(fields_of(kind))} of {article(kind)}, each with its value"
        mistakes.append(mistake(source, path, why))
        return
    wrong = {
        field: f"is not a field of {article(kind)}: {like(field, fields_of(kind))}"
        for field in said
        if field not in fields_of(kind)
    }
    refers = [*relations(kind), "inputs"]
    own = {field: value for field, value in said.items() if field not in wrong and field not in refers}
    wrong |= _wrong_types(kind, own)
    if not isinstance(said.get("inputs", []), list):
        wrong["inputs"] = "must be a list, as in [organisation/workflow/dataset]"
    if not wrong:
        if "cadence" in own:
            own["cadence"] = cadence_of(own["cadence"])
        try:
            yield Entry(normal(kind(**own)), {f: said[f] for f in refers if f in said}, path)
        except Invalid as error:
            wrong = error.fields
    mistakes += [mistake(source, (*path, field), why) for field, why in wrong.items()]


def _wrong_types(kind: type[Record], said: dict[str, Any]) -> dict[str, str]:
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    wrong = {}
    for field, value in said.items():
        if field == "tags":  # a string in the records, as in the use cases; nobody would write that here
            if not isinstance(value, list):
                wrong[field] = "must be a list, as in [sales, books]"
            continue
        try:
            if field == "cadence":
                cadence_of(value)
            else:
                msgspec.convert(value, types[field])
        except msgspec.ValidationError as error:
            wrong[field] = _cure(str(error), types[field])
        except ValueError as error:
            wrong[field] = str(error)
    return wrong


def _cure(said: str, wanted: Any) -> str:
    """Returns in our words what msgspec says of a value."""
    if said.startswith("Expected `str`, got"):
        return "must be a text: put it in quotes"
    if said.startswith("Expected `object`"):
        return "must be a mapping, as in {contact: data@example.org}"
    if said.startswith("Expected `str` of length >="):
        return "must not be empty"
    if said.startswith("Expected `str` matching"):
        return "holds a control character, such as a tab or the end of a line"
    choices = [one for part in get_args(wanted) for one in get_args(part) if isinstance(one, str)]
    if choices and not said.startswith("Expected `str` of"):
        return f"must be one of {', '.join(choices)}"
    return said
