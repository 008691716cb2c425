"""What a catalogue says of a record otherwise than the book does. Pure."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...records import Record, is_given
from ..keys import Key, fields_of, key_of, key_text

NOTHING = object()  # a value that is not there, as null may be one


class Difference(NamedTuple):
    """A field that the catalogue says otherwise than the book; an extra of its own as `extras.<name>`."""

    field: str
    old: Any
    new: Any


def differences(
    record: Record, related: Mapping[str, Any], current: Record | None, names: Mapping[int, Key]
) -> list[Difference]:
    """Returns the fields that differ, in their order; of a new record all that it says.

    `related` has the key of each related record and those of the inputs, `names` the keys of datasets by id.
    """
    found: list[Difference] = []
    for field in fields_of(type(record)):
        new: Any = related.get(field, getattr(record, field))
        old: Any = NOTHING if current is None else getattr(current, field)
        if not is_given(new):
            continue
        if not is_given(old):
            old = NOTHING  # such as an address that we may not read
        if field == "extras":
            found += _of_extras({} if old is NOTHING else old, new)
            continue
        if field == "inputs":
            new = sorted(map(key_text, new))
            old = NOTHING if old is NOTHING else sorted(key_text(names.get(id, (str(id),))) for id in old)
        elif field in related:
            new, old = key_text(new), NOTHING if old is NOTHING else key_text(key_of(old))
        if field == "tags":
            new, old = json.loads(new), NOTHING if old is NOTHING else json.loads(old)
        if not same(old, new):
            found.append(Difference(field, old, new))
    return found


def same(one: Any, other: Any) -> bool:
    """Returns whether two values of JSON are the same; to Python, true and 1 were."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _of_extras(old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    names = dict.fromkeys([*new, *old])
    pairs = [(f"extras.{name}", old.get(name, NOTHING), new.get(name, NOTHING)) for name in names]
    return [Difference(*pair) for pair in pairs if not same(*pair[1:])]
