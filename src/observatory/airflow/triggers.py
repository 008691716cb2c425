"""What Airflow's triggerer waits for: releases that become settled, and DAGs that have no unfinished run."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent

from ..intervals import Period, subtract
from ..records import SETTLED, Entry
from .following import Lost, following
from .partitions import partition_key, period_of

UNFINISHED = ["queued", "running"]
POLL = 5.0  # seconds between two looks at the runs of DAGs


class SettledTrigger(BaseTrigger):
    """Fires when it is time to look at a dataset again: what was awaited of it may be there.

    That is when releases have been settled, behind the cursor `after`, that cover all the `awaited` periods,
    of which one ends at `reach` or later if that is given; and also when something happened that makes it
    impossible to tell without a look. Periods are written as partition keys. Without a cursor it fires as
    soon as the book answers, `pause` seconds from now at the earliest.
    """

    def __init__(
        self,
        dataset_id: int | None,
        awaited: Sequence[str],
        reach: str | None,
        after: str | None,
        pause: float = 0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in Airflow
        self.dataset_id = dataset_id
        self.awaited = list(awaited)
        self.reach = reach
        self.after = after
        self.pause = pause

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns what it is made anew of, in the triggerer."""
        told = {"dataset_id": self.dataset_id, "awaited": self.awaited, "reach": self.reach}
        return _path(self), told | {"after": self.after, "pause": self.pause}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yields one event."""
        await asyncio.sleep(self.pause)
        waiting = Waiting(self.dataset_id, self.awaited, self.reach)
        async with following(self.after) as reader:
            while True:
                news = await reader.next()
                if isinstance(news, Lost) or waiting.ends(news):
                    break
        yield TriggerEvent({})  # type: ignore[no-untyped-call] # untyped in Airflow


class Waiting:
    """What is still awaited of a dataset, as the journal goes on. It asks nobody."""

    def __init__(self, dataset_id: int | None, awaited: Iterable[str], reach: str | None) -> None:
        self._dataset_id = dataset_id
        self._awaited = [period_of(key) for key in awaited]
        self._reach = period_of(reach).start_date if reach else None
        self._is_reached = reach is None

    def ends(self, entry: Entry) -> bool:
        """Tells whether an entry says that it is time to look."""
        if entry.kind == "Dataset" and entry.record_id == self._dataset_id:
            return entry.action in ("change", "delete")
        if entry.dataset_id != self._dataset_id:
            return False
        if entry.kind == "DatasetRelease":
            return self._ends(entry)
        # What the source offers has changed, and with it what is missing.
        return entry.kind == "Probe"

    def _ends(self, entry: Entry) -> bool:
        record = entry.after or entry.before or {}
        try:
            period = msgspec.convert({name: record[name] for name in ("start_date", "end_date")}, Period)
        except (KeyError, msgspec.ValidationError):
            return True
        if entry.action == "delete" or record.get("state") not in SETTLED:
            # A revision that is superseded by another one stays settled.
            return record.get("state") != "superseded" and self._touches(period)
        self._awaited = subtract(self._awaited, [period])
        self._is_reached = self._is_reached or (self._reach is not None and period.end_date >= self._reach)
        return self._is_reached and not self._awaited

    def _touches(self, period: Period) -> bool:
        """Tells whether what went away may be among what is waited for, or was taken to be there."""
        return self._reach is None or period.start_date <= self._reach


class DagRunTrigger(BaseTrigger):
    """Fires when none of some DAGs has an unfinished run, and after so many seconds in any case.

    Without any DAG it fires after these seconds.
    """

    def __init__(self, dag_ids: Sequence[str], seconds: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in Airflow
        self.dag_ids = list(dag_ids)
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns what it is made anew of, in the triggerer."""
        return _path(self), {"dag_ids": self.dag_ids, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yields one event."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                if self.dag_ids:
                    await _polls().until_idle(self.dag_ids)
                else:
                    await asyncio.Event().wait()
        yield TriggerEvent({})  # type: ignore[no-untyped-call] # untyped in Airflow


class Polls:
    """Counts the unfinished runs of DAGs for all who wait in an event loop: each DAG once in a while."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._waiting: dict[asyncio.Future[None], list[str]] = {}
        self._task: asyncio.Task[None] | None = None

    async def until_idle(self, dag_ids: list[str]) -> None:
        """Waits until none of these DAGs has an unfinished run, by one look at all of them."""
        promise: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[promise] = dag_ids
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            await promise
        finally:
            del self._waiting[promise]
            if not self._waiting and self._task:
                # Whoever comes before it has ended begins another one.
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            waiting = list(self._waiting.items())
            counts: dict[str, int] = {}
            for dag_id in sorted({one for _, dag_ids in waiting for one in dag_ids}):
                # Airflow's API may be away for a while, as the book may.
                with suppress(Exception):
                    counts[dag_id] = await asyncio.to_thread(self._count, dag_id)
            for promise, dag_ids in waiting:
                if not promise.done() and all(counts.get(one) == 0 for one in dag_ids):
                    promise.set_result(None)


_all_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, Polls] = WeakKeyDictionary()


def _polls() -> Polls:
    return _all_polls.setdefault(asyncio.get_running_loop(), Polls(unfinished_runs))


def unfinished_runs(dag_id: str) -> int:
    """Returns how many runs of a DAG are queued or running, whatever started them; of none there is, 0."""
    return RuntimeTaskInstance.get_dr_count(dag_id=dag_id, states=UNFINISHED)


def awaited_keys(periods: Iterable[Period]) -> list[str]:
    """Returns periods as a trigger is given them."""
    return [partition_key(period) for period in periods]


def _path(trigger: BaseTrigger) -> str:
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}"
