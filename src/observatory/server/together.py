"""Looking up together what several callers ask at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """Looks up by keys, for many callers at a time.

    While one look-up is on its way, those who come wait, and are looked up together by the next: each by one
    that began after it asked.
    """

    def __init__(self, look: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._look = look
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def find(self, key: K) -> V | None:
        """Returns what is found by a key; raises what the look-up raises."""
        if (waiting := self._waiting.get(key)) is None:
            waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_up())
        # One who gives up leaves the others waiting.
        return await asyncio.shield(waiting)

    async def _look_up(self) -> None:
        """Looks up for those who wait, until nobody does."""
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                found = await self._look(list(waiting))
            except Exception as error:  # it is theirs, whatever it is
                for future in waiting.values():
                    future.set_exception(error)
                    future.exception()  # looked at, for those who gave up
                continue
            for key, future in waiting.items():
                future.set_result(found.get(key))
        self._looking = None
