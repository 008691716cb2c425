"""Sources that fail or contradict themselves, clocks that change, and all lengths of periods in a dataset."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from observatory import Cadence, Dataset, DatasetRelease
from observatory.errors import Shrunk
from observatory.intervals import Period
from observatory.leases import Claiming
from observatory.ledger import datasets, expecting, granting, missing_rows, offers, releases, states, status
from observatory.wants import Offer, Probe

from .test_wanted import DAY, DAY_0, Book, Run, book, day, release, seen

__all__ = ["book"]  # the fixture
HOUR = timedelta(hours=1)


async def stands(book: Book) -> str:
    [found] = await book.read(status.listed, {}, 10)
    return str(found.status)


async def expect(book: Book, dataset: int, **cadence: Any) -> None:
    await book.write(datasets.change, Dataset(id=dataset, cadence=Cadence(**cadence)))


async def periods(book: Book) -> list[Period]:
    page = await book.missing(missing_rows.Asked(), runs=False)
    return [Period(one.start_date, one.end_date) for one in page.periods]


FAILURES = {
    "a time-out": Probe("failed", error="timed out after 30 s"),
    "a login page with status 200": Probe("failed", error="the answer is HTML, not a list"),
    "an empty list": Probe("complete"),
    "half a list": Probe("complete", [day(at, version_label="v1") for at in range(5)]),
    "half a list that is known to be": Probe("partial", [day(at, version_label="v1") for at in range(5)]),
    "nothing of what there is": Probe("partial"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_source_that_fails_loses_no_offer_and_settles_nothing(book: Run, failure: str) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(*range(10), version_label="v1"))
        await book.write(releases.record, release(dataset, 2, version_label="v1"))
        before, offered = await periods(book), await book.read(offers.listed, dataset, 100)
        probe = FAILURES[failure]
        if probe.outcome == "complete":
            with pytest.raises(Shrunk):
                await book.write(offers.probe, dataset, probe)
        else:
            done = await book.write(offers.probe, dataset, probe)
            assert (done.offers, done.new, done.gone, done.restated) == (10, 0, 0, 0)
        assert (await periods(book), await book.read(offers.listed, dataset, 100)) == (before, offered)
        done = await book.write(offers.probe, dataset, seen(*range(11), version_label="v1"))
        assert (done.new, done.changed, done.returned, done.gone) == (1, 0, 0, 0)

    book(work)


def test_who_could_not_look_at_a_source_knows_nothing_of_it(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        # A source that never had anything is not believed: it may as well be a page that was read wrongly.
        for probe in (Probe("failed", error="time-out"), Probe("partial"), Probe("complete")):
            await book.write(offers.probe, dataset, probe)
            await book.write(expecting.look, dataset)
            assert await stands(book) == "unknown"
        await book.write(offers.probe, dataset, seen(0))
        await book.write(offers.probe, dataset, Probe("complete", confirm=True))
        assert await stands(book) == "complete"

    book(work)


def test_a_failure_that_is_told_too_late_does_not_turn_back_the_clock_of_probes(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, 1, 2))
        await book.write(offers.probe, dataset, Probe("failed", error="x", observed=book.now - 3 * DAY))
        late = Probe("complete", [day(0)], observed=book.now - DAY, confirm=True)
        assert (await book.write(offers.probe, dataset, late)).gone == 0
        assert await book.told() == ["0-3 offered"]

    book(work)


def test_versions_that_arrive_in_another_order_restate_nothing(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, 1, version_label="v2"))
        await book.write(releases.record, release(dataset, 0, version_label="v2"))
        old = Probe("complete", [day(0, version_label="v1")], observed=book.now - DAY, confirm=True)
        done = await book.write(offers.probe, dataset, old)
        assert (done.changed, done.restated, done.gone) == (0, 0, 0)
        assert await book.told() == ["1-2 offered"]

    book(work)


def test_a_period_that_is_listed_in_several_versions_is_offered_in_its_last_however_listed(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        labels = ("2026-9", "2026-10", "2026-10")
        await book.write(offers.probe, dataset, seen(0, version_label="2026-10"))
        await book.write(releases.record, release(dataset, 0, version_label="2026-10"))
        for order in permutations(labels):
            told = Probe("complete", [day(0, version_label=label) for label in order])
            done = await book.write(offers.probe, dataset, told)
            assert (done.offers, done.changed, done.restated) == (1, 0, 0)
        # Of a version with two files it is always the same one, so none is restated by their order.
        files = [day(0, version_label="2026-11", digest=digest) for digest in ("a", "b")]
        await book.write(offers.probe, dataset, Probe("complete", files))
        [offered] = await book.read(offers.listed, dataset, 10)
        loaded = release(dataset, 0, version_label="2026-11", digest=offered.digest)
        await book.write(releases.record, loaded, releases.How(revising=True))
        done = await book.write(offers.probe, dataset, Probe("complete", files[::-1]))
        assert (done.offers, done.changed, done.restated) == (1, 0, 0)
        # What the source says of when it published them counts for more than their names.
        newer = [day(0, version_label="final", published=DAY_0 + DAY)]
        older = [day(0, version_label="preliminary", published=DAY_0)]
        for listed in (newer + older, older + newer):
            await book.write(offers.probe, dataset, Probe("complete", listed))
            [offered] = await book.read(offers.listed, dataset, 10)
            assert offered.version_label == "final"

    book(work)


def test_a_source_that_begins_or_ceases_to_tell_versions_has_restated_nothing(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, 1))
        await book.write(releases.record, release(dataset, 0))
        for facts in ({"version_label": "v1"}, {"version_label": "v1", "digest": "a"}, {}):
            assert (await book.write(offers.probe, dataset, seen(0, 1, **facts))).restated == 0
            assert await book.told() == ["1-2 offered"]

    book(work)


def test_what_is_restated_under_the_same_name_is_seen_and_what_is_put_back_is_there(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0, version_label="v1", digest="a"))
        await book.write(releases.record, release(dataset, 0, version_label="v1", digest="a"))
        for digest, said in (("b", ["0-1 restated"]), ("a", [])):
            await book.write(offers.probe, dataset, seen(0, version_label="v1", digest=digest))
            assert await book.told() == said

    book(work)


def test_what_is_restated_is_not_late_and_forgotten_with_its_release(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        book.now = DAY_0 + 36 * HOUR
        await expect(book, dataset, cron="0 0 * * *", expected_from=DAY_0)
        await book.write(offers.probe, dataset, seen(0, version_label="v1"))
        made = await book.write(releases.record, release(dataset, 0, version_label="v1"))
        await book.write(offers.probe, dataset, seen(0, version_label="v2"))
        assert (await stands(book), await book.told()) == ("incomplete", ["0-1 restated"])
        await book.write(states.remove, made.release.id)
        assert (await stands(book), await book.told()) == ("late", ["0-1 late"])

    book(work)


def test_a_period_whose_claim_ran_out_is_found_among_those_that_failed(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        await book.write(offers.probe, dataset, seen(0))
        await book.write(granting.claim, Claiming(Dataset(id=dataset), seconds=60))
        book.now += HOUR
        assert await book.told() == ["0-1 failed"]
        asked = Claiming(Dataset(id=dataset), reasons=["offered"])
        assert (await book.write(granting.claim, asked)).releases == []
        asked.reasons = ["failed"]
        assert len((await book.write(granting.claim, asked)).releases) == 1

    book(work)


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York"])
@pytest.mark.parametrize("month", [3, 10, 11])
def test_days_and_hours_are_missing_once_where_the_clocks_change(book: Run, zone: str, month: int) -> None:
    local = ZoneInfo(zone)
    first, last = datetime(2026, month, 1, tzinfo=local), datetime(2026, month + 1, 1, tzinfo=local)
    facts = {"timezone": zone, "expected_from": first.astimezone(UTC), "expected_until": last.astimezone(UTC)}

    async def work(book: Book, dataset: int) -> None:
        book.now = datetime(2027, 1, 1, tzinfo=UTC)
        await expect(book, dataset, cron="0 * * * *", **facts)
        hours = await periods(book)
        assert {p.end_date - p.start_date for p in hours} == {HOUR}
        assert len(hours) == (last.astimezone(UTC) - first.astimezone(UTC)) // HOUR
        await expect(book, dataset, cron="0 0 * * *", **facts)
        found = await periods(book)
        assert [p.start_date.astimezone(local).hour for p in found] == [0] * len(found)
        assert sum((p.end_date - p.start_date for p in found), timedelta()) == len(hours) * HOUR
        # The hours of a day, loaded one by one, are the day, of however many hours it is.
        for one in found:
            parts = [p for p in hours if one.start_date <= p.start_date < one.end_date]
            made = [DatasetRelease(dataset=Dataset(id=dataset), start_date=p.start_date) for p in parts]
            for told, part in zip(made, parts, strict=True):
                told.end_date = part.end_date
            await book.write(releases.record_all, made[:-1])
            assert one in await periods(book)
            await book.write(releases.record_all, made[-1:])
            assert one not in await periods(book)

    book(work)


def test_leap_days_belong_to_their_month_and_their_year(book: Run) -> None:
    async def work(book: Book, dataset: int) -> None:
        book.now = datetime(2029, 1, 1, tzinfo=UTC)
        leap = datetime(2028, 2, 29, tzinfo=UTC)
        until = datetime(2028, 3, 1, tzinfo=UTC)
        begin = datetime(2028, 2, 1, tzinfo=UTC)
        await expect(book, dataset, cron="0 0 1 * *", each="month", expected_from=begin, expected_until=until)
        assert await periods(book) == [Period(begin, until)]
        february = DatasetRelease(dataset=Dataset(id=dataset), start_date=begin, end_date=leap)
        await book.write(releases.record, february)
        assert await periods(book) == [Period(begin, until)]
        last = DatasetRelease(dataset=Dataset(id=dataset), start_date=leap, end_date=until)
        await book.write(releases.record, last)
        assert await periods(book) == []

    book(work)


def test_hours_months_and_snapshots_in_one_dataset_are_told_apart(book: Run) -> None:
    month, hour, moment = Period(DAY_0, DAY_0 + 31 * DAY), Period(DAY_0, DAY_0 + HOUR), Period(DAY_0, DAY_0)

    async def work(book: Book, dataset: int) -> None:
        all_ = [moment, hour, month]
        await book.write(offers.probe, dataset, Probe("complete", [Offer(*_ends(p)) for p in all_]))
        assert await periods(book) == all_
        for loaded in permutations(all_):
            made = []
            for at, period in enumerate(loaded):
                told = DatasetRelease(dataset=Dataset(id=dataset))
                told.start_date, told.end_date = _ends(period)
                made.append(await book.write(releases.record, told))
                assert await periods(book) == [p for p in all_ if p not in loaded[: at + 1]]
            for one in made:
                await book.write(states.remove, one.release.id)
        await expect(book, dataset, cron="0 0 1 * *", each="snapshot", expected_from=DAY_0)
        later = [Period(at, at) for at in (datetime(2026, n, 1, tzinfo=UTC) for n in (2, 3, 4))]
        assert await periods(book) == [*all_, *later]

    book(work)


def _ends(period: Period) -> tuple[datetime, datetime]:
    return period.start_date, period.end_date
