"""Recording in one statement does what recording in several does, or nothing at all."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory import Dataset, DatasetRelease, ObservatoryApi, Period
from observatory.access import Caller, operator
from observatory.intervals import merge
from observatory.ledger import Database, at_once, datasets, lists, open_database, releases
from observatory.ledger.coverage import covered

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
BY = operator("record")


# Elsewhere nothing is done at once.
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def release(dataset: Dataset, first: int, days: int = 1) -> DatasetRelease:
    start = DAY_0 + timedelta(first)
    return DatasetRelease(
        dataset=dataset, start_date=start, end_date=start + timedelta(days), row_count=first
    )


def run(url: str, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def running() -> Any:
        database = open_database(url)
        async with database.running():
            return await work(database)

    return asyncio.run(running())


def rows(url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(text.encode()).fetchall()


def test_a_new_release_is_recorded_with_its_entry_and_its_run(
    database_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_release(release(dataset, 0))

    made = run(database_url, lambda book: book.at_once(BY, at_once.record, release(dataset, 1)))
    usual = api.post_dataset_release(release(dataset, 7))

    assert made.is_new
    assert api.get_dataset_release(made.release.id) == made.release
    assert api.get_coverage(dataset.id).runs[0] == Period(DAY_0, DAY_0 + timedelta(2))
    entries = {entry.record_id: entry for entry in api.get_journal(kind="DatasetRelease")}
    mine, theirs = entries[made.release.id], entries[usual.id]
    assert (mine.actor, mine.action, mine.dataset_id) == ("operator", "create", dataset.id)
    assert mine.organisation_id == theirs.organisation_id == dataset.workflow.organisation.id
    assert mine.after is not None
    assert theirs.after is not None
    assert mine.after.keys() == theirs.after.keys()
    assert mine.after["id"] == made.release.id
    assert mine.after["dataset"] == theirs.after["dataset"] == {"id": dataset.id, "name": dataset.name}


def test_what_is_not_new_or_not_the_callers_is_left_alone(
    database_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    here = {dataset.workflow.organisation.id}
    stranger = Caller("stranger", 9, {"read": None, "record": frozenset({10**6})}, "record")
    reader = Caller("reader", 9, {"read": frozenset(here)}, "record")
    first = run(database_url, lambda book: book.at_once(BY, at_once.record, release(dataset, 0)))
    there = api.post_dataset_release(release(dataset, 0))
    api.put_dataset_release(DatasetRelease(id=there.id, state="withdrawn", reason="bad"))
    before = rows(database_url, "SELECT count(*) FROM journal")

    async def all_of_them(book: Database) -> list[object]:
        nowhere = release(Dataset(id=10**6), 1)
        return [
            await book.at_once(BY, at_once.record, release(dataset, 0)),
            await book.at_once(BY, at_once.record, nowhere),
            await book.at_once(stranger, at_once.record, release(dataset, 1)),
            await book.at_once(reader, at_once.record, release(dataset, 1)),
        ]

    assert first is None  # the first of a dataset, which nobody has held yet
    assert run(database_url, all_of_them) == [None] * 4
    assert rows(database_url, "SELECT count(*) FROM journal") == before
    assert len(api.get_dataset_releases(dataset_id=dataset.id, history=True)) == 1


def test_what_began_before_another_was_done_does_nothing(
    database_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_release(release(dataset, 0))

    async def race(book: Database) -> object:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def slow(tx: Any) -> None:
            await releases.record(tx, release(dataset, 1))
            reached.set()
            await go_on.wait()

        first = asyncio.create_task(book.write(BY, slow))
        await reached.wait()
        # It begins to look while the other is not committed, and waits for it.
        second = asyncio.create_task(book.at_once(BY, at_once.record, release(dataset, 2)))
        await asyncio.sleep(0.3)
        go_on.set()
        await first
        return await second

    assert run(database_url, race) is None
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(2))]


def test_what_is_committed_after_a_later_change_of_its_dataset_is_a_change_of_its_releases(
    database_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_release(release(dataset, 0))
    maintainer = Caller("maintainer", 9, {"read": None, "maintain": None}, "maintain")

    async def race(book: Database) -> tuple[lists.Changed, lists.Changed]:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def slow(tx: Any) -> None:
            assert await at_once.record(tx, release(dataset, 1))
            reached.set()
            await go_on.wait()

        recording = asyncio.create_task(book.write(BY, slow))
        await reached.wait()
        # Its entry has a later number, and is there earlier.
        await book.write(maintainer, datasets.change, Dataset(id=dataset.id, service="another"))
        was = await book.read(BY, lists.last_changes, [dataset.id])
        go_on.set()
        await recording
        now = await book.read(BY, lists.last_changes, [dataset.id])
        return was[dataset.id], now[dataset.id]

    was, now = run(database_url, race)
    assert was < now


def test_many_at_a_time_leave_the_runs_that_follow_from_the_releases(
    database_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_release(release(dataset, 100))

    async def each(book: Database) -> int:
        async def one(day: int) -> bool:
            if await book.at_once(BY, at_once.record, release(dataset, day)):
                return True
            await book.write(BY, releases.record, release(dataset, day))
            return False

        return sum(await asyncio.gather(*[one(day) for day in range(60)]))

    done = run(database_url, each)

    assert 0 < done < 60
    day_100 = DAY_0 + timedelta(100)
    assert api.get_coverage(dataset.id).runs == [
        Period(DAY_0, DAY_0 + timedelta(60)),
        Period(day_100, day_100 + timedelta(1)),
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=15, unique=True))
def test_runs_are_the_merge_of_what_is_recorded(
    database_url: str, api: ObservatoryApi, dataset: Dataset, told: list[tuple[int, int]]
) -> None:
    name = f"d{datetime.now(UTC).timestamp()}"
    kept = Dataset(name=name, service="s", address="a", workflow=dataset.workflow)
    kept.dataset_type = dataset.dataset_type
    other = api.post_dataset(kept)
    api.post_dataset_release(release(other, 200))

    async def record(book: Database) -> list[Period]:
        for first, days in told:
            assert await book.at_once(BY, at_once.record, release(other, first, days))
        return (await book.read(BY, covered, other.id)).runs

    periods = [release(other, *one).period for one in [*told, (200, 1)]]
    assert run(database_url, record) == [one for one in merge(periods) if not one.is_instant]
