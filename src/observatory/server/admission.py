"""Who is served now, who waits, and who must come again, when a server is asked more than it can do.

A process works on a certain number of requests at a time. As many wait behind them, in four lines of which
the most urgent is served first; when there is no more room, whoever is less urgent makes place. Beside this,
each key has a number of requests a second.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from enum import IntEnum
from urllib.parse import parse_qsl

PATIENCE = 1.0  # seconds that a request waits at most
BURST = 2  # seconds' worth of requests that a key may save up
KEYS = 10_000  # of so many keys the use is remembered at once


class Urgency(IntEnum):
    """What is served before what: tasks that record must not wait for those who only look."""

    RECORDING = 0
    TASK = 1
    PARSING = 2
    PAGE = 3


def urgency(method: str, path: str, query: bytes, purpose: bytes | None) -> Urgency:
    """Returns how urgent a request is; the purpose is what its header Observatory-Purpose says."""
    if method in ("POST", "PATCH") and path.startswith("/v1/dataset-releases"):
        return Urgency.RECORDING
    if purpose == b"parsing":
        return Urgency.PARSING
    kind, _, rest = path.removeprefix("/v1/").partition("/")
    if not path.startswith("/v1/") or kind == "openapi.json":
        return Urgency.PAGE
    if rest or method not in ("GET", "HEAD"):
        return Urgency.TASK
    is_filtered = any(name not in (b"limit", b"after") for name, _ in parse_qsl(query))
    return Urgency.TASK if is_filtered else Urgency.PAGE


class Places:
    """So many places to work in, and as many to wait.

    Who finds a place `free` takes it by counting it down, and calls nothing here until it leaves.
    """

    def __init__(self, places: int) -> None:
        self.places = self.free = places
        self.waiting = self.coming = 0
        self._lines: list[deque[asyncio.Future[str]]] = [deque() for _ in Urgency]

    async def enter(self, urgency: Urgency) -> str:
        """Waits for a place. Returns "" once it is had, and else why it is not."""
        if self.free:
            self.free -= 1
            return ""
        if not self.has_room(urgency):
            return "busy"
        if self.is_full:
            self._push_out(urgency)
        return await self._turn(urgency, PATIENCE)

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may, with those who have come and whose turn to ask it is not yet."""
        return self.waiting + self.coming - self.free >= self.places

    def has_room(self, urgency: Urgency) -> bool:
        """Tells whether one more may wait, be it in place of another."""
        return not self.is_full or any(self._lines[urgency + 1 :])

    async def come_back(self) -> None:
        """Waits for a place as long as it takes, for one who had one and left it to others for a while."""
        if self.free:
            self.free -= 1
        else:
            await self._turn(Urgency.RECORDING, None)

    def leave(self) -> None:
        """Gives the place to the most urgent one who waits."""
        for line in self._lines:
            while line:
                turn = line.popleft()
                self.waiting -= 1
                if not turn.done():
                    turn.set_result("")
                    return
        self.free += 1

    async def _turn(self, urgency: Urgency, patience: float | None) -> str:
        """Waits in line. Returns "" once it is one's turn, and else why it will not be."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[str] = loop.create_future()
        line = self._lines[urgency]
        line.append(turn)
        self.waiting += 1
        timer = loop.call_later(patience, _tell, turn, "waited") if patience else None
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.result():
                self.leave()  # it was given a place, and is not there to take it
            raise
        finally:
            if timer:
                timer.cancel()
            if turn in line:
                line.remove(turn)
                self.waiting -= 1

    def _push_out(self, urgency: Urgency) -> None:
        """Sends away the one who is the least urgent and came last, if less urgent than this."""
        for line in self._lines[:urgency:-1]:
            while line:
                turn = line.pop()
                self.waiting -= 1
                if not turn.done():
                    turn.set_result("pushed out")
                    return


def _tell(turn: asyncio.Future[str], why: str) -> None:
    if not turn.done():
        turn.set_result(why)


class Rates:
    """How much each caller has asked lately, of a number of requests a second that all are allowed."""

    def __init__(self, rate: float) -> None:
        self._spacing = 1 / rate
        # Until when each would be busy if its requests came evenly. Who is not busy now needs no entry.
        self._busy_until: dict[Hashable, float] = {}

    def wait(self, who: Hashable, now: float) -> float:
        """Counts a request and returns 0, or for how many seconds this caller must wait."""
        until = self._busy_until.get(who, 0.0)
        if until <= now:
            if not until and len(self._busy_until) >= KEYS:
                self._forget(now)
            self._busy_until[who] = now + self._spacing
            return 0.0
        if (wait := until - now - BURST + self._spacing) > 0:
            return wait
        self._busy_until[who] = until + self._spacing
        return 0.0

    def _forget(self, now: float) -> None:
        """Forgets who is not busy, and if all are, those who came first."""
        self._busy_until = {who: until for who, until in self._busy_until.items() if until > now}
        for who in list(self._busy_until)[: len(self._busy_until) - KEYS + KEYS // 10]:
            del self._busy_until[who]
