"""Claims in the ledger: each period is granted to one at a time, whoever races, on both databases."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import bindparam, select, update

from observatory import Conflict, Dataset, DatasetRelease, Forbidden, Invalid, NotFound, Period
from observatory.access import Caller, operator, scopes
from observatory.leases import Claiming, Granted, Return
from observatory.ledger import Database, Transaction, claims, granting, offers, releases, states
from observatory.ledger import wanted as wants
from observatory.ledger.holdings import hold
from observatory.ledger.statements import Statement
from observatory.ledger.tables import journal, wanted
from observatory.records import Grant
from observatory.wants import Offer, Probe

from .conftest import DAY_0, furnish, opened

BY = operator("record")
DAY = timedelta(1)


def day(number: int, days: int = 1) -> Period:
    return Period(DAY_0 + number * DAY, DAY_0 + (number + days) * DAY)


def release(dataset: int, number: int, **facts: Any) -> DatasetRelease:
    period = day(number)
    at: dict[str, Any] = {"start_date": period.start_date, "end_date": period.end_date}
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
    update(wanted)
    .where(OF_DATASET, wanted.c.claimed_until.is_not(None))
    .values(claimed_until=bindparam("then"))
)
RESTED = Statement(
    update(wanted).where(OF_DATASET, wanted.c.retry_at.is_not(None)).values(retry_at=bindparam("then"))
)
ROWS = Statement(
    select(
        *(
            wanted.c[name]
            for name in ("start_date", "claim_id", "claimed_until", "failures", "error", "retry_at")
        )
    )
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
            assert Counter(number for mine in found for number in mine) == Counter(range(1000))

    asyncio.run(work())


def test_the_oldest_are_granted_first_or_the_newest_within_a_span_and_for_reasons(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 20) as (book, dataset):
            first = await claim(book, dataset, limit=2)
            assert numbers(first) == [0, 1]
            assert [one.version_label for one in first.releases] == ["v0", "v1"]
            assert {(one.reason, one.failures) for one in first.releases} == {("offered", 0)}
            assert numbers(await claim(book, dataset, limit=2, order="newest")) == [18, 19]
            span: dict[str, Any] = {"start_date": day(0).start_date, "end_date": day(3).start_date}
            assert numbers(await claim(book, dataset, limit=9, **span)) == [2]
            assert numbers(await claim(book, dataset, start_date=day(9).start_date)) == [9]
            bad = await book.write(BY, releases.record, release(dataset, 12))
            told = DatasetRelease(id=bad.release.id, state="withdrawn", reason="half of it")
            await book.write(BY, states.change, told)
            assert numbers(await claim(book, dataset, limit=9, reasons=["failed", "withdrawn"])) == [12]
            assert numbers(await claim(book, dataset, limit=9, reasons=["late", "expected"])) == []

    asyncio.run(work())


def test_a_claim_that_ran_out_is_taken_over_and_counted_as_a_failure(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 3) as (book, dataset):
            first = await claim(book, dataset, limit=3, holder="ann")
            assert first.claim
            assert await claim(book, dataset) == Granted(None, [])
            await pass_(book, dataset)
            second = await claim(book, dataset, limit=2, holder="bob")
            assert second.claim
            assert second.claim.id > first.claim.id
            told = {(one.reason, one.failures, one.error) for one in second.releases}
            assert told == {("failed", 1, "the claim of ann ran out")}
            with pytest.raises(Conflict, match=r"'bob' holds it by claim"):
                await record(book, dataset, 0, first.claim.id)
            await record(book, dataset, 2, first.claim.id)  # nobody took it over
            await record(book, dataset, 0, second.claim.id)
            [one, two, three] = await rows(book, dataset)
            assert (one["failures"], one["error"], one["claimed_until"]) == (0, None, None)
            assert (two["failures"], two["claim_id"]) == (1, second.claim.id)
            assert (three["failures"], three["claimed_until"]) == (0, None)

    asyncio.run(work())


def test_a_stale_holder_is_refused_also_after_the_later_one_failed(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 1) as (book, dataset):
            first = await claim(book, dataset)
            await pass_(book, dataset)
            second = await claim(book, dataset, holder="bob")
            assert first.claim
            assert second.claim
            await book.write(BY, claims.give_back, second.claim.id, Return("failed", error="no disk"))
            with pytest.raises(Conflict, match=r"does not hold this period: 'bob' took it over by claim"):
                await record(book, dataset, 0, first.claim.id)
            await record(book, dataset, 0, second.claim.id, row_count=3)
            # What is there already is answered, whoever tells it.
            await record(book, dataset, 0, first.claim.id, row_count=3)

    asyncio.run(work())


def test_what_is_claimed_is_recorded_by_its_holder_only(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 3) as (book, dataset):
            mine = await claim(book, dataset, holder="ann")
            other = await claim(book, dataset)
            assert mine.claim
            assert other.claim
            with pytest.raises(Conflict, match=r"this period is claimed: 'ann' holds it by claim 1 until \d"):
                await record(book, dataset, 0)
            with pytest.raises(Conflict, match="'ann' holds it by claim"):
                await record(book, dataset, 0, other.claim.id)
            with pytest.raises(Conflict, match="claim 1 does not hold this period, and nobody does"):
                await record(book, dataset, 2, mine.claim.id)
            await record(book, dataset, 2)
            await pass_(book, dataset)
            await record(book, dataset, 0)  # its time ran out, and without a claim anybody may
            await record(book, dataset, 1, other.claim.id)
            ended = [one.ended is not None for one in await book.read(BY, claims.listed, 9)]
            assert ended == [True, True]

    asyncio.run(work())


def test_what_fails_is_granted_again_later_and_later(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 1) as (book, dataset):
            waits = []
            for number in range(1, 4):
                mine = await claim(book, dataset)
                assert mine.claim
                assert mine.releases[0].failures == number - 1
                before = datetime.now(UTC)
                told = Return("failed", error=f"no disk {number}")
                ended = await book.write(BY, claims.give_back, mine.claim.id, told)
                assert ended.ended
                # A repetition counts nothing.
                assert await book.write(BY, claims.give_back, mine.claim.id, told) == ended
                [one] = await rows(book, dataset)
                assert (one["failures"], one["error"]) == (number, f"no disk {number}")
                waits.append(round((one["retry_at"] - before) / timedelta(minutes=1)))
                assert (await claim(book, dataset)).claim is None
                await pass_(book, dataset, RESTED)
            assert waits == [5, 10, 20]
            mine = await claim(book, dataset)
            assert mine.claim
            told = Return("failed", error="asked to wait", retry_after=3600)
            await book.write(BY, claims.give_back, mine.claim.id, told)
            [one] = await rows(book, dataset)
            assert timedelta(minutes=59) < one["retry_at"] - datetime.now(UTC) <= timedelta(hours=1)

    asyncio.run(work())


@pytest.mark.parametrize(("failures", "hours"), [(8, 10 + 2 / 3), (9, 21 + 1 / 3), (10, 24), (10**6, 24)])
def test_the_longest_pause_is_a_day(failures: int, hours: float) -> None:
    assert claims.pause(failures) == timedelta(hours=hours)


def test_what_the_source_has_not_is_settled_with_its_reason(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 4) as (book, dataset):
            mine = await claim(book, dataset, limit=4)
            assert mine.claim
            id = mine.claim.id
            told = Return("empty", [day(1)], reason="no sales")
            still = await book.write(BY, claims.give_back, id, told)
            assert still.ended is None
            # Another outcome of it is a conflict, and changes nothing.
            with pytest.raises(Conflict, match="other facts"):
                await book.write(BY, claims.give_back, id, replace(told, outcome="unobtainable"))
            await book.write(BY, claims.give_back, id, told)
            done = await book.write(BY, claims.give_back, id, Return("done", [day(2)]))
            assert done.ended is None
            ended = await book.write(BY, claims.give_back, id, Return("unobtainable", reason="404"))
            assert ended.ended
            found = await book.read(BY, releases.of_periods, dataset, [day(n) for n in range(4)])
            said = [(p, r.state, r.reason) for p, r in sorted(found.items())]
            gone = "unobtainable", "404"
            assert said == [(day(0), *gone), (day(1), "empty", "no sales"), (day(3), *gone)]
            assert numbers(await claim(book, dataset, limit=9)) == [2]

    asyncio.run(work())


def test_a_claim_that_is_renewed_lasts_and_keeps_what_nobody_took(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 3) as (book, dataset):
            mine = await claim(book, dataset, limit=3, seconds=1)
            assert mine.claim
            longer = await book.write(BY, claims.renew, mine.claim.id, 600)
            assert longer.claim.until - datetime.now(UTC) > timedelta(minutes=9)
            assert len(longer.releases) == 3
            await record(book, dataset, 0, mine.claim.id)
            await pass_(book, dataset)
            other = await claim(book, dataset)
            assert numbers(other) == [1]
            kept = await book.write(BY, claims.renew, mine.claim.id, 600)
            assert kept.releases == [day(2)]
            assert (await claim(book, dataset)).claim is None
            with pytest.raises(Conflict, match="does not hold this period"):
                await book.write(BY, claims.give_back, mine.claim.id, Return("failed", [day(1)], error="e"))
            await pass_(book, dataset)
            await claim(book, dataset, limit=3)
            with pytest.raises(Conflict, match="others took over all that it still held"):
                await book.write(BY, claims.renew, mine.claim.id, 600)
            assert (await book.write(BY, claims.give_back, mine.claim.id, Return())).ended

    asyncio.run(work())


def test_what_was_given_back_was_not_lost_to_whoever_claimed_it_then(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 1) as (book, dataset):
            mine = await claim(book, dataset)
            assert mine.claim is not None
            await book.write(BY, claims.give_back, mine.claim.id, Return())
            assert (await claim(book, dataset)).claim is not None
            renewed = await book.write(BY, claims.renew, mine.claim.id, 60)
            assert renewed.claim.ended is not None
            assert renewed.releases == []

    asyncio.run(work())


@pytest.mark.parametrize(
    ("told", "field"),
    [
        (Return("failed"), "error"),
        (Return("empty"), "reason"),
        (Return("unobtainable", error="e", reason="r"), "error"),
        (Return("done", retry_after=3), "retry_after"),
        (Return("failed", error="e", reason="r"), "reason"),
        (Return(releases=[Period(day(1).end_date, day(1).start_date)]), "releases[0].end_date"),
    ],
)
def test_an_outcome_is_told_with_what_belongs_to_it(new_book: Any, told: Return, field: str) -> None:
    async def work() -> None:
        async with offering(new_book("sqlite"), 1) as (book, dataset):
            mine = await claim(book, dataset)
            assert mine.claim
            with pytest.raises(Invalid) as raised:
                await book.write(BY, claims.give_back, mine.claim.id, told)
            assert list(raised.value.fields) == [field]

    asyncio.run(work())


def test_a_claim_is_changed_by_its_account_or_a_maintainer(book_url: str) -> None:
    def somebody(id: int, *grants: Grant) -> Caller:
        return Caller(f"n{id}", id, scopes(grants), "record")

    ours = Grant("writer", 1)
    ann, bob, eve = somebody(7, ours), somebody(8, ours), somebody(9, Grant("writer", 99))
    boss, reader = somebody(6, Grant("maintainer", 1)), somebody(5, Grant("reader", 1))

    async def work() -> None:
        async with offering(book_url, 3) as (book, dataset):
            mine = await claim(book, dataset, ann)
            assert mine.claim
            assert mine.claim.holder == "n7"
            id = mine.claim.id
            for who, error in ((bob, Forbidden), (reader, Forbidden), (eve, NotFound)):
                with pytest.raises(error):
                    await book.write(who, claims.renew, id, 60)
                with pytest.raises(error):
                    await book.write(who, claims.give_back, id, Return())
            with pytest.raises(NotFound):
                await claim(book, dataset, eve)
            with pytest.raises(Forbidden):
                await claim(book, dataset, reader)
            assert (await book.read(eve, claims.listed, 9)) == []
            with pytest.raises(NotFound):
                await book.read(eve, claims.listed, 9, 0, dataset)
            assert [one.id for one in await book.read(reader, claims.listed, 9, 0, dataset, True)] == [id]
            await book.write(boss, claims.renew, id, 60)
            assert (await book.write(boss, claims.give_back, id, Return())).ended
            assert (await book.read(reader, claims.listed, 9, 0, dataset, True)) == []

    asyncio.run(work())


def test_the_journal_tells_who_claimed_what_and_what_became_of_it(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 7) as (book, dataset):
            mine = await claim(book, dataset, limit=5, holder="ann")
            assert mine.claim
            await book.write(BY, claims.give_back, mine.claim.id, Return("failed", [day(4)], error="no disk"))
            for number in range(4):
                await record(book, dataset, number, mine.claim.id)

            async def entries(tx: Transaction) -> list[Any]:
                return [(action, json.loads(after)) for action, after in await tx.rows(ENTRIES, {})]

            [(made, first), (_, failed), (_, last)] = await book.read(BY, entries)
            assert (made, first["holder"], first["periods"]) == ("create", "ann", 5)
            assert [day(0).start_date, day(4).end_date] == [
                datetime.fromisoformat(first["runs"][0][name]) for name in ("start_date", "end_date")
            ]
            assert (failed["outcome"], failed["error"], failed["ended"]) == ("failed", "no disk", None)
            assert last["outcome"] == "loaded"
            assert last["ended"]

    asyncio.run(work())


def test_what_was_claimed_while_a_probe_read_the_offers_stays_claimed(book_url: str) -> None:
    async def work() -> None:
        async with offering(book_url, 2) as (book, dataset):
            before = await book.read(BY, wants.existing, dataset)
            mine = await claim(book, dataset, limit=2)
            assert mine.claim

            async def probed(tx: Transaction) -> None:
                held = await hold(tx, dataset)
                await wants.put(tx, dataset, held.widest, before, list(before.values()))

            await book.write(BY, probed)
            assert (await claim(book, dataset, limit=2)).claim is None
            assert {one["claim_id"] for one in await rows(book, dataset)} == {mine.claim.id}

    asyncio.run(work())
