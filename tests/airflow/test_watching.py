"""Releases as events of assets, as Airflow's shared streams run them, killed between any two steps."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from airflow.triggers.shared_stream import SharedStreamManager

from observatory import Dataset, DatasetRelease
from observatory.airflow import ReleaseTrigger, dataset_asset
from observatory.airflow.watching import Releases

from .book import Book, add_partner

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)


class State:
    """The state of an asset, which Airflow keeps in its database."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.set = asyncio.Event()

    async def aget(self, key: str) -> Any:
        return self.kept.get(key)

    async def aset(self, key: str, told: Any) -> None:
        assert told is not None
        self.kept[key] = told
        self.set.set()


class Triggerer:
    """Runs a trigger as Airflow's triggerer does, until it is killed; `stored` outlives it."""

    def __init__(
        self, trigger: ReleaseTrigger, stored: list[dict[str, Any]], is_storing: bool = True
    ) -> None:
        self._trigger, self._stored, self.is_storing = trigger, stored, is_storing
        self.fired: list[dict[str, Any]] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        manager, key = SharedStreamManager(), self._trigger.shared_stream_key()
        raw = manager.subscribe(trigger_id=1, trigger=self._trigger, key=key)
        try:
            async for event in self._trigger.filter_shared_stream(raw):
                self.fired.append(event.payload)
                number = manager.bind_pending_event(trigger_id=1, key=key)
                assert number is not None
                if self.is_storing:
                    self._stored.append(event.payload)
                    manager.confirm_persisted([number])
        finally:
            await manager.stop_all()

    async def until(self, count: int) -> None:
        while len(self.fired) < count:
            assert not self._task.done(), self._task.exception()
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture(scope="module")
def one_book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    with Book(tmp_path_factory.mktemp("book")) as book:
        yield book


@pytest.fixture
def book(one_book: Book, monkeypatch: pytest.MonkeyPatch) -> Book:
    for name, told in one_book.environment.items():
        monkeypatch.setenv(name, told)
    return one_book


@pytest.fixture
def dataset(book: Book) -> Dataset:
    return add_partner(book.api, f"Ann {uuid4()}")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> State:
    state = State()
    monkeypatch.setattr("observatory.airflow.watching.AssetStateStoreAccessor", lambda uri: state)
    return state


def record(book: Book, dataset: Dataset, day: int, **facts: Any) -> DatasetRelease:
    start = JANUARY + day * DAY
    release = DatasetRelease(dataset=dataset, start_date=start, end_date=start + DAY, **facts)
    return book.api.post_dataset_release(release, revise=bool(facts))


async def is_begun(state: State) -> None:
    await state.set.wait()


def run(test: Any) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(within())


def test_each_release_and_revision_fires_once_and_nothing_else_does(
    book: Book, dataset: Dataset, state: State
) -> None:
    record(book, dataset, 9)
    stored: list[dict[str, Any]] = []

    async def test() -> None:
        first = Triggerer(ReleaseTrigger(dataset_asset(dataset)), stored)
        await is_begun(state)
        one = await asyncio.to_thread(record, book, dataset, 0)
        await asyncio.to_thread(record, book, dataset, 1, state="empty")
        two = await asyncio.to_thread(record, book, dataset, 0, row_count=5)
        withdrawn = DatasetRelease(id=two.id, state="withdrawn", reason="bad")
        await asyncio.to_thread(book.api.put_dataset_release, withdrawn)
        three = await asyncio.to_thread(record, book, dataset, 0)
        await first.until(3)
        await asyncio.sleep(1)
        assert [(each["release_id"], each["revision"]) for each in stored] == [
            (one.id, 1),
            (two.id, 2),
            (three.id, 3),
        ]
        assert stored[0] | {"cursor": ""} == {
            "dataset_id": dataset.id,
            "release_id": one.id,
            "partition_key": "2026-01-01/2026-01-02",
            "revision": 1,
            "version_label": None,
            "cursor": "",
        }
        await first.kill()

    run(test())


def test_nothing_is_lost_or_doubled_by_a_restart(book: Book, dataset: Dataset, state: State) -> None:
    stored: list[dict[str, Any]] = []
    trigger = ReleaseTrigger(dataset_asset(dataset))

    async def test() -> None:
        triggerer = Triggerer(trigger, stored)
        await is_begun(state)
        for day in range(0, 6, 2):
            await asyncio.to_thread(record, book, dataset, day)
            await triggerer.until(2 if day else 1)
            await asyncio.sleep(0.2)
            await triggerer.kill()
            await asyncio.to_thread(record, book, dataset, day + 1)
            triggerer = Triggerer(trigger, stored)
        await triggerer.until(1)
        await triggerer.kill()
        keys = [one["partition_key"][:10] for one in stored]
        assert keys == [f"2026-01-0{day}" for day in range(1, 7)]

    run(test())


def test_what_was_fired_and_not_stored_is_fired_again(book: Book, dataset: Dataset, state: State) -> None:
    stored: list[dict[str, Any]] = []
    trigger = ReleaseTrigger(dataset_asset(dataset))

    async def test() -> None:
        triggerer = Triggerer(trigger, stored, is_storing=False)
        await is_begun(state)
        await asyncio.to_thread(record, book, dataset, 0)
        await triggerer.until(1)
        await triggerer.kill()
        again = Triggerer(trigger, stored)
        await again.until(1)
        assert again.fired == triggerer.fired == stored
        await again.kill()

    run(test())


def test_what_was_stored_and_not_noted_comes_again_and_is_recognised(
    book: Book, dataset: Dataset, state: State
) -> None:
    stored: list[dict[str, Any]] = []
    trigger = ReleaseTrigger(dataset_asset(dataset))

    async def test() -> None:
        triggerer = Triggerer(trigger, stored)
        await is_begun(state)
        before = dict(state.kept)
        await asyncio.to_thread(record, book, dataset, 0)
        await triggerer.until(1)
        await triggerer.kill()
        state.kept = before  # killed just before it was noted
        again = Triggerer(trigger, stored)
        await again.until(1)
        await again.kill()
        assert len(stored) == 2
        assert stored[0] == stored[1]

    run(test())


def test_the_place_is_kept_while_nothing_happens(
    book: Book, dataset: Dataset, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observatory.airflow.watching.SAVE", 0.5)

    async def test() -> None:
        triggerer = Triggerer(ReleaseTrigger(dataset_asset(dataset)), [])
        await is_begun(state)
        before = dict(state.kept)
        await asyncio.to_thread(add_partner, book.api, f"Bob {uuid4()}")
        while state.kept == before:
            state.set.clear()
            await state.set.wait()
        await triggerer.kill()

    run(test())


def test_its_address_is_written_in_one_way() -> None:
    one = ReleaseTrigger("observatory://Ann/sales/book sales")
    assert one.serialize() == (
        "observatory.airflow.watching.ReleaseTrigger",
        {"asset": "observatory://Ann/sales/book%20sales"},
    )
    assert isinstance(ReleaseTrigger.create_shared_stream_producer(one.serialize()[1]), Releases)
    with pytest.raises(ValueError, match="names no dataset"):
        ReleaseTrigger("observatory://Ann")
