"""What is written to standard output: text that is safe for a terminal, and values as people read them."""

import json
import os
import sys
from datetime import UTC, datetime, time
from typing import Any

import msgspec
import typer

JOINERS = "\u200c\u200d"  # parts of words in some scripts, though nobody sees them


def write(text: str) -> bool:
    """Writes to standard output, and tells whether somebody reads it.

    Where nobody reads on, as with `| head`, a command goes on in silence, or ends.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What could not be written is still held, and Python would complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def is_for_people() -> bool:
    """Returns whether standard output is a terminal."""
    return sys.stdout.isatty()


def painted(text: str, colour: str) -> str:
    """Returns the text in a colour where a terminal shows it."""
    if is_for_people() and "NO_COLOR" not in os.environ:
        return typer.style(text, fg=colour)
    return text


def safe(text: str) -> str:
    """Returns the text without what commands a terminal or turns the direction of writing."""
    return "".join(
        c if c.isprintable() or c in JOINERS else c.encode("unicode_escape").decode() for c in text
    )


def value_text(value: Any) -> str:
    """Returns a value as it is shown: texts and times plainly, nothing as a dash, the rest as JSON."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, str):
        return safe(value)
    return safe(json.dumps(msgspec.to_builtins(value), ensure_ascii=False))


def moment_text(moment: datetime) -> str:
    """Returns a time as it is shown, and as the options take it: midnight in UTC as its date."""
    utc = moment.astimezone(UTC)
    if utc.time() == time():
        return utc.date().isoformat()
    return utc.isoformat().replace("+00:00", "Z")
