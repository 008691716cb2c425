"""What the triggerer waits for, in a real event loop, at a book that comes and goes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from observatory import Dataset, DatasetRelease, Grant, ObservatoryApi
from observatory.airflow.following import Lost, following
from observatory.airflow.triggers import DagRunTrigger, Polls, SettledTrigger
from observatory.intervals import Period
from observatory.wants import Offer

from ..server.conftest import key_for
from .book import Book, add_partner

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)


@pytest.fixture(scope="module")
def one_book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    with Book(tmp_path_factory.mktemp("book")) as book:
        yield book


@pytest.fixture
def book(one_book: Book, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    for name, told in one_book.environment.items():
        monkeypatch.setenv(name, told)
    yield one_book
    one_book.front.be("pass")


@pytest.fixture
def dataset(book: Book) -> Dataset:
    return add_partner(book.api, f"Ann {uuid4()}")


def record(api: ObservatoryApi, dataset: Dataset, day: int, days: int = 1) -> DatasetRelease:
    start = JANUARY + day * DAY
    return api.post_dataset_release(
        DatasetRelease(dataset=dataset, start_date=start, end_date=start + days * DAY)
    )


def key(day: int, days: int = 1) -> str:
    return f"{JANUARY + day * DAY:%Y-%m-%d}/{JANUARY + (day + days) * DAY:%Y-%m-%d}"


async def fired(trigger: SettledTrigger | DagRunTrigger) -> float:
    """Waits until a trigger fires, as the triggerer runs it: made anew of what it is stored as."""
    kwargs = trigger.serialize()[1]
    async for event in type(trigger)(**kwargs).run():
        assert event.payload == {}
        return time.monotonic()
    raise AssertionError("it ended without an event")


async def in_thread(call: Callable[..., Any], *given: Any) -> Any:
    return await asyncio.to_thread(call, *given)


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(within())


async def still(task: "asyncio.Task[float]", seconds: float = 1.2) -> None:
    """Checks that a trigger goes on waiting."""
    await asyncio.sleep(seconds)
    assert not task.done()


def test_it_fires_when_the_release_is_recorded_and_not_for_another_one(book: Book, dataset: Dataset) -> None:
    other = add_partner(book.api, "Bob")

    async def test() -> None:
        waiting = asyncio.create_task(
            fired(SettledTrigger(dataset.id, [key(1)], None, book.api.get_cursor()))
        )
        await in_thread(record, book.api, other, 1)
        await in_thread(record, book.api, dataset, 2)
        await still(waiting)
        recorded = time.monotonic()
        await in_thread(record, book.api, dataset, 1)
        assert await waiting - recorded < 5

    run(test())


def test_parts_make_up_the_whole_whatever_their_order(book: Book, dataset: Dataset) -> None:
    async def test() -> None:
        trigger = SettledTrigger(dataset.id, [key(0, 3)], None, book.api.get_cursor())
        waiting = asyncio.create_task(fired(trigger))
        await in_thread(record, book.api, dataset, 2)
        await in_thread(record, book.api, dataset, 0)
        await still(waiting)
        await in_thread(record, book.api, dataset, 1)
        await waiting

    run(test())


def test_a_reader_of_an_organisation_waits_for_what_it_may_read_and_for_nothing_else(
    book: Book, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = add_partner(book.api, f"Bob {uuid4()}")
    reader = key_for(book.api, Grant("reader", dataset.workflow.organisation.id), name=str(uuid4()))
    monkeypatch.setenv("OBSERVATORY_API_KEY", reader.secret)

    async def test() -> None:
        after = book.api.get_cursor()
        waiting, never = [
            asyncio.create_task(fired(SettledTrigger(one.id, [key(1)], None, after)))
            for one in (dataset, other)
        ]
        await in_thread(record, book.api, other, 1)
        await in_thread(record, book.api, dataset, 1)
        await waiting
        assert not never.done()
        never.cancel()

    run(test())


def test_what_was_recorded_between_the_look_and_the_start_is_not_missed(book: Book, dataset: Dataset) -> None:
    after = book.api.get_cursor()
    record(book.api, dataset, 1)
    book.api.get_cursor()

    async def test() -> None:
        # Another one, far ahead, reads already when the one that is behind comes.
        ahead = asyncio.create_task(fired(SettledTrigger(dataset.id, [key(9)], None, book.api.get_cursor())))
        await asyncio.sleep(2)
        begun = time.monotonic()
        assert await fired(SettledTrigger(dataset.id, [key(1)], None, after)) - begun < 3
        await still(ahead, 0.5)
        ahead.cancel()

    run(test())


def test_a_release_that_is_withdrawn_is_looked_at(book: Book, dataset: Dataset) -> None:
    there = record(book.api, dataset, 0)

    async def test() -> None:
        trigger = SettledTrigger(dataset.id, [key(1)], None, book.api.get_cursor())
        waiting = asyncio.create_task(fired(trigger))
        await in_thread(
            book.api.put_dataset_release, DatasetRelease(id=there.id, state="withdrawn", reason="bad")
        )
        await waiting

    run(test())


def test_the_newest_must_reach_the_time(book: Book, dataset: Dataset) -> None:
    async def test() -> None:
        reach = (JANUARY + 5 * DAY).isoformat()
        trigger = SettledTrigger(dataset.id, [key(1)], reach, book.api.get_cursor())
        waiting = asyncio.create_task(fired(trigger))
        await in_thread(record, book.api, dataset, 1)
        await still(waiting)
        await in_thread(record, book.api, dataset, 4)
        await waiting

    run(test())


def test_a_probe_changes_what_is_missing(book: Book, dataset: Dataset) -> None:
    async def test() -> None:
        trigger = SettledTrigger(dataset.id, [key(1)], (JANUARY + DAY).isoformat(), book.api.get_cursor())
        waiting = asyncio.create_task(fired(trigger))
        offered = [Offer(JANUARY + day * DAY, JANUARY + (day + 1) * DAY) for day in (1, 2)]
        await in_thread(book.api.probe, dataset.id, offered)
        await waiting

    run(test())


def test_a_book_that_is_killed_and_comes_back_is_waited_for(book: Book, dataset: Dataset) -> None:
    async def test() -> None:
        waiting = asyncio.create_task(
            fired(SettledTrigger(dataset.id, [key(1)], None, book.api.get_cursor()))
        )
        await asyncio.sleep(1)
        await in_thread(book.served.kill)
        await still(waiting)
        await in_thread(book.served.start)
        recorded = time.monotonic()
        await in_thread(record, book.api, dataset, 1)
        assert await waiting - recorded < 10

    run(test())


@pytest.mark.parametrize("how", ["hang", "[]", "401"])
def test_answers_that_are_none_are_waited_out(book: Book, dataset: Dataset, how: Any) -> None:
    async def test() -> None:
        waiting = asyncio.create_task(
            fired(SettledTrigger(dataset.id, [key(1)], None, book.api.get_cursor()))
        )
        await asyncio.sleep(1)
        book.front.be(how)
        await in_thread(record, book.api, dataset, 0)
        await still(waiting)
        book.front.be("pass")
        await in_thread(record, book.api, dataset, 1)
        await waiting

    run(test())


def test_without_a_cursor_it_fires_when_the_book_answers(book: Book) -> None:
    book.front.be("refuse")

    async def test() -> None:
        waiting = asyncio.create_task(fired(SettledTrigger(None, [], None, None)))
        await still(waiting)
        book.front.be("pass")
        await waiting

    run(test())


def test_a_cursor_that_leads_nowhere_asks_for_a_look_and_holds_up_nobody_else(
    book: Book, dataset: Dataset
) -> None:
    async def test() -> None:
        good = asyncio.create_task(fired(SettledTrigger(dataset.id, [key(1)], None, book.api.get_cursor())))
        await fired(SettledTrigger(dataset.id, [key(1)], None, "0.0"))
        assert not good.done()
        await in_thread(record, book.api, dataset, 1)
        await good

    run(test())


def test_a_book_that_goes_less_far_than_it_did_asks_for_a_look(book: Book, dataset: Dataset) -> None:
    place = book.api.get_cursor().partition(".")[0]

    async def test() -> None:
        other = asyncio.create_task(fired(SettledTrigger(dataset.id, [key(1)], None, book.api.get_cursor())))
        ahead = SettledTrigger(dataset.id, [key(1)], None, f"{int(place) + 99}.999999999")
        waiting = asyncio.create_task(fired(ahead))
        await asyncio.sleep(1)
        await in_thread(record, book.api, dataset, 0)
        await waiting
        assert not other.done()
        other.cancel()

    run(test())


def test_the_last_who_leaves_ends_the_reading_and_the_next_begins_it_anew(
    book: Book, dataset: Dataset
) -> None:
    async def test() -> None:
        for _ in range(2):
            async with following(None) as reader:
                assert isinstance(await reader.next(), Lost)
            before = book.front.requests
            await asyncio.sleep(2)
            assert book.front.requests == before

    run(test())


def test_two_hundred_ask_as_one_also_while_the_book_is_away(book: Book, dataset: Dataset) -> None:
    async def test() -> None:
        after = book.api.get_cursor()
        triggers = [SettledTrigger(dataset.id, [key(day)], None, after) for day in range(200)]
        begun, before = time.monotonic(), book.front.requests
        waiting = [asyncio.create_task(fired(one)) for one in triggers]
        await asyncio.sleep(1)
        book.front.be("500")
        await asyncio.sleep(3)
        book.front.be("pass")
        recorded = time.monotonic()
        for day in range(200):
            await in_thread(record, book.api, dataset, day)
        took = [one - recorded for one in await asyncio.gather(*waiting)]
        assert max(took) < 10 + time.monotonic() - recorded
        assert (book.front.requests - before) / (time.monotonic() - begun) < 5

    run(test())


def test_a_probe_is_looked_at_also_where_the_newest_release_reaches_the_time(
    book: Book, dataset: Dataset
) -> None:
    async def test() -> None:
        book.api.probe(dataset.id, [Offer(JANUARY, JANUARY + DAY), Offer(JANUARY + DAY, JANUARY + 2 * DAY)])
        await in_thread(record, book.api, dataset, 1)
        waiting = asyncio.create_task(
            fired(SettledTrigger(dataset.id, [key(0)], None, book.api.get_cursor()))
        )
        await asyncio.sleep(0.5)
        # The other day is not offered any more, and so no longer missing.
        left = [Offer(JANUARY + DAY, JANUARY + 2 * DAY)]
        await asyncio.to_thread(book.api.probe, dataset.id, left, confirm=True)
        await waiting

    run(test())


def test_who_begins_now_does_not_begin_where_another_is_who_is_far_behind(
    book: Book, dataset: Dataset
) -> None:
    async def test() -> None:
        behind = await in_thread(book.api.get_cursor)
        releases = [
            DatasetRelease(dataset=dataset, start_date=JANUARY + n * DAY, end_date=JANUARY + (n + 1) * DAY)
            for n in range(3000)
        ]
        await in_thread(book.api.post_dataset_releases, releases)
        now = await in_thread(book.api.get_cursor)
        async with following(behind) as old, following(None) as new:
            assert isinstance(await new.next(), Lost)
            assert new.reached == now
            assert not isinstance(await old.next(), Lost)

    run(test())


def test_who_comes_just_when_the_last_one_leaves_is_told_too() -> None:
    async def test() -> None:
        polls = Polls(lambda dag_id: 0)
        first = asyncio.create_task(polls.until_idle(["a"]))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(polls.until_idle(["a"]))
        await second

    run(test())


def test_each_dag_is_counted_once_for_all_who_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observatory.airflow.triggers.POLL", 0.05)
    unfinished, asked = {"a": 1, "b": 0}, []

    def count(dag_id: str) -> int:
        asked.append(dag_id)
        return unfinished[dag_id]

    async def test() -> None:
        polls = Polls(count)
        waiting = [asyncio.create_task(polls.until_idle(["a", "b"])) for _ in range(50)]
        only_b = asyncio.create_task(polls.until_idle(["b"]))
        await only_b
        assert len(asked) <= 4
        assert not any(one.done() for one in waiting)
        unfinished["a"] = 0
        await asyncio.gather(*waiting)

    run(test())


def test_periods_are_kept_as_they_are() -> None:
    period = Period(JANUARY, JANUARY + DAY)
    kind, told = SettledTrigger(3, [key(0)], None, "1.2").serialize()
    assert kind == "observatory.airflow.triggers.SettledTrigger"
    assert told == {
        "dataset_id": 3,
        "awaited": ["2026-01-01/2026-01-02"],
        "reach": None,
        "after": "1.2",
        "pause": 0,
    }
    assert period.start_date == JANUARY
