"""Reading the journal: whole, in order, never past what may still come, and only what the reader may see."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from observatory import Dataset, Gone, Invalid, Organisation
from observatory.access import Caller, operator, scopes
from observatory.ledger import (
    Database,
    accounts,
    catalogue,
    datasets,
    feed,
    horizon,
    journal,
    lists,
    releases,
)
from observatory.ledger.feed import Wanted
from observatory.ledger.horizon import BEGINNING, Position
from observatory.ledger.statements import Statement
from observatory.ledger.tables import book
from observatory.records import Account, Entry, Grant, Role

from .conftest import day, fill, furnish, opened

OPERATOR = operator("read")
ALL = Wanted()


def reader(*roles: tuple[Role, int | None]) -> Caller:
    return Caller("reader", 7, scopes(Grant(role, where) for role, where in roles), "read")


async def read(
    book: Database,
    by: Caller = OPERATOR,
    wanted: Wanted = ALL,
    after: Position = BEGINNING,
    limit: int = 1000,
) -> list[Entry]:
    """Reads to the end, as a client does."""
    found: list[Entry] = []
    end = await book.read(by, horizon.end)
    while after < end:
        part = await book.read(by, feed.entries, wanted, after, end, limit)
        assert after < part.reached <= end
        assert len(part.entries) <= limit
        found, after = found + part.entries, part.reached
    return found


def run(url: str, work: Callable[[Database], Any]) -> Any:
    async def opening() -> Any:
        book = opened(url)
        async with book.running():
            return await work(book)

    return asyncio.run(opening())


def change(url: str, statement: str) -> None:
    """Does what only the owner of a database can, past what refuses to change the journal."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        for name in ("journal_update", "journal_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        connection.execute(statement)
        connection.commit()
        connection.close()
    else:
        with psycopg.connect(url) as postgresql:
            postgresql.execute(b"SET LOCAL session_replication_role = replica")
            postgresql.execute(statement.encode())


