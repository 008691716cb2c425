"""A book is checked against itself: what is kept beside the releases is what follows from them."""

import asyncio
import sqlite3
import tracemalloc
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory import DatasetRelease, Period, Unavailable
from observatory.access import operator
from observatory.intervals import merge
from observatory.ledger import offers, recount, releases, states
from observatory.ledger.soundness import check
from observatory.ledger.upgrade import downgrade
from observatory.wants import Offer, Probe

from .conftest import DAY_0, NewBook, day, fill, opened, record


def run(url: str, *statements: str) -> None:
    """Does to the database what our code never does."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def repair(url: str, *dataset_ids: int) -> None:
    async def work() -> None:
        book = opened(url)
        async with book.running():
            for dataset_id in dataset_ids:
                await book.write(operator(), recount.repair, dataset_id)

    asyncio.run(work())


def change(url: str, *told: DatasetRelease) -> None:
    async def work() -> None:
        book = opened(url)
        async with book.running():
            for release in told:
                await book.write(operator("record"), states.change, release)

    asyncio.run(work())


def test_a_book_that_was_worked_with_is_sound(book_url: str) -> None:
    first, second = fill(book_url)
    change(book_url, *(DatasetRelease(id=i, state="withdrawn", reason="bad") for i in (3, 8, 9)))
    record(book_url, [day(first, 2), day(second, -400, 365), day(second, 3, 0)])

    report = check(book_url)

    assert report.is_sound, dict(report.told)
    assert report.rows["dataset_releases"] == 43


@pytest.mark.parametrize(
    ("damage", "sort"),
    [
        ("DELETE FROM coverage WHERE start_date = (SELECT max(start_date) FROM coverage)", "coverage"),
        ("UPDATE coverage SET end_date = '2030-01-01T00:00:00.000000+00:00'", "coverage"),
        ("UPDATE holdings SET longest = 5", "longest"),
        ("UPDATE dataset_releases SET revision = 2 WHERE id = 4", "releases"),
        ("UPDATE dataset_releases SET state = 'lost' WHERE id = 4", "releases"),
        ("UPDATE dataset_releases SET version = 0 WHERE id = 4", "releases"),
        ("UPDATE accounts SET grants = '[' ", "values"),
    ],
)
def test_what_does_not_follow_is_told(book_url: str, damage: str, sort: str) -> None:
    fill(book_url)
    moment = "'2026-01-01T00:00:00.000000+00:00'"
    account = "INSERT INTO accounts (created, modified, version, name, grants)"
    run(book_url, f"{account} VALUES ({moment}, {moment}, 1, 'a', '[]')")

    run(book_url, damage)

    assert sort in check(book_url).found


@pytest.mark.parametrize(
    ("damage", "sort", "told"),
    [
        ("UPDATE dataset_releases SET end_date = '2026-13-01T00:00:00.000000+00:00'", "values", "end_date"),
        (
            "UPDATE dataset_releases SET start_date = '1990-01-01T00:00:00+00:00' WHERE id = 1",
            "values",
            "sta",
        ),
        ("UPDATE organisations SET extras = '{\"a\": '", "values", "extras"),
        ("UPDATE datasets SET workflow_id = 77", "keys", "workflows"),
        (
            "UPDATE dataset_releases SET end_date = '1980-01-01T00:00:00.000000+00:00'",
            "releases",
            "ends before",
        ),
    ],
)
def test_values_that_sqlite_takes_though_they_are_none_are_told(
    new_book: NewBook, damage: str, sort: str, told: str
) -> None:
    url = new_book("sqlite")
    fill(url)

    run(url, "PRAGMA ignore_check_constraints=ON", damage)

    report = check(url)
    assert sort in report.found
    assert told in "".join(report.told[sort])


def test_a_damaged_page_is_told(new_book: NewBook) -> None:
    url = new_book("sqlite")
    fill(url, days=2000)
    run(url, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE")
    with open(url.removeprefix("sqlite:///"), "r+b") as file:
        file.seek(-3 * 4096, 2)
        file.write(b"\xff" * 3 * 4096)

    # Of the faults SQLite tells, until it comes to a page that it cannot read at all.
    with suppress(Unavailable):
        assert "pages" in check(url).found


def test_a_repair_counts_everything_anew(book_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that even these few releases are several parts.
    monkeypatch.setattr(recount, "PART", 7)
    first, second = fill(book_url)
    record(book_url, [day(first, 100, 30)])
    before = rows(book_url)
    run(book_url, f"DELETE FROM coverage WHERE dataset_id = {first}", "UPDATE holdings SET longest = 0")
    assert check(book_url).differ == {first, second}

    repair(book_url, first, second)

    assert check(book_url).is_sound
    assert rows(book_url) == before


def rows(url: str) -> list[tuple[object, ...]]:
    asked = "SELECT * FROM coverage ORDER BY dataset_id, start_date"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(asked).fetchall()
    with psycopg.connect(url) as connection:
        return connection.execute(asked.encode()).fetchall()


def test_a_book_of_another_version_is_not_judged(book_url: str) -> None:
    downgrade(book_url, "0001")
    with pytest.raises(Unavailable, match="at version 0001, this code needs"):
        check(book_url)
    downgrade(book_url, "base")
    with pytest.raises(Unavailable, match="there is no book"):
        check(book_url)


def test_a_missing_file_is_not_made(new_book: NewBook) -> None:
    url = new_book("sqlite") + ".missing"
    with pytest.raises(Unavailable, match="there is no book at"):
        check(url)
    with pytest.raises(Unavailable, match="there is no book at"):
        check(url)


SPAN = st.tuples(st.integers(0, 60), st.integers(0, 12))


@given(st.lists(SPAN), st.integers(1, 8))
def test_runs_in_parts_are_those_of_all_periods_at_once(spans: list[tuple[int, int]], part: int) -> None:
    periods = sorted(Period(DAY_0 + timedelta(at), DAY_0 + timedelta(at + long)) for at, long in spans)
    whole = merge(period for period in periods if not period.is_instant)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recount, "PART", part)
        assert list(recount.runs(iter(periods))) == whole


def test_counting_holds_few_periods_at_a_time() -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC)
    hours = (start + timedelta(hours=2 * i) for i in range(200_000))
    tracemalloc.start()
    try:
        found = recount.runs(Period(a, a + timedelta(hours=1)) for a, _ in pairwise(hours))
        assert sum(1 for _ in found) == 199_999
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("damage", ["since = first_seen", "edge = NULL", "edge = 1 WHERE since IS NOT NULL"])
def test_what_a_server_of_before_recorded_is_missing_no_longer_once_it_is_counted_anew(
    book_url: str, damage: str
) -> None:
    [dataset] = fill(book_url, 1, 0)
    days = [day(dataset, number) for number in range(3)]
    seen = [Offer(one.start_date, one.end_date) for one in days]

    async def work(*calls: tuple[Any, ...]) -> None:
        book = opened(book_url)
        async with book.running():
            for call, *told in calls:
                await book.write(operator("record"), call, *told)

    asyncio.run(work((offers.probe, dataset, Probe("complete", seen)), (releases.record, days[2])))
    assert check(book_url).is_sound
    run(book_url, f"UPDATE wanted SET {damage}")

    report = check(book_url)
    assert (report.differ, set(report.found)) == ({dataset}, {"missing"})
    asyncio.run(work((recount.repair, dataset)))
    assert check(book_url).is_sound
