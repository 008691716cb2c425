"""One reader of the journal for all in a process who wait for what happens in the book.

A triggerer runs hundreds of triggers in one event loop. They share one request that waits for the next
entries; each is told of those behind its own place, and those who begin far behind are caught up with all
together, by reading on from the place that is farthest behind.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from ..client import make_observatory_api
from ..client.following import WAIT, Feed, Part
from ..errors import Gone, Invalid
from ..records import Entry

PACE = 1.0  # seconds from one request to the next, so that many entries come with one
CATCHING_UP = 0.25  # seconds, where there is more already
LONGEST_PAUSE = 5.0  # seconds before a book is asked again that did not answer
NOW = "now"

log = logging.getLogger(__name__)


class Lost:
    """What a reader is told where it may have missed entries: it must look itself, and goes on from here."""


News = Entry | Lost


class Reader:
    """One who waits: `reached` is the cursor behind which it goes on, or None where it is to begin now."""

    def __init__(self, after: str | None) -> None:
        self.reached = after
        self._news: asyncio.Queue[News] = asyncio.Queue()

    @property
    def is_idle(self) -> bool:
        """Whether it was told all that is behind its place."""
        return self._news.empty()

    async def next(self) -> News:
        """Waits for the next that happens."""
        return await self._news.get()

    def tell(self, part: Part) -> None:
        """Takes what is new to it of a part of the journal, and goes on behind that part."""
        if self.reached is None:
            self._news.put_nowait(Lost())
            self.reached = part.cursor
            return
        place = _place(self.reached)
        for entry in part.entries:
            if _place(entry.cursor) > place:
                self._news.put_nowait(entry)
        self.reached = max(self.reached, part.cursor, key=_place)


class Follower:
    """Reads the journal for its readers while there are any."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None
        self._asked: str | None = None
        self._is_behind = asyncio.Event()

    def join(self, reader: Reader) -> None:
        """Adds a reader, who starts the reading if it is the first."""
        self._readers.add(reader)
        if self._task is None or self._task.done():
            # Of no trigger: what is said here is in no single trigger's log.
            self._task = asyncio.create_task(self._run(), context=Context())
        elif self._asked and (reader.reached is None or _place(reader.reached) < _place(self._asked)):
            self._is_behind.set()

    def leave(self, reader: Reader) -> None:
        """Takes a reader away; the last one ends the reading."""
        self._readers.discard(reader)
        if not self._readers and self._task:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        feed: Feed | None = None
        failures = 0
        now = asyncio.get_running_loop().time
        try:
            while True:
                begun = now()
                try:
                    if feed is None:
                        feed = await asyncio.to_thread(_open)
                    pause = await self._read(feed)
                    if failures:
                        log.info("The book answers again")
                    failures = 0
                except Exception as error:
                    # Whatever it is, those who wait go on waiting: how long, they decide.
                    if not failures:
                        log.warning("The book is away, and is waited for: %s", error)
                    failures += 1
                    pause = min(LONGEST_PAUSE, PACE * 2 ** min(failures, 9)) * random.uniform(0.5, 1)
                    # Made anew, since the key or the address may have been changed.
                    await _close(feed)
                    feed = None
                await asyncio.sleep(max(CATCHING_UP, begun + pause - now()))
        finally:
            await _close(feed)

    async def _read(self, feed: Feed) -> float:
        """Reads one part and tells it, and returns from its start how many seconds later to go on."""
        self._is_behind.clear()
        readers = list(self._readers)
        if new := [one for one in readers if one.reached is None]:
            # Those who begin now do not begin where others are who are behind.
            end = await feed.part(NOW, 0)
            for reader in new:
                reader.tell(end)
            return CATCHING_UP
        asked = self._asked = min((one.reached for one in readers if one.reached), key=_place)
        try:
            part = await self._unless_behind(feed.part(asked, WAIT))
        except (Gone, Invalid) as error:
            log.warning("The journal cannot be followed from where it was left: %s", error)
            for reader in self._readers:
                if reader.reached == asked:
                    reader.reached = None
            return PACE
        finally:
            self._asked = None
        if part is None:
            return PACE
        if not part.is_more:
            for reader in readers:
                # A copy of the book from before was restored, or it is another one.
                if reader.reached and _place(reader.reached) > _place(part.cursor):
                    reader.reached = None
        for reader in self._readers:
            # Who joined meanwhile, from a place before or from now on, is seen to next.
            if reader.reached and _place(reader.reached) >= _place(asked):
                reader.tell(part)
        return CATCHING_UP if part.is_more else PACE

    async def _unless_behind(self, reading: Coroutine[Any, Any, Part]) -> Part | None:
        """Returns what is read; None where somebody joins meanwhile who must be caught up with first."""
        part = asyncio.ensure_future(reading)
        behind = asyncio.ensure_future(self._is_behind.wait())
        try:
            await asyncio.wait((part, behind), return_when=asyncio.FIRST_COMPLETED)
            return part.result() if part.done() else None
        finally:
            part.cancel()
            behind.cancel()


_followers: WeakKeyDictionary[asyncio.AbstractEventLoop, Follower] = WeakKeyDictionary()


@asynccontextmanager
async def following(after: str | None) -> AsyncIterator[Reader]:
    """Yields a reader of all that happens in the book behind a cursor, for as long as the context lasts.

    Where it is None, or leads nowhere, `Lost` comes first, as soon as the book answers. A book that is away
    is waited for without end.
    """
    follower = _followers.setdefault(asyncio.get_running_loop(), Follower())
    reader = Reader(after)
    follower.join(reader)
    try:
        yield reader
    finally:
        follower.leave(reader)


def _open() -> Feed:
    return Feed(make_observatory_api())


async def _close(feed: Feed | None) -> None:
    if feed:
        await feed.close()


def _place(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split(".")))