def test_the_journal_is_read_whole_and_in_order_whatever_the_size_of_a_page(
    book_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(book_url, 2, 20)

    async def work(book: Database) -> None:
        whole = await read(book)
        places = [horizon.position_of(entry.cursor) for entry in whole]
        assert places == sorted(places)
        assert len(whole) == len(set(places)) == 3 + 4 + 2 + 40
        assert [entry.kind for entry in whole[-40:]] == ["DatasetRelease"] * 40
        for limit in (1, 7, 49):
            assert await read(book, limit=limit) == whole
        monkeypatch.setattr(feed, "WINDOW", 5)
        for wanted, where in {
            ALL: lambda entry: True,
            Wanted(kind="Dataset"): lambda entry: entry.kind == "Dataset",
            Wanted(kind="DatasetRelease", record_id=3): lambda e: (
                (e.kind, e.record_id) == ("DatasetRelease", 3)
            ),
            Wanted(dataset_id=ids[1]): lambda entry: entry.dataset_id == ids[1],
            Wanted(organisation_id=1): lambda entry: entry.organisation_id == 1,
            Wanted(actor="operator"): lambda entry: entry.actor == "operator",
            Wanted(actor="nobody"): lambda entry: False,
        }.items():
            for limit in (3, 1000):
                assert await read(book, wanted=wanted, limit=limit) == list(filter(where, whole))

    run(book_url, work)


def test_entries_of_a_span_of_time_are_found_from_its_beginning(book_url: str) -> None:
    fill(book_url, 1, 30)
    # An entry a day, so that there is something far from the span.
    on_sqlite = "strftime('%Y-%m-%dT00:00:00.000000+00:00', '2020-01-01', sequence || ' days')"
    on_postgresql = "timestamptz '2020-01-01Z' + sequence * interval '1 day'"
    days = on_sqlite if book_url.startswith("sqlite") else on_postgresql
    change(book_url, f"UPDATE journal SET time = {days}")

    async def work(book: Database) -> None:
        whole = await read(book)
        for first, last in ((0, 10), (5, 6), (10, 1000), (1000, 2000), (12, 12)):
            since = whole[0].time + timedelta(first)
            until = whole[0].time + timedelta(last)
            found = await read(book, wanted=Wanted(since=since, until=until))
            assert found == whole[first:last]
            assert await read(book, wanted=Wanted(since=since), limit=3) == whole[first:]
            assert await read(book, wanted=Wanted(until=until), limit=3) == whole[:last]
        ends = Wanted(since=datetime.min.replace(tzinfo=UTC), until=datetime.max.replace(tzinfo=UTC))
        assert await read(book, wanted=ends) == whole

    run(book_url, work)


async def _release(book: Database, number: int) -> None:
    await book.write(operator("record"), releases.record, day(1, number))


def test_a_follower_misses_nothing_where_transactions_commit_in_reverse_order(new_book: Any) -> None:
    url = new_book("postgresql")
    fill(url, 1, 0)
    insert = (
        "INSERT INTO journal (place, time, actor, action, kind, record_id, request)"
        " SELECT pg_current_xact_id()::text::bigint + shift, now(), %s, 'create', 'TableType',"
        " 1, '' FROM book"
    )

    async def work(book: Database) -> None:
        followers = [await book.read(OPERATOR, horizon.end) for _ in range(3)]
        seen: list[list[str]] = [[] for _ in followers]

        async def follow(which: int) -> None:
            end = await book.read(OPERATOR, horizon.end)
            if followers[which] < end:
                part = await book.read(OPERATOR, feed.entries, ALL, followers[which], end, 2)
                followers[which] = part.reached
                seen[which] += [entry.actor for entry in part.entries]

        with ExitStack() as stack:
            held = [stack.enter_context(psycopg.connect(url)) for _ in range(6)]
            for number, connection in enumerate(held):
                connection.execute(insert.encode(), [f"writer {number}"])
            for number in reversed(range(len(held))):
                for which in range(len(followers)):
                    if (number + which) % 2:
                        await follow(which)
                held[number].commit()
                # What has committed waits for those that began before it.
                assert not any(seen)
            await _release(book, 1)
            for which in range(len(followers)):
                for _ in range(10):
                    await follow(which)
        assert seen == [[*(f"writer {number}" for number in range(6)), "operator"]] * len(followers)

    run(url, work)


def test_followers_miss_nothing_while_many_write_at_once(book_url: str) -> None:
    ids = fill(book_url, 8, 0)

    async def work(book: Database) -> None:
        begin = await book.read(OPERATOR, horizon.end)
        done = asyncio.Event()

        async def record(dataset: int) -> None:
            for number in range(0, 40, 2):
                told = [day(dataset, number), day(dataset, number + 1)]
                await book.write(operator("record"), releases.record_all, told)

        async def follow(limit: int) -> list[Entry]:
            after, found = begin, list[Entry]()
            while True:
                was_done = done.is_set()
                end = await book.read(OPERATOR, horizon.end)
                while after < end:
                    part = await book.read(OPERATOR, feed.entries, ALL, after, end, limit)
                    found, after = found + part.entries, part.reached
                if was_done:
                    return found
                await asyncio.sleep(0.001)

        followers = [asyncio.create_task(follow(limit)) for limit in (1, 10, 1000)]
        await asyncio.gather(*map(record, ids))
        done.set()
        whole = await read(book, after=begin)
        assert len(whole) == 8 * 40
        for follower in followers:
            assert await follower == whole

    run(book_url, work)


def test_a_cursor_that_leads_nowhere_is_told_apart(book_url: str) -> None:
    fill(book_url, 1, 5)

    async def work(book: Database) -> list[Entry]:
        whole = await read(book)
        for entry in whole:
            assert str(await book.read(OPERATOR, horizon.behind, entry.cursor)) == entry.cursor
        # As who followed a journal was told in which nothing was complete yet.
        assert await book.read(OPERATOR, horizon.behind, str(BEGINNING)) == BEGINNING
        foreign = ("", "x", "1", "1.2.3", "-1.1", "999999.1", f"0.{10**18}", f"0.{10**19}", "0.٣", "1e1.0")
        for cursor in foreign:
            with pytest.raises(Invalid, match="after"):
                await book.read(OPERATOR, horizon.behind, cursor)
        return whole

    whole = run(book_url, work)
    change(book_url, "DELETE FROM journal WHERE sequence <= 4")

    async def later(book: Database) -> None:
        for entry in whole[:4]:
            with pytest.raises(Gone, match=whole[4].cursor.replace(".", r"\.")):
                await book.read(OPERATOR, horizon.behind, entry.cursor)
        assert str(await book.read(OPERATOR, horizon.behind, whole[4].cursor)) == whole[4].cursor

    run(book_url, later)


def test_entries_follow_those_of_before_when_the_database_counts_its_transactions_anew(book_url: str) -> None:
    fill(book_url, 1, 5)
    # As in a book that comes from a server which had counted further.
    change(book_url, "UPDATE journal SET place = place + 1000000000 WHERE sequence % 2 = 0")

    async def work(book: Database) -> None:
        for number in (6, 7):
            await book.write(operator("administer"), horizon.keep_order)
            await _release(book, number)
        whole = await read(book)
        assert len(whole) == 3 + 4 + 1 + 5 + 2
        assert [entry.after["row_count"] for entry in whole[-2:] if entry.after] == [6, 7]
        shifts = await book.read(OPERATOR, shift_of)
        await book.write(operator("administer"), horizon.keep_order)
        assert await book.read(OPERATOR, shift_of) == shifts

    run(book_url, work)


async def shift_of(tx: Any) -> Any:
    return await tx.rows(Statement(select(book.c.shift)), {})


def test_nobody_sees_what_another_organisation_does(book_url: str) -> None:
    async def work(book: Database) -> None:
        by = operator("administer")
        await furnish(book, 1)
        await book.write(by, catalogue.create, Organisation(name="other"))
        await book.write(by, accounts.create, Account(name="somebody", grants=[Grant("reader", 2)]))
        await book.write(by, journal.write, [journal.Note("read", Dataset, 1, 1, 1)])
        whole = await read(book)
        kinds = {entry.kind for entry in whole}

        def of(*wanted: int | None) -> list[Entry]:
            open_to_all = [e for e in whole if e.kind not in ("Account", "Key") and e.action != "read"]
            return [entry for entry in open_to_all if entry.organisation_id in wanted]

        assert {"Account", "Organisation", "Dataset"} <= kinds
        assert await read(book, reader(("reader", 1))) == of(1, None)
        assert await read(book, reader(("reader", 2))) == of(2, None)
        assert await read(book, reader(("reader", None))) == of(1, 2, None)
        audited = await read(book, reader(("auditor", 1)))
        assert audited == [e for e in whole if e in of(1, None) or e.action == "read"]
        assert await read(book, reader(("auditor", 2))) == of(2, None)
        assert await read(book, reader(("auditor", None))) == whole
        for wanted in (Wanted(organisation_id=1), Wanted(dataset_id=1), Wanted(kind="Dataset", record_id=1)):
            assert await read(book, reader(("auditor", 2)), wanted) == []
            assert await read(book, reader(("auditor", 1)), wanted) != []

    run(book_url, work)


def test_who_reads_an_address_changes_nothing_of_a_list(book_url: str) -> None:
    fill(book_url, 1, 2)

    async def work(book: Database) -> None:
        async def number() -> int:
            return (await book.read(OPERATOR, lists.last_changes, [1]))[1].number

        before = await number()
        await book.write(OPERATOR, journal.write, [journal.Note("read", Dataset, 1, 1, 1)])
        assert await number() == before
        # A change of the dataset itself is counted with those of the catalogue.
        await book.write(operator("maintain"), datasets.change, Dataset(id=1, service="other"))
        assert await number() == before
        await book.write(operator("record"), releases.record, day(1, 400))
        assert await number() > before

    run(book_url, work)
