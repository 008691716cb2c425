"""A book's catalogue as the text of a file that `observatory apply` accepts."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from ...records import Dataset, Record, is_given, relations
from ..keys import Key, fields_of, key_of, key_text, plural
from .cadences import said_of
from .entries import KINDS
from .plan import Book, dataset_names
from .references import PARTS

HEAD = "# What is in a book before any release. Put it into another with `observatory apply`.\n"


def dump(book: Book) -> str:
    """Returns the catalogue of a book: all records, each with all its fields, in the order of their keys.

    Whoever may not read addresses is told none, and the file has none.
    """
    names = dataset_names(book)
    said = {plural(kind): [_said(book[kind][key], names) for key in sorted(book[kind])] for kind in KINDS}
    parts = [_yaml({section: listed}) for section, listed in said.items() if listed]
    return "\n".join([HEAD, *parts])


def _said(record: Record, names: Mapping[int, Key]) -> dict[str, Any]:
    kind = type(record)
    said = {field: value for field in fields_of(kind) if is_given(value := getattr(record, field))}
    if "extras" in said:
        # PostgreSQL keeps them in an order of its own.
        said["extras"] = json.loads(json.dumps(said["extras"], sort_keys=True))
    if "tags" in said:
        said["tags"] = json.loads(said["tags"])
    if said.get("cadence"):
        said["cadence"] = said_of(said["cadence"])
    if "inputs" in said:
        said["inputs"] = [_reference(Dataset, key) for key in sorted(names[id] for id in said["inputs"])]
    return said | {field: _reference(other, key_of(said[field])) for field, other in relations(kind).items()}


def _reference(kind: type[Record], key: Key) -> Any:
    """Returns how another record is written: as a text, unless a slash in a name made that ambiguous."""
    if kind in PARTS and key_text(key).count("/") >= len(key):
        return dict(zip(PARTS[kind], key, strict=True))
    return key_text(key)


def _yaml(value: Any) -> str:
    # libyaml where it is there, since it is ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=_plain(dumper), sort_keys=False, allow_unicode=True, width=110)
    return text


def _plain(dumper: Any) -> Any:
    """Returns the dumper without aliases, which it makes of equal values and a catalogue must not have."""
    return type("Plain", (dumper,), {"ignore_aliases": lambda self, value: True})
