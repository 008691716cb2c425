"""Claims in the ledger: each period is granted to one at a time, whoever races, on both databases."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from observatory import Conflict, Dataset, DatasetRelease, Forbidden, Invalid, NotFound, Period
from observatory.access import Caller, operator, scopes
from observatory.leases import Claiming, Granted, Return
from observatory.ledger import Database, Transaction, claims, granting, offers, releases, states
from observatory.ledger.database import Work
from observatory.ledger.journal import WRITE
from observatory.ledger.statements import Statement
from observatory.ledger.tables import journal, wanted
from observatory.records import Grant, Offer, Probe
from sqlalchemy import bindparam, select, update

from .conftest import DAY_0, furnish, opened

BY = operator("record")
DAY = timedelta(1)


def day(number: int, days: int = 1) -> Period:
    return Period(DAY_0 + number * DAY, DAY_0 + (number + days) * DAY)


def release(dataset: int, number: int, **facts: Any) -> DatasetRelease:
    period = day(number)
    at = {"start_date": period.start_date, "end_date": period.end_date}
    return DatasetRelease(dataset=Dataset(id=dataset), **at, **facts)


@asynccontextmanager
async def offering(url: str, days: int) -> AsyncIterator[tuple[Database, int]]:
    """Opens a book with a dataset of which so many days are offered, and none is there."""
    book = opened(url)
    async with book.running():
        [dataset] = await furnish(book, 1)
        told = [Offer(day(n).start_date, day(n).end_date, version_label=f"v{n}") for n in range(days)]
        await book.write(BY, offers.probe, dataset, Probe("complete", told))
        yield book, dataset


async def claim(book: Database, dataset: int, by: Caller = BY, **asked: Any) -> Granted:
    return await book.write(by, granting.claim, Claiming(Dataset(id=dataset), **asked))


async def record(book: Database, dataset: int, number: int, token: int | None = None, **facts: Any) -> None:
    await book.write(BY, releases.record, release(dataset, number, **facts), releases.How(claim=token))


TIMES = {name: bindparam(name, type_=wanted.c.since.type) for name in ("claimed_until", "retry_at")}
OF_DATASET = wanted.c.dataset_id == bindparam("dataset")
RUN_OUT = Statement(
    update(wanted).where(OF_DATASET, wanted.c.claimed_until.is_not(None)).values(claimed_until=bindparam("then"))
)
RESTED = Statement(
    update(wanted).where(OF_DATASET, wanted.c.retry_at.is_not(None)).values(retry_at=bindparam("then"))
)
ROWS = Statement(
    select(*(wanted.c[name] for name in ("start_date", "claim_id", "claimed_until", "failures", "error", "retry_at")))
    .where(OF_DATASET)
    .order_by(wanted.c.start_date)
)
ENTRIES = Statement(
    select(journal.c.action, journal.c.after).where(journal.c.kind == "Claim").order_by(journal.c.sequence)
)


async def rows(book: Database, dataset: int) -> list[dict[str, Any]]:
    async def work(tx: Transaction) -> Sequence[Any]:
        return await tx.rows(ROWS, {"dataset": dataset})

    return [dict(zip(ROWS.columns, one, strict=True)) for one in await book.read(BY, work)]


async def pass_(book: Database, dataset: int, statement: Statement = RUN_OUT) -> None:
    """Lets the time of all claims, or of all pauses, run out."""

    async def work(tx: Transaction) -> None:
        await tx.rows(statement, {"dataset": dataset, "then": tx.now - timedelta(milliseconds=1)})

    await book.write(BY, work)


def numbers(granted: Granted) -> list[int]:
    return [(one.start_date - DAY_0).days for one in granted.releases]


def test_sixteen_that_race_are_granted_each_period_once(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 1000) as (book, dataset):

            async def load() -> list[int]:
                mine: list[int] = []
                while (granted := await claim(book, dataset, limit=10)).claim:
                    mine += numbers(granted)
                return mine

            found = await asyncio.gather(*(load() for _ in range(16)))
            assert Counter(sum(found, [])) == Counter(range(1000))

    asyncio.run(work())
