"""What the book said at a time: the state after each change is what was seen then."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from observatory import Dataset, DatasetRelease, Invalid, NotFound, Organisation, Period, Workflow
from observatory.access import Caller, operator, scopes
from observatory.ledger import Database, catalogue, datasets, feed, history, horizon, lists, releases, states
from observatory.ledger.database import Transaction
from observatory.ledger.horizon import Position
from observatory.ledger.lists import Wanted
from observatory.ledger.postgresql import PostgresTransaction
from observatory.records import Grant, unset

from .conftest import DAY_0, day, fill, furnish
from .test_journal import run
from .test_plans import watched

BY = operator("administer")
BOUNDED = (
    "USE TEMP B-TREE FOR ORDER BY",
    "SCAN journal USING INDEX ix_journal_place",
    "SCAN journal USING COVERING INDEX ix_journal_place",
)
FILTERS: list[dict[str, Any]] = [
    {},
    {"service": "s"},
    {"service": "other"},
    {"name": "d1"},
    {"tag": "books"},
    {"workflow_id": 1},
    {"organisation_id": 1},
    {"dataset_type_id": 1},
]
WANTED = [
    Wanted(1),
    Wanted(1, state="withdrawn"),
    Wanted(1, history=True),
    Wanted(1, span=Period(DAY_0 + timedelta(2), DAY_0 + timedelta(5))),
    Wanted(1, span=Period(DAY_0 + timedelta(3), DAY_0 + timedelta(3)), history=True),
]


async def told(tx: Transaction) -> datetime:
    return tx.now


async def seen(book: Database, as_of: datetime | None = None) -> list[bytes]:
    """Returns all that can be asked of datasets, with what is nested in them, and of releases."""
    found: list[Any] = []

    async def attempt(work: Any, *args: Any) -> None:
        try:
            found.append(await book.read(BY, work, *args))
        except NotFound:
            found.append("not found")

    for asked in FILTERS:
        if as_of is None:
            await attempt(datasets.listed, Dataset, 100, 0, asked)
        else:
            await attempt(history.listed, Dataset, as_of, 100, 0, asked)
    for id in (1, 2, 3):
        if as_of is None:
            await attempt(datasets.fetch, Dataset, id)
            await attempt(releases.fetch, id)
        else:
            await attempt(history.fetch, Dataset, id, as_of)
            await attempt(history.release, id, as_of)
    for wanted in WANTED:
        for limit in (100, 2):
            after = None
            while True:
                page = wanted._replace(limit=limit, after=after)
                args: list[Any] = [lists.listed, page] if as_of is None else [history.releases, page, as_of]
                await attempt(*args)
                if isinstance(found[-1], str) or len(found[-1]) < limit:
                    break
                after = lists.place_of(found[-1][-1])
    for one in found:
        for record in one if isinstance(one, list) else [one]:
            if isinstance(record, Dataset):
                record.address = unset  # looked at elsewhere
    return [msgspec.json.encode(one) for one in found]


async def of_day(tx: Transaction, number: int, **facts: Any) -> None:
    """Changes the release of a day, or removes it where nothing is said of it."""
    found = await lists.listed(tx, Wanted(1, span=day(1, number).period))
    if facts:
        await states.change(tx, DatasetRelease(id=found[0].id, **facts))
    else:
        await states.remove(tx, found[0].id)


async def withdraw(tx: Transaction, number: int) -> None:
    await of_day(tx, number, state="withdrawn", reason="bad")


async def correct(tx: Transaction, number: int) -> None:
    await of_day(tx, number, row_count=77)


def test_what_was_seen_after_each_change_is_told_again(book_url: str) -> None:
    changes: list[tuple[Any, ...]] = [
        (datasets.change, Dataset(id=1, service="other")),
        (releases.record, day(1, 3)),
        (releases.record_all, [day(1, number) for number in range(6)]),
        (withdraw, 0),
        (catalogue.change, Workflow(id=1, tags='["other"]', extras={"é": 1})),
        (releases.record, day(1, 0)),
        (of_day, 3),
        (correct, 1),
        (catalogue.change, Organisation(id=1, name="renamed")),
        (datasets.change, Dataset(id=1, name="d0 renamed")),
        (datasets.remove, Dataset, 2),
        (of_day, 4),
        (releases.record, day(1, 3)),
    ]

    async def work(book: Database) -> None:
        await furnish(book, 3)
        was: list[tuple[datetime, list[bytes]]] = []
        for function, *args in changes:
            await asyncio.sleep(0.002)
            was.append((await book.read(BY, told), await seen(book)))
            await asyncio.sleep(0.002)
            await book.write(BY, function, *args)
        was.append((await book.read(BY, told), await seen(book)))
        assert len({tuple(one) for _, one in was}) == len(was)
        for at, before in was:
            assert await seen(book, at) == before

    run(book_url, work)


def test_before_the_journal_began_nothing_is_known(book_url: str) -> None:
    fill(book_url, 1, 1)

    async def work(book: Database) -> None:
        long_ago = DAY_0
        calls: list[tuple[Any, ...]] = [
            (history.fetch, Dataset, 1, long_ago),
            (history.listed, Dataset, long_ago, 10, 0, {}),
            (history.release, 1, long_ago),
            (history.releases, Wanted(1), long_ago),
        ]
        for args in calls:
            with pytest.raises(Invalid, match=r"as_of: must not be before 20\d\d-"):
                await book.read(BY, *args)
        now = await book.read(BY, told)
        with pytest.raises(Invalid, match="dataset_id"):
            await book.read(BY, history.releases, Wanted(), now)
        with pytest.raises(Invalid, match="address"):
            await book.read(BY, history.listed, Dataset, now, 10, 0, {"address": "a"})

    run(book_url, work)


def test_an_address_of_before_is_told_where_it_is_still_the_same(book_url: str) -> None:
    async def work(book: Database) -> None:
        await furnish(book, 2)
        before = await book.read(BY, told)
        assert [d.address for d in await book.read(BY, history.listed, Dataset, before, 9, 0, {})] == [
            "a.b.0",
            "a.b.1",
        ]
        await book.write(BY, datasets.change, Dataset(id=1, address="other"))
        assert (await book.read(BY, history.fetch, Dataset, 1, before)).address is unset
        reader = Caller("reader", 7, scopes([Grant("reader")]), "read")
        assert (await book.read(reader, history.fetch, Dataset, 2, before)).address is unset
        await book.write(BY, datasets.change, Dataset(id=1, address="a.b.0"))
        assert (await book.read(BY, history.fetch, Dataset, 1, before)).address == "a.b.0"

    run(book_url, work)


def test_what_refers_to_what_a_server_whose_clock_goes_fast_has_made_was_not_there_before_it(
    book_url: str,
) -> None:
    async def fast(tx: Transaction) -> None:
        tx.now += timedelta(hours=1)
        await catalogue.create(tx, Organisation(name="another"))
        made = Workflow(name="more", organisation=Organisation(id=2))
        made.workflow_type = (await catalogue.fetch(tx, Workflow, 1)).workflow_type
        await catalogue.create(tx, made)

    async def work(book: Database) -> None:
        await furnish(book, 1)
        await book.write(BY, fast)
        made = await book.read(BY, datasets.fetch, Dataset, 1)
        made.id, made.name, made.address, made.workflow = unset, "more", "a.b", Workflow(id=2)
        id = (await book.write(BY, datasets.create, made)).id
        now = await book.read(BY, told)

        assert [one.id for one in await book.read(BY, history.listed, Dataset, now, 10, 0, {})] == [1]
        with pytest.raises(NotFound):
            await book.read(BY, history.fetch, Dataset, id, now)
        then = now + timedelta(hours=2)
        assert len(await book.read(BY, history.listed, Dataset, then, 10, 0, {})) == 2

    run(book_url, work)


def test_what_another_organisation_had_is_not_told(book_url: str) -> None:
    fill(book_url, 1, 3)

    async def work(book: Database) -> None:
        now = await book.read(BY, told)
        stranger = Caller("stranger", 7, scopes([Grant("reader", 2)]), "read")
        assert await book.read(stranger, history.listed, Dataset, now, 10, 0, {}) == []
        calls: list[tuple[Any, ...]] = [
            (history.fetch, Dataset, 1, now),
            (history.fetch, Organisation, 1, now),
            (history.release, 1, now),
            (history.releases, Wanted(1), now),
            (history.listed, Dataset, now, 10, 0, {"workflow_id": 1}),
        ]
        for args in calls:
            with pytest.raises(NotFound):
                await book.read(stranger, *args)

    run(book_url, work)


def test_a_page_of_a_large_dataset_is_quick(book_url: str) -> None:
    """Each page reads what is in it: all of 20,000 releases as of a time come in a few seconds."""
    fill(book_url, 2, 0)

    async def work(book: Database) -> None:
        for at in range(0, 20_000, 5000):
            many = [day(1, number) for number in range(at, at + 5000)]
            await book.write(operator("record"), releases.record_all, many)
        if not book.url.startswith("sqlite"):
            with psycopg.connect(book.url, autocommit=True) as postgresql:
                postgresql.execute(b"ANALYZE")
        await asyncio.sleep(0.01)
        now = await book.read(BY, told)
        began, found, after = time.monotonic(), list[DatasetRelease](), None
        while True:
            page = await book.scan(BY, history.releases, Wanted(1, limit=1000, after=after), now)
            found += page
            if len(page) < 1000:
                break
            after = lists.place_of(page[-1])
        assert len(found) == 20_000
        print(f"\n{time.monotonic() - began:.2f} s for 20,000 releases")
        assert time.monotonic() - began < 8

    run(book_url, work)


def test_what_is_read_of_the_journal_does_not_grow_with_it(book_url: str) -> None:
    fill(book_url, 2, 0)

    class Undone(Exception):
        pass

    async def work(book: Database) -> dict[str, list[str]]:
        for dataset in (1, 2):
            many = [day(dataset, number) for number in range(4000)]
            await book.write(operator("record"), releases.record_all, many)
        if not book.url.startswith("sqlite"):
            with psycopg.connect(book.url, autocommit=True) as postgresql:
                postgresql.execute(b"VACUUM ANALYZE")
        await asyncio.sleep(0.01)
        now = await book.read(BY, told)
        end = await book.read(BY, horizon.end)
        near = Position(end.place, end.sequence - 50)
        half = lists.Place(1, DAY_0 + timedelta(2000), DAY_0 + timedelta(2001), 1)
        calls: dict[str, Callable[[Transaction], Any]] = {
            "the end": horizon.end,
            "what is new": lambda tx: feed.entries(tx, feed.Wanted(actor="x"), near, end, 20),
            "the first page": lambda tx: feed.entries(tx, feed.Wanted(), horizon.BEGINNING, end, 20),
            "the history of a release": lambda tx: feed.entries(
                tx, feed.Wanted(kind="DatasetRelease", record_id=77), near, end, 20
            ),
            "a list's tag": lambda tx: lists.last_changes(tx, [1]),
            "a release of before": lambda tx: history.release(tx, 77, now),
            "a dataset of before": lambda tx: history.fetch(tx, Dataset, 1, now),
            "datasets of before": lambda tx: history.listed(tx, Dataset, now, 20, 0, {}),
            "a page of before": lambda tx: history.releases(tx, Wanted(1, limit=20, after=half), now),
        }
        much: dict[str, list[str]] = {}

        async def undone(tx: Transaction, sentence: str) -> None:
            if isinstance(tx, PostgresTransaction):
                await tx._cursor.connection.execute(b"BEGIN")  # it looks at plans in savepoints
            # The first and the last entry are one step along the index, and a window is no longer than it is.
            found = [step for step in await watched(tx, calls[sentence]) if step not in BOUNDED]
            if found:
                much[sentence] = found
            raise Undone

        for sentence in calls:
            with pytest.raises(Undone):
                await book.write(BY, undone, sentence)
        return much

    assert run(book_url, work) == {}
