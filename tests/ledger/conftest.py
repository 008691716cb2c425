"""Books of each kind of database with something in them, made by the ledger itself."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from observatory import Dataset, DatasetRelease, DatasetType, Organisation, TableType, Workflow, WorkflowType
from observatory.access import operator
from observatory.ledger import Database, catalogue, datasets, open_database, releases, upgrade
from observatory.ledger.sealing import ring_of

DAY_0 = datetime(1990, 1, 1, tzinfo=UTC)
RING = ring_of(f"tests {b64encode(bytes(range(32))).decode()}", "the tests")

NewBook = Callable[[str], str]


def opened(url: str) -> Database:
    return open_database(url, ring=RING)


def day(dataset: int, number: int, days: int = 1) -> DatasetRelease:
    """Returns a release that begins on a numbered day."""
    at = DAY_0 + timedelta(number)
    return DatasetRelease(
        dataset=Dataset(id=dataset), start_date=at, end_date=at + timedelta(days), row_count=number
    )


async def furnish(book: Database, number: int) -> list[int]:
    """Creates datasets and returns their ids."""
    by = operator("administer")
    owner = await book.write(by, catalogue.create, Organisation(name="Curtin Press", extras={"é": [1, 0.5]}))
    sort = await book.write(by, catalogue.create, WorkflowType(type_id="sales", name="Sales"))
    flow = Workflow(name="sales", organisation=owner, workflow_type=sort, tags='["books"]')
    flow = await book.write(by, catalogue.create, flow)
    kind = DatasetType(type_id="sales", name="Sales", table_type=TableType(id=1))
    kind = await book.write(by, catalogue.create, kind)
    ids = []
    for i in range(number):
        made = Dataset(name=f"d{i}", service="s", address=f"a.b.{i}", workflow=flow, dataset_type=kind)
        ids.append((await book.write(by, datasets.create, made)).id)
    return ids


def record(url: str, told: Sequence[DatasetRelease]) -> None:
    async def work() -> None:
        book = opened(url)
        async with book.running():
            await book.write(operator("record"), releases.record_all, told)

    asyncio.run(work())


def fill(url: str, number: int = 2, days: int = 20) -> list[int]:
    """Fills a book with datasets of some days each, with a gap after every fifth, and returns their ids."""

    async def work() -> list[int]:
        book = opened(url)
        async with book.running():
            ids = await furnish(book, number)
            told = [day(id, i + i // 5) for id in ids for i in range(days)]
            if told:
                await book.write(operator("record"), releases.record_all, told)
            return ids

    return asyncio.run(work())


@pytest.fixture
def new_book(request: pytest.FixtureRequest, tmp_path: Path) -> NewBook:
    """Makes books of either kind, as many as are needed."""
    made: list[str] = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path}/book{len(made)}.db"
        else:
            url = request.getfixturevalue("new_database")()
        upgrade(url)
        made.append(url)
        return url

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def book_url(request: pytest.FixtureRequest, new_book: NewBook) -> str:
    """A book of either kind, with nothing in it."""
    return new_book(request.param)
