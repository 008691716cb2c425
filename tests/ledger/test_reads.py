"""Who read which address is in the journal, once an hour."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import select

from observatory import Dataset, DatasetType, Organisation, Workflow, WorkflowType
from observatory.access import Caller, operator, scopes
from observatory.errors import Full
from observatory.ledger import catalogue, datasets, journal, open_database
from observatory.ledger.database import Transaction
from observatory.ledger.reads import HOUR, Noted
from observatory.ledger.sealing import KEY, KeyRing
from observatory.ledger.statements import Statement
from observatory.ledger.tables import journal as table
from observatory.records import Grant, TableType

RING = KeyRing({"first": b"1" * KEY})
TOLD = ("actor", "record_id", "dataset_id", "organisation_id", "before", "after")
ENTRIES = Statement(
    select(*(table.c[name] for name in TOLD)).where(table.c.action == "read").order_by(table.c.sequence)
)
READER = Caller("reader", 1, scopes([Grant(role="reader"), Grant(role="address:read")]), "read")
OTHER = Caller("other", 2, READER.scopes, "read")
BLIND = Caller("blind", 3, scopes([Grant(role="reader")]), "read")

Test = Callable[[Noted], Coroutine[Any, Any, None]]


async def furnish(tx: Transaction) -> None:
    kind = await catalogue.create(tx, WorkflowType(type_id="sales", name="Sales"))
    await catalogue.create(tx, DatasetType(type_id="sales", name="Sales", table_type=TableType(id=1)))
    owner = await catalogue.create(tx, Organisation(name="ours"))
    workflow = await catalogue.create(tx, Workflow(name="w", organisation=owner, workflow_type=kind))
    for id in range(1, 4):
        of_kind = DatasetType(id=1)
        await datasets.create(
            tx,
            Dataset(name=f"d{id}", service="s", address=f"a.b.{id}", workflow=workflow, dataset_type=of_kind),
        )


async def told(tx: Transaction) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await tx.rows(ENTRIES, {})]


async def entries(book: Noted) -> list[tuple[str, int]]:
    return [(actor, id) for actor, id, *_ in await book.read(operator("read"), told)]


@pytest.fixture
def clock() -> list[float]:
    """The time in seconds, shortly before an hour."""
    return [HOUR * 1000 - 1.0]


@pytest.fixture
def noted(database_url: str, clock: list[float]) -> Callable[[Test], None]:
    """Runs a test with three datasets in a book."""

    def run(test: Test) -> None:
        async def running() -> None:
            database = open_database(database_url, ring=RING)
            book = Noted(database, lambda: clock[0])
            async with book.running():
                await database.write(operator("maintain"), furnish)
                await test(book)

        asyncio.run(running())

    return run


def test_a_read_of_an_address_is_noted_before_it_is_answered(noted: Callable[[Test], None]) -> None:
    async def test(book: Noted) -> None:
        await book.read(READER, datasets.fetch, Dataset, 2)

        assert await book.read(operator("read"), told) == [("reader", 2, 2, 1, None, None)]

    noted(test)


def test_each_account_is_noted_once_an_hour_for_each_dataset(
    noted: Callable[[Test], None], clock: list[float]
) -> None:
    async def test(book: Noted) -> None:
        await book.read(READER, datasets.fetch, Dataset, 2)
        await asyncio.gather(*(book.scan(READER, datasets.listed, Dataset, 10) for _ in range(5)))
        await book.read(OTHER, datasets.fetch, Dataset, 2)
        first = [("reader", 2), ("reader", 1), ("reader", 3), ("other", 2)]
        assert await entries(book) == first

        clock[0] += 60
        await book.read(READER, datasets.fetch, Dataset, 2)
        assert await entries(book) == [*first, ("reader", 2)]

    noted(test)


def test_who_is_answered_no_address_has_read_none(noted: Callable[[Test], None]) -> None:
    async def test(book: Noted) -> None:
        await book.read(BLIND, datasets.fetch, Dataset, 2)
        await book.scan(BLIND, datasets.listed, Dataset, 10)
        await book.read(READER, catalogue.fetch, Workflow, 1)

        assert await entries(book) == []

    noted(test)


def test_who_changes_a_dataset_and_is_answered_its_address_has_read_it(noted: Callable[[Test], None]) -> None:
    async def test(book: Noted) -> None:
        by = Caller("both", 4, operator().scopes, "maintain")
        await book.write(by, datasets.change, Dataset(id=2, service="t"))

        assert await entries(book) == [("both", 2)]

    noted(test)


def test_reading_goes_on_where_nothing_can_be_written_and_the_log_says_it(
    noted: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(tx: Transaction, notes: object) -> None:
        raise Full("there is no room")

    async def test(book: Noted) -> None:
        with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
            patched.setattr(journal, "write", full)
            found = await book.read(READER, datasets.fetch, Dataset, 2)
        assert found.address == "a.b.2"
        assert "reader reads the addresses of datasets [2] unnoted: there is no room" in caplog.text
        assert "a.b.2" not in caplog.text

        await book.read(READER, datasets.fetch, Dataset, 2)
        assert await entries(book) == [("reader", 2)]

    noted(test)
