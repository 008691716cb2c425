"""What should be there and is not: probes, cadences, withdrawals, and what follows from what is recorded."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from observatory import Cadence, Dataset, DatasetRelease
from observatory.access import operator
from observatory.errors import Conflict, Shrunk
from observatory.intervals import Period
from observatory.ledger import (
    Database,
    datasets,
    expecting,
    fences,
    missing,
    missing_rows,
    offers,
    releases,
    states,
    status,
)
from observatory.ledger.database import Transaction
from observatory.wants import MissingPage, Offer, Probe

from .conftest import fill, opened

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)
ALL = missing_rows.Asked()


class Book:
    """A book whose clock is set by hand."""

    def __init__(self, database: Database, now: datetime) -> None:
        self.database, self.now = database, now

    async def write(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        return await self.database.write(operator(), self._at_its_time, work, args)

    async def read(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        return await self.database.read(operator(), self._at_its_time, work, args)

    async def missing(
        self, asked: missing_rows.Asked = ALL, runs: bool = True, limit: int = 1000
    ) -> MissingPage:
        found: MissingPage = await self.read(missing.missing, asked, runs, limit)
        return found

    async def told(self) -> list[str]:
        """Returns the runs of what is missing as days since the first: `0-3 offered`."""
        page = await self.missing()
        assert sum(page.counts.values()) == sum(run.periods for run in page.runs)
        return [
            f"{(run.start_date - DAY_0).days}-{(run.end_date - DAY_0).days} {run.reason}" for run in page.runs
        ]

    async def _at_its_time(self, tx: Transaction, work: Any, args: Any) -> Any:
        tx.now = self.now
        return await work(tx, *args)


@pytest.fixture
def book(book_url: str) -> Callable[[Callable[[Book, int], Coroutine[Any, Any, None]]], None]:
    [dataset, *_] = fill(book_url, 1, 0)

    def run(work: Callable[[Book, int], Coroutine[Any, Any, None]]) -> None:
        async def running() -> None:
            database = opened(book_url)
            async with database.running():
                await work(Book(database, DAY_0 + 100 * DAY), dataset)

        asyncio.run(running())

    return run


def day(at: int, **facts: Any) -> Offer:
    return Offer(DAY_0 + at * DAY, DAY_0 + (at + 1) * DAY, **facts)


def seen(*days: int, **facts: Any) -> Probe:
    return Probe("complete", [day(at, **facts) for at in days])


def release(dataset: int, at: int, days: int = 1, **facts: Any) -> DatasetRelease:
    start = DAY_0 + at * DAY
    return DatasetRelease(dataset=Dataset(id=dataset), start_date=start, end_date=start + days * DAY, **facts)


Run = Callable[[Callable[[Book, int], Coroutine[Any, Any, None]]], None]


def test_what_is_offered_is_missing_until_it_is_recorded(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        done = await book.write(offers.probe, dataset, seen(0, 1, 2, 3))
        assert (done.new, done.offers) == (4, 4)
        assert await book.told() == ["0-4 offered"]
        await book.write(releases.record, release(dataset, 1))
        assert await book.told() == ["0-1 offered", "2-4 offered"]
        # A month loaded at once is another release than the days that the source offers.
        await book.write(releases.record, release(dataset, 0, 31))
        assert await book.told() == ["0-1 offered", "2-4 offered"]
        periods = (await book.missing(runs=False)).periods
        assert [p.start_date for p in periods] == [DAY_0, DAY_0 + 2 * DAY, DAY_0 + 3 * DAY]

    book(work)


def test_an_outage_at_the_source_does_not_look_like_an_empty_source(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(*range(10)))
        for probe in (Probe("failed", error="time-out"), Probe("partial", [day(3)]), Probe("partial")):
            await book.write(offers.probe, dataset, probe)
            assert await book.told() == ["0-10 offered"]
        for few in (Probe("complete"), seen(*range(7))):
            with pytest.raises(Shrunk, match="of 10 offers"):
                await book.write(offers.probe, dataset, few)
        assert await book.told() == ["0-10 offered"]
        done = await book.write(offers.probe, dataset, seen(*range(8)))
        assert (done.gone, done.offers) == (2, 8)
        sure = Probe("complete", [day(0)], confirm=True)
        assert (await book.write(offers.probe, dataset, sure)).gone == 7
        assert await book.told() == ["0-1 offered"]
        back = await book.write(offers.probe, dataset, seen(0, 1))
        assert (back.returned, back.new) == (1, 0)

    book(work)


def test_a_probe_that_is_older_than_another_takes_nothing_away(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, 1, 2))
        late = Probe("complete", [day(0)], observed=book.now - DAY, confirm=True)
        assert (await book.write(offers.probe, dataset, late)).gone == 0
        assert await book.told() == ["0-3 offered"]

    book(work)


def test_what_the_source_restated_is_missing_again_and_loaded_as_a_revision(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, 1, digest="a"))
        for at in (0, 1):
            await book.write(releases.record, release(dataset, at, digest="a"))
        assert await book.told() == []
        done = await book.write(
            offers.probe, dataset, Probe("complete", [day(0, digest="b"), day(1, digest="a")])
        )
        assert (done.changed, done.restated) == (1, 1)
        assert await book.told() == ["0-1 restated"]
        with pytest.raises(Conflict, match="other facts"):
            await book.write(releases.record, release(dataset, 0, digest="b"))
        revised = await book.write(
            releases.record, release(dataset, 0, digest="b"), releases.How(revising=True)
        )
        assert (revised.release.revision, revised.is_new) == (2, True)
        again = await book.write(
            releases.record, release(dataset, 0, digest="b"), releases.How(revising=True)
        )
        assert (again.release.id, again.is_new) == (revised.release.id, False)
        assert await book.told() == []

    book(work)


def test_what_was_withdrawn_is_missing_with_its_reason_also_where_nobody_probes(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        recorded = await book.write(releases.record, release(dataset, 5))
        await book.write(
            states.change, DatasetRelease(id=recorded.release.id, state="withdrawn", reason="bad file")
        )
        [run] = (await book.missing()).runs
        assert (run.reason, run.note, run.periods) == ("withdrawn", "bad file", 1)
        await book.write(releases.record, release(dataset, 5))
        assert await book.told() == []

    book(work)


def test_what_is_expected_becomes_due_and_late_by_itself_and_recovers(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        book.now = DAY_0 + timedelta(hours=36)
        daily = Cadence(cron="0 0 * * *", expected_from=DAY_0, grace=3600)
        await book.write(datasets.change, Dataset(id=dataset, cadence=daily))
        assert await book.told() == ["0-1 late"]

        async def stands() -> tuple[str, Any]:
            [found] = await book.read(status.listed, {}, 10)
            return found.status, found.late_since

        assert await stands() == ("late", DAY_0 + DAY + timedelta(hours=1))
        await book.write(releases.record, release(dataset, 0))
        assert await stands() == ("complete", None)
        for hours, expected in ((47, "complete"), (48, "due"), (50, "late")):
            book.now = DAY_0 + timedelta(hours=hours)
            assert (dataset in await book.read(status.due, 10)) == (hours > 47)
            await book.write(expecting.look, dataset)
            assert (await stands())[0] == expected
        # A year loaded at once leaves none of its days missing.
        book.now = DAY_0 + 40 * DAY
        await book.write(expecting.look, dataset)
        assert await book.told() == ["1-39 late", "39-40 expected"]
        await book.write(releases.record, release(dataset, 0, 365))
        assert await book.told() == []
        book.now = DAY_0 + 366 * DAY + timedelta(hours=2)
        await book.write(expecting.look, dataset)
        assert await book.told() == ["365-366 late"]

    book(work)


def test_no_cadence_any_more_means_nothing_is_expected_any_more(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        daily = Cadence(cron="0 0 * * *", expected_from=DAY_0)
        await book.write(datasets.change, Dataset(id=dataset, cadence=daily))
        await book.write(offers.probe, dataset, seen(3))
        assert await book.told() == ["0-100 late"]
        await book.write(datasets.change, Dataset(id=dataset, cadence=None))
        assert await book.told() == ["3-4 offered"]

    book(work)


def test_snapshots_that_are_missing_one_after_another_are_a_run(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        instants = [Offer(DAY_0 + at * DAY, DAY_0 + at * DAY) for at in (0, 3, 10, 30, 31)]
        await book.write(offers.probe, dataset, Probe("complete", instants))
        assert [run.periods for run in (await book.missing()).runs] == [5]
        start = instants[2].start_date
        snapshot = DatasetRelease(dataset=Dataset(id=dataset), start_date=start, end_date=start)
        await book.write(releases.record, snapshot)
        assert [run.periods for run in (await book.missing()).runs] == [2, 2]
        # A span of no length is that moment.
        for at, count in ((instants[3].start_date, 1), (start, 0), (start + DAY, 0)):
            asked = missing_rows.Asked(dataset_id=dataset, span=Period(at, at))
            found = [await book.read(missing.missing, asked, runs, 9) for runs in (True, False)]
            assert [len(page.runs or page.periods) for page in found] == [count, count]
            assert [sum(page.counts.values()) for page in found] == [count, count]

    book(work)


def test_pages_hold_all_runs_and_all_periods_once(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        days = [at for at in range(60) if at % 7 not in (2, 3)]
        await book.write(offers.probe, dataset, seen(*days))
        for runs in (True, False):
            whole = await book.missing(runs=runs)
            parts: list[Any] = []
            after = None
            while True:
                asked = missing_rows.Asked(dataset_id=dataset)
                page = await book.read(missing.missing, asked, runs, 4, after)
                assert page.counts == ({} if after else whole.counts)
                parts += page.runs or page.periods
                if page.after is None:
                    break
                after = missing.place(page.after)
            assert parts == (whole.runs or whole.periods)

    book(work)


def test_nobody_records_what_somebody_else_holds(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, 1))
        refused = (await book.read(fences.fenced, dataset, [Period(DAY_0, DAY_0 + DAY)], None)).refused
        assert refused == {}

    book(work)
