"""A book's catalogue as the text of a file that `observatory apply` accepts."""

import json
from typing import Any

import yaml

from ...records import Record, Workflow, is_given, relations
from ..keys import fields_of, key_of, key_text, plural
from .entries import KINDS
from .plan import Book

HEAD = "# What is in a book before any release. Put it into another with `observatory apply`.\n"


def dump(book: Book) -> str:
    """Returns the catalogue of a book: all records, each with all its fields, in the order of their keys.

    Whoever may not read addresses is told none, and the file has none.
    """
    said = {plural(kind): [_said(book[kind][key]) for key in sorted(book[kind])] for kind in KINDS}
    parts = [_yaml({section: listed}) for section, listed in said.items() if listed]
    return "\n".join([HEAD, *parts])


def _said(record: Record) -> dict[str, Any]:
    kind = type(record)
    said = {field: value for field in fields_of(kind) if is_given(value := getattr(record, field))}
    if "extras" in said:
        # PostgreSQL keeps them in an order of its own.
        said["extras"] = json.loads(json.dumps(said["extras"], sort_keys=True))
    if "tags" in said:
        said["tags"] = json.loads(said["tags"])
    return said | {field: _reference(said[field]) for field in relations(kind)}


def _reference(record: Record) -> Any:
    """Returns how a related record is written: as a text, unless a slash in a name made that ambiguous."""
    key = key_of(record)
    if isinstance(record, Workflow) and key_text(key).count("/") > 1:
        return {"organisation": key[0], "name": key[1]}
    return key_text(key)


def _yaml(value: Any) -> str:
    # libyaml where it is there, since it is ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=_plain(dumper), sort_keys=False, allow_unicode=True, width=110)
    return text


def _plain(dumper: Any) -> Any:
    """Returns the dumper without aliases, which it makes of equal values and a catalogue must not have."""
    return type("Plain", (dumper,), {"ignore_aliases": lambda self, value: True})
