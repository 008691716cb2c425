"""Releases of the book as events of Airflow's assets, whoever records them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Sequence
from itertools import takewhile
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import AssetStateStoreAccessor
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from ..client import make_observatory_api
from ..errors import ObservatoryError
from ..intervals import Period
from ..records import Entry
from .assets import normal_uri
from .following import Lost, Reader, following
from .partitions import partition_key
from .sensors import find_dataset

CURSOR = "observatory_cursor"  # in the asset's state
AT_ONCE = 100  # so many events are on their way before the next ones wait
SAVE = 60.0  # seconds after which the cursor is saved though nothing happened to the dataset
RETRY = 10.0  # seconds before a dataset is looked for again

log = logging.getLogger(__name__)


class ReleaseTrigger(BaseEventTrigger):
    """Makes an event of an asset for each release of its dataset that comes to be present in the book.

    ```python
    sales = Asset("observatory://Ann/sales/books", watchers=[AssetWatcher("book", ReleaseTrigger("observatory://Ann/sales/books"))])
    ```

    A new release fires, and so does a revision, and one that is settled again after it was withdrawn; none
    does that is empty, unobtainable, withdrawn or expired. It begins with what is recorded after the asset is
    first watched. The payload tells which release it is, its partition key, and the `cursor` of the journal's
    entry, which is the same where an event comes twice.

    Where the triggerer was is kept in the asset's state once Airflow has stored an event. So an event is
    never lost, and comes twice only where the triggerer is killed in the second or two between both.
    """

    def __init__(self, asset: Asset | str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in Airflow
        self.asset = normal_uri(urlsplit(asset.uri if isinstance(asset, Asset) else asset)).geturl()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns what it is made anew of, in the triggerer."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"asset": self.asset}

    def shared_stream_key(self) -> Hashable:
        """Returns what it shares with others: those of the same asset have one place in the journal."""
        return ("observatory", self.asset)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> "Releases":
        """Returns what reads the journal for the asset; Airflow tells it what is stored."""
        return Releases(kwargs["asset"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yields an event for each release."""
        async for release in shared_stream:
            yield TriggerEvent(release)  # type: ignore[no-untyped-call] # untyped in Airflow

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Is never called: Airflow 3.3 runs it as a shared stream, which alone tells what was stored."""
        raise NotImplementedError("a ReleaseTrigger watches an asset: give it to an AssetWatcher")
        yield


class Releases(SharedStreamProducer):
    """The releases of the dataset of an asset, from where the asset's state says that they were left."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store = AssetStateStoreAccessor(uri=uri)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._on_their_way = 0

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yields what is told of each release, and its cursor, without end."""
        async with following(cast("str | None", await self._store.aget(CURSOR))) as reader:
            # Before the dataset is known, so that from now on nothing is missed.
            news = await self._next(reader)
            dataset_id = await self._dataset_id()
            now = asyncio.get_running_loop().time
            saved = now()
            while True:
                if isinstance(news, Lost):
                    await self._begin(reader)
                elif news and _is_of(news, dataset_id):
                    await self._room.acquire()
                    self._on_their_way += 1
                    yield told(news), news.cursor
                elif reader.is_idle and not self._on_their_way and reader.reached and now() - saved >= SAVE:
                    await self._store.aset(CURSOR, reader.reached)
                    saved = now()
                news = await self._next(reader)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Keeps how far all is stored; raises RuntimeError where it is not, and all is read again."""
        stored = list(takewhile(lambda item: item.outcome.is_clean, batch))
        if stored:
            await self._store.aset(CURSOR, stored[-1].broker_payload)
        for _ in stored:
            self._on_their_way -= 1
            self._room.release()
        if lost := batch[len(stored) :]:
            raise RuntimeError(
                f"the release at {lost[0].broker_payload} was not stored as an event of {self._uri}"
            )

    async def _next(self, reader: Reader) -> Entry | Lost | None:
        """Returns the next that happens in the book, or None where it is quiet for a while."""
        try:
            async with asyncio.timeout(SAVE):
                return await reader.next()
        except TimeoutError:
            return None

    async def _begin(self, reader: Reader) -> None:
        if await self._store.aget(CURSOR):
            log.error("Releases of %s may have been missed: the journal does not go back as far", self._uri)
        await self._store.aset(CURSOR, reader.reached)

    async def _dataset_id(self) -> int:
        """Returns the id of the dataset, which may be yet to come."""
        while True:
            try:
                return await asyncio.to_thread(_find, self._uri)
            except ObservatoryError as error:
                log.warning("The dataset of %s is waited for: %s", self._uri, error)
            await asyncio.sleep(RETRY)


def _find(uri: str) -> int:
    with make_observatory_api() as api:
        return find_dataset(api, uri)


def _is_of(entry: Entry, dataset_id: int) -> bool:
    """Tells whether a release of a dataset came to be present by what an entry tells."""
    if entry.kind != "DatasetRelease" or entry.dataset_id != dataset_id:
        return False
    is_new = entry.action == "create" or "state" in (entry.before or {})
    return is_new and (entry.after or {}).get("state") == "present"


def told(entry: Entry) -> dict[str, Any]:
    """Returns what an event tells of a release."""
    release = entry.after or {}
    period = msgspec.convert({name: release[name] for name in ("start_date", "end_date")}, Period)
    return {
        "dataset_id": entry.dataset_id,
        "release_id": entry.record_id,
        "partition_key": partition_key(period),
        "revision": release["revision"],
        "version_label": release.get("version_label"),
        "cursor": entry.cursor,
    }
