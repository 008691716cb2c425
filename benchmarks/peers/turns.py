"""What a peer does in its own process: it reads a question a line and tells how long it took to answer.

Only the standard library is imported here, since this runs in the environments of the peers.
"""

import json
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

FIRST = datetime(1900, 1, 1, tzinfo=UTC)  # so that a million hours are over by now
HOUR = timedelta(hours=1)
CAP = 60  # seconds, after which an answer is waited for no longer


class Case(NamedTuple):
    """So many expected hours, half of which are missing: every second one, or one block in the middle."""

    hours: int
    block: bool

    @property
    def end(self) -> datetime:
        """When the last of the hours is over."""
        return hour(self.hours)

    @property
    def runs(self) -> int:
        """How many runs of missing hours there are."""
        return 1 if self.block else self.hours // 2

    def settled(self) -> list[tuple[datetime, datetime]]:
        """Returns the runs of settled hours, in order."""
        if not self.block:
            return [(hour(i), hour(i + 1)) for i in range(1, self.hours, 2)]
        quarter = self.hours // 4
        return [(FIRST, hour(quarter)), (hour(self.hours - quarter), self.end)]


# What a peer can be asked about a case, by its name; each finds what is missing and tells how many.
Questions = dict[str, Callable[[], int]]


def hour(number: int) -> datetime:
    """Returns when an hour begins; they are counted from the first."""
    return FIRST + number * HOUR


def serve(make: Callable[[Case], Questions]) -> None:
    """Answers until there are no more questions; a case is made once, and that is not timed."""
    made = cache(make)
    signal.signal(signal.SIGALRM, _over)
    for line in sys.stdin:
        hours, block, what = json.loads(line)
        print(json.dumps(_timed(made(Case(hours, block))[what])), flush=True)


def _timed(question: Callable[[], int]) -> dict[str, float | None]:
    """Returns how long a question takes and what it finds; nothing where it takes too long."""
    signal.alarm(CAP)
    try:
        started = time.perf_counter()
        found = question()
        return {"seconds": time.perf_counter() - started, "found": found}
    except TimeoutError:
        return {"seconds": None, "found": None}
    finally:
        signal.alarm(0)


def _over(*_: object) -> None:
    raise TimeoutError
