"""What both databases promise, whichever keeps the book."""

import asyncio

import psycopg
import pytest
from sqlalchemy import func, select

from observatory import Conflict, Organisation, Unknown
from observatory.access import operator
from observatory.ledger import Database, catalogue, open_database
from observatory.ledger.database import Transaction
from observatory.ledger.statements import Statement


@pytest.fixture
def database(database_url: str) -> Database:
    return open_database(database_url)


def names(database: Database) -> list[str]:
    async def listed() -> list[str]:
        async with database.running():
            return [o.name for o in await database.read(operator(), catalogue.listed, Organisation, 100)]

    return asyncio.run(listed())


async def create_and_fail(tx: Transaction, name: str) -> None:
    await catalogue.create(tx, Organisation(name=name))
    raise Conflict("on purpose")


def test_one_failing_write_undoes_nothing_of_the_others(database: Database) -> None:
    async def write() -> list[object]:
        async with database.running():
            good = [
                database.write(operator(), catalogue.create, Organisation(name=f"good {i}")) for i in range(5)
            ]
            bad = [database.write(operator(), create_and_fail, f"bad {i}") for i in range(5)]
            mixed = [work for pair in zip(good, bad, strict=True) for work in pair]
            return await asyncio.gather(*mixed, return_exceptions=True)

    outcomes = asyncio.run(write())

    assert [type(outcome) for outcome in outcomes] == [Organisation, Conflict] * 5
    assert sorted(names(database)) == [f"good {i}" for i in range(5)]


def test_a_cancelled_caller_does_not_cut_its_write_short(database: Database) -> None:
    async def write() -> None:
        async with database.running():
            task = asyncio.create_task(
                database.write(operator(), catalogue.create, Organisation(name="kept"))
            )
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(write())

    assert names(database) == ["kept"]


CUT = b"""
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON organisations DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.name = 'cut') EXECUTE FUNCTION cut()
"""


def test_a_connection_that_breaks_in_the_commit_is_told_as_unknown(
    database: Database, database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite is in the same process: its answers are not lost")

    async def write() -> None:
        async with database.running():
            with pytest.raises(Unknown):
                await database.write(operator(), catalogue.create, Organisation(name="cut"))
            await database.write(operator(), catalogue.create, Organisation(name="next"))

    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(CUT)  # a deferred trigger runs when COMMIT does
        try:
            asyncio.run(write())
        finally:
            connection.execute(b"DROP FUNCTION cut CASCADE")
    assert names(database) == ["next"]


def test_a_connection_that_breaks_before_the_commit_costs_nobody_an_error(
    database: Database, database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite is in the same process: its connections do not break")
    attempts = []

    async def create_and_be_cut(tx: Transaction) -> None:
        await catalogue.create(tx, Organisation(name="once"))
        attempts.append(tx)
        if len(attempts) == 1:
            await tx.rows(Statement(select(func.pg_terminate_backend(func.pg_backend_pid()))), {})

    async def write() -> None:
        async with database.running():
            await database.write(operator(), create_and_be_cut)

    asyncio.run(write())

    assert len(attempts) == 2
    assert names(database) == ["once"]
