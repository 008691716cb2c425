"""What both databases promise, whichever keeps the book."""

import asyncio

import psycopg
import pytest

from observatory import Conflict, Organisation, Unknown
from observatory.ledger import Database, catalogue, open_database
from observatory.ledger.database import Transaction


@pytest.fixture
def database(database_url: str) -> Database:
    return open_database(database_url)


def names(database: Database) -> list[str]:
    async def listed() -> list[str]:
        async with database.running():
            return [o.name for o in await database.read(catalogue.listed, Organisation, 100)]

    return asyncio.run(listed())


async def create_and_fail(tx: Transaction, name: str) -> None:
    await catalogue.create(tx, Organisation(name=name))
    raise Conflict("on purpose")


def test_one_failing_write_undoes_nothing_of_the_others(database: Database) -> None:
    async def write() -> list[object]:
        async with database.running():
            good = [database.write(catalogue.create, Organisation(name=f"good {i}")) for i in range(5)]
            bad = [database.write(create_and_fail, f"bad {i}") for i in range(5)]
            mixed = [work for pair in zip(good, bad, strict=True) for work in pair]
            return await asyncio.gather(*mixed, return_exceptions=True)

    outcomes = asyncio.run(write())

    assert [type(outcome) for outcome in outcomes] == [Organisation, Conflict] * 5
    assert sorted(names(database)) == [f"good {i}" for i in range(5)]


def test_a_cancelled_caller_does_not_cut_its_write_short(database: Database) -> None:
    async def write() -> None:
        async with database.running():
            task = asyncio.create_task(database.write(catalogue.create, Organisation(name="kept")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(write())

    assert names(database) == ["kept"]


def test_a_commit_whose_answer_is_lost_is_told_as_unknown(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "Postgres" not in type(database).__name__:
        pytest.skip("SQLite is in the same process: its answers are not lost")

    async def lost(_: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    async def write() -> None:
        async with database.running():
            with monkeypatch.context() as patched:
                patched.setattr(psycopg.AsyncConnection, "commit", lost)
                await database.write(catalogue.create, Organisation(name="a"))

    with pytest.raises(Unknown):
        asyncio.run(write())
