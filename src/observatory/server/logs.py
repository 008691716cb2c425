"""What the server writes to standard error: one line for what went wrong, and if asked for, for each request.

No line holds a key, a body, the value of a parameter or an address: of a request it says the operation, and
never the path. Messages of databases are cut where they would quote what is in a row.
"""

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..settings import Settings

REQUESTS = logging.getLogger("observatory.requests")
REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID", default="")
SECRETS = (
    (re.compile(r"(\w+://[^\s:/@]*:)[^\s@/]+@"), r"\1…@"),
    (re.compile(r"(password=)[^\s&'\"]+", re.IGNORECASE), r"\1…"),
    (re.compile(r"\bobs_(\d+)_\w+"), r"obs_\1_…"),
    # PostgreSQL repeats there the row that it refused.
    (re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE), r"\1: …"),
)


def configure(settings: Settings, root: logging.Logger | None = None) -> None:
    """Lets all that is logged in this process be written in one form, warnings and worse by default.

    In a process of somebody else, `root` is the logger below which all is ours.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    root = root or logging.getLogger()
    root.handlers, root.propagate = [handler], False
    root.setLevel(logging.WARNING)
    REQUESTS.setLevel(logging.INFO if settings.log == "requests" else logging.WARNING)


def tell(
    method: str, operation: str, status: int, seconds: float, account: int | None, *, is_warning: bool
) -> None:
    """Logs a request that was answered."""
    level = logging.WARNING if is_warning else logging.INFO
    if REQUESTS.isEnabledFor(level):
        facts: dict[str, object] = {
            "method": method,
            "operation": operation,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        if account is not None:
            facts["account"] = account
        REQUESTS.log(level, "answered", extra={"facts": facts})


def hide(text: str) -> str:
    """Returns a text without passwords, keys, and rows that a database quotes."""
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


class JsonLines(logging.Formatter):
    """Each record is one line that is a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        said: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide(record.getMessage()),
        }
        if request_id := REQUEST_ID.get():
            said["request_id"] = request_id
        said |= getattr(record, "facts", {})
        if record.exc_info:
            said["exception"] = hide(self.formatException(record.exc_info))
        return msgspec.json.encode(said).decode()


class TextLines(logging.Formatter):
    """Each record is one line for people, and below it where an error came from."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        facts = "".join(f" {name}={value}" for name, value in getattr(record, "facts", {}).items())
        request_id = f" request_id={REQUEST_ID.get()}" if REQUEST_ID.get() else ""
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}{facts}{request_id}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return hide(line)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
