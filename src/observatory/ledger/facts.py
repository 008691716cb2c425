"""The facts about a release: what must be told to record it, and what tells two of the same period apart."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from ..errors import Conflict, Invalid
from ..records import SETTLED, DatasetRelease, is_given
from ..rules import normal
from .database import Transaction

# What of a release is a fact about its data; when and how it was ingested may differ when it is told again.
FACTS = ("version_label", "published", "row_count", "digest", "state")


def whole(tx: Transaction, release: DatasetRelease) -> DatasetRelease:
    """Returns a release as it is recorded, whole but for its id; raises Invalid where it cannot be."""
    told = normal(release)
    absent = [name for name in ("dataset", "start_date", "end_date") if not is_given(getattr(told, name))]
    if absent:
        raise Invalid("DatasetRelease is not whole", dict.fromkeys(absent, "is required"))
    values: list[Any] = [None if value is UNSET else value for value in msgspec.structs.astuple(told)]
    made = DatasetRelease(*values)
    made.created = made.modified = tx.now
    made.version = made.revision = 1
    made.state = made.state or "present"
    made.extras = made.extras or {}
    if made.state not in SETTLED:
        cure = f"record it as one of {', '.join(SETTLED)}; what is recorded can then be withdrawn"
        raise Invalid("DatasetRelease cannot be recorded in this state", {"state": cure})
    return made


def differs(recorded: DatasetRelease, told: DatasetRelease) -> Conflict | None:
    """Returns the error for facts that are told otherwise than they are in the book, if there are any."""
    if recorded is told:
        return None
    other = {}
    for fact in FACTS:
        here, there = getattr(recorded, fact), getattr(told, fact)
        if there is not None and here != there:
            other[fact] = f"is {_shown(here)} in the book, not {_shown(there)}"
    if not other:
        return None
    return Conflict(
        f"release {recorded.id} of this period is in the book with other facts; "
        "withdraw it with a reason to record the period anew",
        other,
    )


def _shown(fact: object) -> str:
    return fact.isoformat() if isinstance(fact, datetime) else "not known" if fact is None else repr(fact)
