"""How people name a record.

An organisation by its name, a type by its type_id, and what belongs to another record by the path through it,
as `organisation/workflow/dataset`. A name may hold a slash itself, so a path is never taken apart: it names
the record whose own path it equals.
"""

from typing import Any

import typer

from ..client import ObservatoryApi
from ..errors import NotFound
from ..records import Dataset, Organisation, Record, Workflow, is_given, relations

Key = tuple[str, ...]

OWNERS: dict[type[Record], str] = {Workflow: "organisation", Dataset: "workflow"}


def key_fields(kind: type[Record]) -> list[str]:
    """Returns the fields that the key of a record is made of."""
    return [OWNERS[kind], key_field(kind)] if kind in OWNERS else [key_field(kind)]


class WrongUsage(typer.TyperException):
    """The command was typed wrongly; the message says the cure."""

    exit_code = 2


def key_field(kind: type[Record]) -> str:
    """Returns the field by which a record of the kind is known."""
    return "type_id" if "type_id" in kind.__struct_fields__ else "name"


def key_of(record: Record) -> Key:
    """Returns the name of a record, behind those of its owners."""
    kind = type(record)
    own: str = getattr(record, key_field(kind))
    return (*key_of(getattr(record, OWNERS[kind])), own) if kind in OWNERS else (own,)


def key_text(key: Key) -> str:
    """Returns a key as it is written."""
    return "/".join(key)


def label(record: Record) -> str:
    """Returns what people call a record: its key, or its name and id where its owners are not told."""
    owner = OWNERS.get(type(record))
    if owner and not is_given(getattr(record, owner)):
        return f"{getattr(record, key_field(type(record)))} ({record.id})"
    return key_text(key_of(record))


def key_form(kind: type[Record]) -> str:
    """Returns what a key of the kind looks like, as `organisation/workflow`."""
    form = {Workflow: "organisation/workflow", Dataset: "organisation/workflow/dataset"}
    return form.get(kind, key_field(kind))


def words(kind: type[Record]) -> str:
    """Returns the kind in words, as `dataset type`."""
    return singular(kind).replace("_", " ")


def fields_of(kind: type[Record]) -> list[str]:
    """Returns the fields that a caller gives: names, then what it refers to, then the rest."""
    own = [f for f in kind.__struct_fields__ if f not in Record.__struct_fields__]
    related = relations(kind)
    named = [f for f in ("type_id", "name") if f in own]
    return [*named, *related, *(f for f in own if f not in related and f not in named)]


def article(kind: type[Record]) -> str:
    """Returns the kind in words with its article, as `an organisation`."""
    return f"{'an' if kind is Organisation else 'a'} {words(kind)}"


def singular(kind: type[Record]) -> str:
    """Returns the kind as it is in the names of the client's methods, as `dataset_type`."""
    return plural(kind).removesuffix("s")


def plural(kind: type[Record]) -> str:
    """Returns the kind as it is in the names of the client's lists, as `dataset_types`."""
    return kind.path.replace("-", "_")


def id_of(api: ObservatoryApi, kind: type[Record], said: str) -> int:
    """Returns the id of the record that is named by its id or its key."""
    return int(said) if is_id(said) else find(api, kind, said).id


def is_id(said: str) -> bool:
    """Returns whether a record is named by its id: whatever has digits only is one."""
    return said.isdecimal() and said.isascii()


def find(api: ObservatoryApi, kind: type[Record], key: str) -> Record:
    """Returns the record of a key; raises NotFound, or WrongUsage where several bear it."""
    found: list[Record] = [
        record for record in _candidates(api, kind, key) if key_text(key_of(record)) == key
    ]
    if not found:
        cure = f"see `observatory {kind.path} list`; it is written as {key_form(kind)}, or give its id"
        raise NotFound(f"there is no {words(kind)} {key!r}: {cure}")
    if len(found) > 1:
        ids = ", ".join(str(record.id) for record in found)
        raise WrongUsage(f"{key!r} names several {kind.path}: give the id, one of {ids}")
    return found[0]


def _candidates(api: ObservatoryApi, kind: type[Record], key: str) -> list[Any]:
    if key_field(kind) == "type_id":
        return [getattr(api, f"get_{singular(kind)}")(type_id=key)]
    listed = getattr(api, f"get_{plural(kind)}")
    # Any slash may be part of a name; there are at least as many before it as there are owners.
    parts, owners = key.split("/"), key_form(kind).count("/")
    return [
        record
        for at in range(owners, len(parts) if owners else 1)
        for record in listed(name="/".join(parts[at:]))
    ]
