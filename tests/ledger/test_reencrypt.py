"""A new key takes over while everybody goes on working, and it does not matter where that was cut short."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from observatory import Conflict, Dataset, DatasetType, Organisation, Workflow, WorkflowType
from observatory.access import operator
from observatory.errors import ObservatoryError
from observatory.ledger import Database, catalogue, datasets, open_database, reencrypt
from observatory.ledger.database import Transaction
from observatory.ledger.reencrypt import CHUNK, place
from observatory.ledger.sealing import KEY, KeyRing
from observatory.records import TableType

OLD, NEW = b"1" * KEY, b"2" * KEY
BEFORE = KeyRing({"old": OLD})
RING = KeyRing({"new": NEW, "old": OLD})
AFTER = KeyRing({"new": NEW})
MANY = 2 * CHUNK + 50
BY = operator("maintain")

Row = tuple[int, str, str | None, int, object]
Rows = Callable[[], list[Row]]


def address(id: int) -> str:
    return f"bigquery.partner.table_{id}"


@pytest.fixture
def before(database_url: str) -> Database:
    return open_database(database_url, ring=BEFORE)


@pytest.fixture
def database(database_url: str) -> Database:
    return open_database(database_url, ring=RING)


@pytest.fixture
def rows(database_url: str) -> Rows:
    statement = "SELECT id, address, address_digest, version, modified FROM datasets ORDER BY id"

    def found() -> list[Row]:
        if database_url.startswith("sqlite"):
            with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(database_url) as other:
            return [*other.execute(statement.encode())]

    return found


async def furnish(tx: Transaction) -> None:
    """Makes datasets, of which each third is as a server of the version before left it."""
    kind = await catalogue.create(tx, WorkflowType(type_id="sales", name="Sales"))
    await catalogue.create(tx, DatasetType(type_id="sales", name="Sales", table_type=TableType(id=1)))
    owner = await catalogue.create(tx, Organisation(name="ours"))
    workflow = await catalogue.create(tx, Workflow(name="w", organisation=owner, workflow_type=kind))
    for id in range(1, MANY + 1):
        create = catalogue.create if id % 3 == 0 else datasets.create
        await create(
            tx,
            Dataset(
                name=f"d{id}",
                service="s",
                address=address(id),
                workflow=workflow,
                dataset_type=DatasetType(id=1),
            ),
        )


async def fill(database: Database) -> None:
    async with database.running():
        await database.write(BY, furnish)


async def whole(database: Database) -> list[int]:
    """Seals all that is to be sealed anew, and returns the last ids of the steps."""
    steps, after = [], 0
    while (last := await database.write(BY, reencrypt.reencrypt, after)) is not None:
        steps.append(after := last)
    return steps


def check(rows: list[Row], new: Callable[[int], str] = address) -> None:
    """Checks that everything is sealed with the new key alone, and can be found."""
    for id, kept, digest, _, _ in rows:
        assert AFTER.is_current(kept)
        assert AFTER.unseal(kept, place(id)) == new(id)
        assert digest == AFTER.fingerprint(new(id))


def test_all_addresses_are_sealed_with_the_first_key_and_nothing_else_changes(
    before: Database, database: Database, rows: Rows
) -> None:
    async def run() -> list[int]:
        async with database.running():
            return await whole(database)

    asyncio.run(fill(before))
    was = rows()
    steps = asyncio.run(run())

    assert steps == [CHUNK, 2 * CHUNK, MANY]
    check(rows())
    assert [(id, *rest) for id, _, _, *rest in rows()] == [(id, *rest) for id, _, _, *rest in was]
    assert asyncio.run(run()) == []


def test_what_was_cut_short_goes_on_where_it_was(before: Database, database: Database, rows: Rows) -> None:
    async def killed(tx: Transaction) -> None:
        await reencrypt.reencrypt(tx, CHUNK)
        raise Conflict("killed before the commit")

    async def run() -> list[int]:
        async with database.running():
            await database.write(BY, reencrypt.reencrypt, 0)
            with pytest.raises(Conflict):
                await database.write(BY, killed)
        sealed = [RING.is_current(kept) for _, kept, *_ in rows()]
        assert sealed == [True] * CHUNK + [False] * (MANY - CHUNK)
        async with database.running():
            return await whole(database)

    asyncio.run(fill(before))

    assert asyncio.run(run()) == [2 * CHUNK, MANY]
    check(rows())


def test_whoever_changes_an_address_meanwhile_is_not_overwritten(
    before: Database, database: Database, rows: Rows
) -> None:
    changed = range(1, MANY + 1, 7)

    async def change() -> None:
        for id in changed:
            await database.write(BY, datasets.change, Dataset(id=id, address=f"changed {id}"))

    async def run() -> None:
        async with database.running():
            await asyncio.gather(change(), whole(database), whole(database))
            await whole(database)

    asyncio.run(fill(before))
    asyncio.run(run())

    check(rows(), lambda id: f"changed {id}" if id in changed else address(id))
    assert {id for id, _, _, version, _ in rows() if version == 2} == set(changed)


def test_datasets_are_found_by_their_address_all_the_while(before: Database, database: Database) -> None:
    async def found() -> list[list[int]]:
        asked = [{"address": address(id)} for id in (2, 3, CHUNK + 3, MANY - 1, MANY)]
        lists = [await database.read(BY, datasets.listed, Dataset, 10, 0, one) for one in asked]
        return [[dataset.id for dataset in one] for one in lists]

    async def run() -> None:
        async with database.running():
            after: int | None = 0
            while after is not None:
                assert await found() == [[2], [3], [CHUNK + 3], [MANY - 1], [MANY]]
                after = await database.write(BY, reencrypt.reencrypt, after)

    asyncio.run(fill(before))
    asyncio.run(run())


def test_an_address_whose_key_is_gone_is_named_and_stays(
    before: Database, database_url: str, rows: Rows
) -> None:
    async def run() -> None:
        database = open_database(database_url, ring=AFTER)
        async with database.running():
            await whole(database)

    asyncio.run(fill(before))
    was = rows()

    with pytest.raises(ObservatoryError, match=r"datasets\.address:1 is sealed with the key old") as raised:
        asyncio.run(run())

    assert address(1) not in str(raised.value)
    assert rows() == was
