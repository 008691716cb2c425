"""What a catalogue's relations refer to: records of the same file, or of the book."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...records import Dataset, Record, Workflow
from ..keys import Key, article, key_form, key_text, words
from .entries import like

# How a record is named where a slash in a name makes its key ambiguous.
PARTS: dict[type[Record], tuple[str, ...]] = {
    Workflow: ("organisation", "name"),
    Dataset: ("organisation", "workflow", "name"),
}


class WrongReference(Exception):
    """A relation that names nothing, or more than one record; says the cure."""


class Known:
    """The keys that can be referred to."""

    def __init__(self, keys: Mapping[type[Record], Iterable[Key]]) -> None:
        # By their text, which several may share: names may hold slashes.
        self._keys: dict[type[Record], dict[str, list[Key]]] = {kind: {} for kind in keys}
        for kind, known in keys.items():
            for key in known:
                self.add(kind, key)

    def add(self, kind: type[Record], key: Key) -> None:
        """Makes a record known, if it is not yet."""
        same = self._keys[kind].setdefault(key_text(key), [])
        if key not in same:
            same.append(key)

    def find(self, kind: type[Record], said: Any) -> Key:
        """Returns the key that a relation names, written as a text or as a mapping of its parts."""
        wanted: Key | None = None
        parts = PARTS.get(kind, ())
        if isinstance(said, dict) and set(said) == {*parts}:
            wanted = tuple(str(said[part]) for part in parts)
        elif not isinstance(said, str):
            raise WrongReference(f"must be a text: the {key_form(kind)} of {article(kind)}, in quotes")
        text = key_text(wanted) if wanted else str(said)
        found = [key for key in self._keys[kind].get(text, []) if wanted in (None, key)]
        if not found:
            hint = like(text, list(self._keys[kind]))
            raise WrongReference(f"there is no {words(kind)} {text!r} in this file or the book: {hint}")
        if len(found) > 1:
            form = ", ".join(f"{part}: …" for part in parts)
            raise WrongReference(f"{text!r} names several: write {{{form}}} instead")
        return found[0]
