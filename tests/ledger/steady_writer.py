"""Records releases into a book without a pause and says which were acknowledged; run as a process.

    python -m tests.ledger.steady_writer BOOK FIRST [SYNCHRONOUS]

Writes `DATASET NUMBER` for each release once the book has said that it is kept; the numbers begin at FIRST.
SYNCHRONOUS is what SQLite is told instead of what the book tells it.
"""

import asyncio
import sqlite3
import sys
from itertools import count

import pytest

from observatory import Dataset
from observatory.access import operator
from observatory.ledger import Database, catalogue, releases, sqlite, upgrade

from .conftest import day, furnish, opened

WRITERS = 4


async def record(book: Database, dataset: int, first: int) -> None:
    """Records single days and, now and then, some of them together."""
    number = first
    for turn in count():
        told = [day(dataset, number + i) for i in range(20 if turn % 5 == 4 else 1)]
        await book.write(operator("record"), releases.record_all, told)
        print("".join(f"{dataset} {number + i}\n" for i in range(len(told))), end="", flush=True)
        number += len(told)


async def work(url: str, first: int) -> None:
    """Records into several datasets at once, so that commits are those of groups."""
    book = opened(url)
    async with book.running():
        there = await book.read(operator("read"), catalogue.listed, Dataset, WRITERS)
        ids = [dataset.id for dataset in there] or await furnish(book, WRITERS)
        await asyncio.gather(*(record(book, id, first) for id in ids))


def careless(synchronous: str) -> None:
    """Lets SQLite wait less for the disk than the book asks for."""
    connect = sqlite.SqliteDatabase._connect

    def connected(book: sqlite.SqliteDatabase) -> sqlite3.Connection:
        connection = connect(book)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        return connection

    pytest.MonkeyPatch().setattr(sqlite.SqliteDatabase, "_connect", connected)


if __name__ == "__main__":
    _, file, first, *synchronous = sys.argv
    for told in synchronous:
        careless(told)
    upgrade(f"sqlite:///{file}")
    asyncio.run(work(f"sqlite:///{file}", int(first)))
