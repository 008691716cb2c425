"""What `observatory apply` shows of its plan."""

from typing import Any

from ..keys import key_fields, key_text, words
from ..show import painted, safe, value_text
from .difference import NOTHING
from .plan import Change


def told(changes: list[Change]) -> str:
    """Returns the plan as people read it: what is created, what is changed field by field, what is left."""
    lines = [line for change in changes for line in _of_one(change)]
    left = sum(_is_left(change) for change in changes)
    if left == len(changes):
        return f"nothing to do: {_records(left)} as the file says\n"
    created = sum(change.current is None for change in changes)
    counts = {"to create": created, "to change": len(changes) - created - left, "as the file says": left}
    lines.append(", ".join(f"{count} {what}" for what, count in counts.items() if count))
    return "\n".join(lines) + "\n"


def summary(changes: list[Change]) -> str:
    """Returns what was done."""
    created = sum(change.current is None for change in changes)
    return f"{created} created, {len(changes) - created} changed"


def _of_one(change: Change) -> list[str]:
    if _is_left(change):
        return []
    what = f"{words(type(change.record))} {safe(key_text(change.key))}"
    head = painted(f"+ {what}", "green") if change.current is None else painted(f"~ {what}", "yellow")
    # The key is in the head already.
    shown = [one for one in change.differences if one.field not in key_fields(type(change.record))]
    return [head, *(f"    {safe(field)}: {_difference(old, new)}" for field, old, new in shown)]


def _difference(old: Any, new: Any) -> str:
    if old is NOTHING:
        return value_text(new)
    return f"{value_text(old)} → {'(removed)' if new is NOTHING else value_text(new)}"


def _is_left(change: Change) -> bool:
    return change.current is not None and not change.differences


def _records(count: int) -> str:
    return "1 record is" if count == 1 else f"{count} records are"
