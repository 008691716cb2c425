"""Every read of an address is in the journal: once an hour for each account and dataset, in each process.

The files of DAGs are read every 30 seconds, and what they read again within the hour tells nothing new.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from ..access import Caller, organisation_of
from ..errors import Unavailable
from ..records import Contents, Dataset, is_given
from . import journal
from .database import Database, P, T, Work
from .whole import addressed

HOUR = 3600  # seconds


class Noted:
    """A book that tells the journal whose addresses it answers, before it answers them."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.url = database.url
        self._database = database
        self._clock = clock  # in seconds
        self._noting = asyncio.Lock()
        self._hour = 0.0
        self._read: set[tuple[str, int]] = set()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Opens and closes the connections."""
        return self._database.running()

    async def read(self, by: Caller, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function that only reads a little."""
        return await self._note(by, await self._database.read(by, work, *args, **kwargs))

    async def scan(self, by: Caller, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function that may read much."""
        return await self._note(by, await self._database.scan(by, work, *args, **kwargs))

    async def at_once(
        self, by: Caller, work: Work[P, T | None], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """Runs a function of one statement, which changes something and is committed by itself."""
        return await self._note(by, await self._database.at_once(by, work, *args, **kwargs))

    async def write(self, by: Caller, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function in a transaction that is committed when this returns."""
        return await self._note(by, await self._database.write(by, work, *args, **kwargs))

    async def _note(self, by: Caller, answer: T) -> T:
        """Notes whose addresses are in an answer, and returns it."""
        answered: object = addressed(answer) if isinstance(answer, Contents) else answer
        several = answered if isinstance(answered, list) else [answered]
        shown = [one for one in several if isinstance(one, Dataset) and is_given(one.address)]
        if shown and self._new(by, shown):
            # Whoever reads the same meanwhile is answered when it is noted, too.
            async with self._noting:
                if new := self._new(by, shown):
                    await self._write(by, new)
        return answer

    def _new(self, by: Caller, shown: Sequence[Dataset]) -> list[Dataset]:
        """Returns those whose address the account has not read in this hour."""
        if (hour := self._clock() // HOUR) != self._hour:
            self._hour = hour
            self._read.clear()
        return [dataset for dataset in shown if (by.account, dataset.id) not in self._read]

    async def _write(self, by: Caller, new: Sequence[Dataset]) -> None:
        try:
            await self._database.write(by, journal.write, [_entry(dataset) for dataset in new])
        except Unavailable as error:
            # Reading goes on where nothing can be written; the log then says what the journal cannot.
            ids = [dataset.id for dataset in new]
            logger = logging.getLogger(__name__)
            logger.warning("%s reads the addresses of datasets %s unnoted: %s", by.account, ids, error)
        else:
            self._read |= {(by.account, dataset.id) for dataset in new}


def _entry(dataset: Dataset) -> journal.Note:
    return journal.Note("read", Dataset, dataset.id, organisation_of(dataset), dataset.id)
