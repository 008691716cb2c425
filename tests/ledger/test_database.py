"""What both databases promise, whichever keeps the book."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select

from observatory import Conflict, Organisation, Unknown
from observatory.access import operator
from observatory.errors import Outdated
from observatory.ledger import Database, catalogue, replies
from observatory.ledger.database import Transaction
from observatory.ledger.statements import Statement

from .conftest import opened


@pytest.fixture
def database(database_url: str) -> Database:
    return opened(database_url)


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


def test_what_reads_much_sees_one_moment_however_many_statements_it_has(
    database: Database, database_url: str
) -> None:
    async def read_twice(tx: Transaction) -> list[int]:
        before = await catalogue.listed(tx, Organisation, 100)
        # Somebody else, whose write is committed between the two.
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(asyncio.run, write_elsewhere()).result()
        return [len(before), len(await catalogue.listed(tx, Organisation, 100))]

    async def write_elsewhere() -> None:
        other = opened(database_url)
        async with other.running():
            await other.write(operator(), catalogue.create, Organisation(name="late"))

    async def scan() -> list[int]:
        async with database.running():
            return await database.scan(operator(), read_twice)

    assert asyncio.run(scan()) == [0, 0]
    assert names(database) == ["late"]


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


def test_whoever_repeats_what_was_unknown_is_told_that_it_was_done(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "Postgres" not in type(database).__name__:
        pytest.skip("SQLite is in the same process: its answers are not lost")
    committed = psycopg.AsyncPipeline.__aexit__

    async def lost(pipeline: psycopg.AsyncPipeline, *error: Any) -> None:
        await committed(pipeline, *error)
        raise psycopg.OperationalError("the connection is lost")

    async def again(tx: Transaction, id: int) -> Organisation:
        return await catalogue.fetch(tx, Organisation, id)

    reply = replies.Reply(lambda record: record.id, again)
    token = replies.Token("the name of a request", "what it asks")

    async def create() -> Organisation:
        return await database.write(
            operator(), replies.once, token, reply, catalogue.create, Organisation(name="a")
        )

    async def rename() -> Organisation:
        return await database.write(operator(), catalogue.change, Organisation(id=1, version=1, name="b"))

    async def work() -> None:
        async with database.running():
            for attempt in (create, rename):
                with monkeypatch.context() as patched:
                    patched.setattr(psycopg.AsyncPipeline, "__aexit__", lost)
                    with pytest.raises(Unknown):
                        await attempt()
            with pytest.raises(Outdated, match="at version 2, not 1"):
                await rename()
            assert (await create()).name == "b"
            found = await database.read(operator(), catalogue.listed, Organisation, 100)
            assert [(one.name, one.version) for one in found] == [("b", 2)]

    asyncio.run(work())
