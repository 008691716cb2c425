"""Whatever is done to a dataset in whatever order, the book says what a plain model of it says."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from observatory import Cadence, Conflict, Dataset, DatasetRelease
from observatory.errors import Shrunk
from observatory.intervals import EVER, Period
from observatory.leases import Claiming, Return
from observatory.ledger import (
    claims,
    coverage,
    datasets,
    expecting,
    granting,
    lists,
    missing,
    missing_rows,
    missing_then,
    offers,
    releases,
    states,
    status,
    wanted,
)
from observatory.ledger.database import Transaction
from observatory.wants import MissingPage, MissingRun, Offer, Probe

from .conftest import fill, opened
from .test_wanted import DAY, DAY_0, Book
from .wanted_model import SETTLED, Model, Release, Told, Why

HOUR = timedelta(hours=1)


def days(first: int, last: int) -> Period:
    return Period(DAY_0 + first * DAY, DAY_0 + last * DAY)


PERIODS = [
    *(days(at, at + 1) for at in range(10)),  # days
    *(days(at, at) for at in (0, 1, 4)),  # snapshots
    *(Period(DAY_0 + at * HOUR, DAY_0 + (at + 1) * HOUR) for at in (24, 25, 26)),
    *(days(*ends) for ends in ((0, 3), (2, 4), (0, 7), (0, 31), (5, 40))),  # of several days, overlapping
]
CADENCES = [
    None,
    Cadence("0 0 * * *", DAY_0),
    Cadence("0 0 * * *", DAY_0, grace=86_400, exclude=[(DAY_0 + 2 * DAY).date()]),
    Cadence("0 0 * * *", DAY_0, each="snapshot", grace=7_200),
    Cadence("0 * * * *", DAY_0, expected_until=DAY_0 + 2 * DAY, grace=600),
    Cadence("0 0 1 * *", DAY_0, each="month", grace=5 * 86_400),
    Cadence("30 1 * * *", DAY_0 + 80 * DAY, timezone="Europe/London", each="day"),
    Cadence("0 * * * *", DAY_0 + 66 * DAY, timezone="America/New_York", expected_until=DAY_0 + 68 * DAY),
]
STEPS = [timedelta(minutes=10), HOUR, 7 * HOUR, DAY, 3 * DAY, 20 * DAY, 70 * DAY]
# To look for a shorter way to a failure takes longer than a test may; whoever mends it adds Phase.shrink.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
some_period = st.sampled_from(PERIODS)
some_told = st.builds(Told, st.sampled_from([None, "v1", "v2"]), st.sampled_from([None, "a", "b"]))
some_offers = st.dictionaries(some_period, some_told, max_size=12)
some_of = st.lists(some_period, min_size=1, max_size=4)

Do = Callable[[Coroutine[Any, Any, Any]], Any]
NewDataset = Callable[[], Coroutine[Any, Any, int]]


class Wanting(RuleBasedStateMachine):
    """A dataset in the book, and the model of it."""

    def __init__(self, book: Book, do: Do, new: NewDataset) -> None:
        super().__init__()
        self.book, self.do, self.new = book, do, new
        self.model = Model(DAY_0 + 3 * DAY)
        self.granted: list[int] = []

    @initialize()
    def begin(self) -> None:
        self.book.now = self.model.now
        self.dataset = self.do(self.new())

    def write(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        return self.do(self.book.write(work, *args))

    # Time

    @rule(step=st.sampled_from(STEPS), is_looked_at=st.booleans())
    def let_time_pass(self, step: timedelta, is_looked_at: bool) -> None:
        self.book.now = self.model.now = self.model.now + step
        if is_looked_at:
            self.look()

    @rule()
    def look(self) -> None:
        """As the clock of a server does, at those datasets alone of which the moment has come."""
        if self.dataset in self.do(self.book.read(status.due, 10_000)):
            self.write(expecting.look, self.dataset)
            self.model.look()

    # What should be there

    @rule(cadence=st.sampled_from(CADENCES))
    def expect(self, cadence: Cadence | None) -> None:
        self.write(datasets.change, Dataset(id=self.dataset, cadence=cadence))
        if cadence != self.model.cadence:
            self.model.expect(cadence)

    @rule(
        told=some_offers,
        outcome=st.sampled_from(["complete", "partial"]),
        confirm=st.booleans(),
        ago=st.sampled_from([timedelta(), timedelta(), HOUR, 2 * DAY]),
    )
    def probe(self, told: dict[Period, Told], outcome: Any, confirm: bool, ago: timedelta) -> None:
        observed = self.model.now - ago
        made = [Offer(p.start_date, p.end_date, t.label, digest=t.digest) for p, t in told.items()]
        probe = Probe(outcome, made, observed=observed, confirm=confirm)
        _, is_too_much = self.model.would_withdraw(told, observed)
        if outcome == "complete" and is_too_much and not confirm:
            with pytest.raises(Shrunk):
                self.write(offers.probe, self.dataset, probe)
            return
        done = self.write(offers.probe, self.dataset, probe)
        self.model.probe(told, outcome == "complete", observed)
        assert done.offers == sum(not offer.gone for offer in self.model.offers.values())

    @rule(ago=st.sampled_from([timedelta(), 2 * DAY]))
    def fail_to_probe(self, ago: timedelta) -> None:
        observed = self.model.now - ago
        self.write(offers.probe, self.dataset, Probe("failed", observed=observed, error="time-out"))
        self.model.fail_to_probe(observed)

    # What is there

    @rule(period=some_period, told=some_told, revising=st.booleans(), data=st.data())
    def record(self, period: Period, told: Told, revising: bool, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from([None, *self.granted]))
        self.record_some([(period, told)], releases.How(claim, revising))

    @rule(told=st.lists(st.tuples(some_period, some_told), max_size=8), data=st.data())
    def record_batch(self, told: list[tuple[Period, Told]], data: st.DataObject) -> None:
        self.record_some(told, releases.How(data.draw(st.sampled_from([None, *self.granted]))))

    def record_some(self, told: list[tuple[Period, Told]], how: releases.How) -> None:
        made = [self.release(period, *facts) for period, facts in told]
        outcomes = self.write(releases.record_each, made, how)
        seen: dict[Period, bool] = {}
        for (period, facts), outcome in zip(told, outcomes, strict=True):
            verdict = self.verdict(period, facts, "present", how, is_first=period not in seen)
            if seen.get(period):
                verdict = "refused"
            seen.setdefault(period, verdict == "refused")
            assert isinstance(outcome, Conflict) == (verdict in ("refused", "differs")), (verdict, outcome)
            if verdict == "new":
                assert outcome.is_new
                self.model.record(period, Release(outcome.release.id, "present", facts))

    def verdict(
        self, period: Period, told: Told, state: str, how: releases.How, is_first: bool = True
    ) -> str:
        """Returns what is to become of a release by the model."""
        model, revisions = self.model, self.model.releases.get(period)
        is_new = not revisions
        differs = False
        if revisions:
            here = revisions[-1]
            facts = zip(told, here.told, strict=True)
            differs = here.state != state or any(new is not None and new != old for new, old in facts)
            lease = model.leases.get(period)
            takes_restated = lease is not None and how.claim == lease.claim and period in model.restated
            is_anew = here.state not in SETTLED or takes_restated or (how.revising and differs)
            is_new = is_first and is_anew
        if is_new:
            return "refused" if model.refuses(period, how.claim) else "new"
        return "differs" if differs else "again"

    def release(self, period: Period, label: str | None, digest: str | None) -> DatasetRelease:
        of = {"start_date": period.start_date, "end_date": period.end_date, "version_label": label}
        return DatasetRelease(dataset=Dataset(id=self.dataset), digest=digest, **of)  # type: ignore[arg-type]

    def last(self, data: st.DataObject, *of: str) -> tuple[Period, Release] | None:
        """Returns some period that has a release in one of these states, and the last one of it."""
        found = {p: revisions[-1] for p, revisions in self.model.releases.items() if revisions}
        known = sorted(p for p, release in found.items() if release.state in of)
        period = data.draw(st.sampled_from(known)) if known else None
        return (period, found[period]) if period else None

    @rule(data=st.data(), reason=st.sampled_from(["bad file", "half of it"]))
    def withdraw(self, data: st.DataObject, reason: str) -> None:
        if found := self.last(data, *SETTLED):
            period, release = found
            self.change(release, "withdrawn", reason)
            self.model.withdraw(period, reason)

    @rule(data=st.data(), state=st.sampled_from(sorted(SETTLED)))
    def mark(self, data: st.DataObject, state: str) -> None:
        if found := self.last(data, "withdrawn", *SETTLED):
            period, release = found
            self.change(release, state, "as was found")
            if release.state == "withdrawn":
                self.model.load(period)
            release.state = state

    def change(self, release: Release, state: Any, reason: str) -> None:
        self.write(states.change, DatasetRelease(id=release.id, state=state, reason=reason))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if found := self.last(data, "withdrawn", "superseded", *SETTLED):
            self.write(states.remove, found[1].id)
            self.model.remove(found[0])

    # Who loads it

    @rule(
        limit=st.sampled_from([1, 3, 100]),
        order=st.sampled_from(["oldest", "newest"]),
        seconds=st.sampled_from([60, 3600, 86_400]),
        holder=st.sampled_from(["anna", "ben"]),
        reasons=st.none()
        | st.lists(st.sampled_from(["failed", "offered", "late", "withdrawn"]), min_size=1, max_size=3),
    )
    def claim(self, limit: int, order: Any, seconds: int, holder: str, reasons: Any) -> None:
        of = Dataset(id=self.dataset)
        asked = Claiming(of, holder, seconds, limit, order, reasons=reasons)
        granted = self.write(granting.claim, asked)
        why = self.model.missing()
        free = [p for p in self.model.free() if reasons is None or why[p].reason in reasons]
        expected = free[:limit] if order == "oldest" else free[::-1][:limit]
        assert [Period(one.start_date, one.end_date) for one in granted.releases] == sorted(expected)
        if granted.claim:
            self.granted.append(granted.claim.id)
        for period in expected:
            until = self.model.now + timedelta(seconds=seconds)
            self.model.grant(period, granted.claim.id, holder, until)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), seconds=st.sampled_from([60, 3600]))
    def renew(self, data: st.DataObject, seconds: int) -> None:
        claim = data.draw(st.sampled_from(self.granted))
        held = self.model.held_by(claim)
        try:
            renewed = self.write(claims.renew, claim, seconds)
        except Conflict:
            assert not held
            return
        assert set(renewed.releases) == held
        for period in held:
            self.model.leases[period].until = self.model.now + timedelta(seconds=seconds)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), outcome=st.sampled_from(["done", "failed"]), named=st.none() | some_of)
    def give_back(self, data: st.DataObject, outcome: Any, named: list[Period] | None) -> None:
        claim = data.draw(st.sampled_from(self.granted))
        error = "no space" if outcome == "failed" else None
        told = Return(outcome, named, error)
        if any(self.model.refuses(period, claim) for period in named or ()):
            with pytest.raises(Conflict):
                self.write(claims.give_back, claim, told)
            return
        self.write(claims.give_back, claim, told)
        for period in self.model.held_by(claim) & set(self.model.leases if named is None else named):
            if outcome == "failed":
                self.model.fail(period, "no space")
            else:
                self.model.leases[period].until = None

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), state=st.sampled_from(["empty", "unobtainable"]))
    def find_nothing_to_load(self, data: st.DataObject, state: Any) -> None:
        claim = data.draw(st.sampled_from(self.granted))
        told, held = Return(state, reason="nothing there"), self.model.held_by(claim)
        verdicts = {p: self.verdict(p, Told(), state, releases.How(claim)) for p in held}
        if {"refused", "differs"} & set(verdicts.values()):
            with pytest.raises(Conflict):
                self.write(claims.give_back, claim, told)
            return
        self.write(claims.give_back, claim, told)
        for period in (p for p, verdict in verdicts.items() if verdict == "new"):
            found = self.do(self.book.read(releases.of_periods, self.dataset, [period]))
            self.model.record(period, Release(found[period].id, state, Told()))

    # What the book says

    @invariant()
    def it_says_what_the_model_says(self) -> None:
        if not hasattr(self, "dataset"):
            return
        self.write(self.check)

    async def check_runs(self, tx: Transaction, page: MissingPage) -> None:
        asked = missing_rows.Asked(dataset_id=self.dataset)
        whole = await missing.missing(tx, asked, True, 100_000)
        assert [(run.start_date, run.end_date, run.periods) for run in whole.runs] == self.model.runs()
        _check_runs(page, whole)
        for limit in (1, 2):
            # Of all datasets, behind those that were made before.
            after: missing_rows.Place | None = missing_rows.Place(
                self.dataset - 1, EVER.end_date, EVER.end_date
            )
            parts: list[MissingRun] = []
            while after:
                part = await missing.missing(tx, missing_rows.Asked(), True, limit, after)
                parts += part.runs
                after = missing.place(part.after) if part.after else None
            assert parts == whole.runs
        for reason in {run.reason for run in whole.runs}:
            only = await missing.missing(tx, asked._replace(reasons=(reason,)), True, 100_000)
            assert only.runs == [run for run in whole.runs if run.reason == reason]
        for run in whole.runs[:2]:
            middle = run.start_date + (run.end_date - run.start_date) / 2
            within = asked._replace(span=Period(middle, middle + timedelta(days=2)))
            parts_of = [await missing.missing(tx, within, runs, 100_000) for runs in (False, True)]
            _check_runs(*parts_of)

    async def check_then(self, tx: Transaction) -> None:
        """What was missing at this moment is what is missing, but for claims and failures."""
        released = await lists.listed(tx, lists.Wanted(self.dataset, history=True, limit=100_000))
        wants = (await wanted.existing(tx, self.dataset)).values()
        found = missing_then.gaps(self.dataset, wants, missing_then.then(released, tx.now))
        told = (Dataset(id=self.dataset), found, missing_rows.Asked(), tx.now)
        page = missing_then.page(*told, False, 100_000, None)
        unclaimed = replace(self.model, leases={})
        assert {
            Period(one.start_date, one.end_date): Why(one.reason, one.since, one.note) for one in page.periods
        } == unclaimed.missing()
        whole = missing_then.page(*told, True, 100_000, None)
        assert [(run.start_date, run.end_date, run.periods) for run in whole.runs] == unclaimed.runs()
        _check_runs(page, whole)
        part = missing_then.page(*told, True, 1, None)
        if part.after:
            part.runs += missing_then.page(*told, True, 1000, missing.place(part.after)).runs
        assert part.runs == whole.runs

    async def check(self, tx: Transaction) -> None:
        asked = missing_rows.Asked(dataset_id=self.dataset)
        page = await missing.missing(tx, asked, False, 100_000)
        found = {Period(one.start_date, one.end_date): one for one in page.periods}
        told = {p: Why(one.reason, one.since, one.note) for p, one in found.items()}
        assert told == self.model.missing()
        assert page.counts == Counter(why.reason for why in told.values())
        holders = {p: one.claim_id for p, one in found.items() if one.claim_id}
        assert holders == {p: self.model.leases[p].claim for p in told if self.model.holds(p)}
        await self.check_runs(tx, page)
        await self.check_then(tx)
        covered = await coverage.covered(tx, self.dataset)
        assert covered.runs == self.model.coverage()
        assert covered.instants == sum(period.is_instant for period in self.model.settled())
        before = await wanted.existing(tx, self.dataset)
        await wanted.reckon(tx, self.dataset, 0, [EVER])
        assert await wanted.existing(tx, self.dataset) == before
        [stands] = [one for one in await status.listed(tx, {}, 100_000) if one.dataset.id == self.dataset]
        assert stands.newest == self.model.newest()
        if self.dataset not in await status.due(tx, 10_000):
            assert (stands.status, stands.late_since) == self.model.status()


def _check_runs(periods: MissingPage, runs: MissingPage) -> None:
    """The runs are the periods, in their order, each once."""
    assert runs.counts == periods.counts
    coming = iter(periods.periods)
    for run in runs.runs:
        of = [next(coming) for _ in range(run.periods)]
        assert (of[0].start_date, of[0].since, of[0].note) == (run.start_date, run.since, run.note)
        assert of[-1].end_date == run.end_date
        assert {one.start_date == one.end_date for one in of} == {run.are_snapshots}
        assert {(one.reason, one.note) for one in of} == {(run.reason, run.note)}
    assert next(coming, None) is None


@pytest.mark.parametrize(("examples", "steps"), [(30, 20), pytest.param(400, 50, marks=pytest.mark.long)])
def test_the_book_says_what_a_plain_model_says(book_url: str, examples: int, steps: int) -> None:
    [first, *_] = fill(book_url, 1, 0)
    made = iter(range(1_000_000))

    with asyncio.Runner() as runner:
        database = opened(book_url)
        book = Book(database, DAY_0)

        async def new() -> int:
            like: Dataset = await book.read(datasets.fetch, Dataset, first)
            said = {"workflow": like.workflow, "dataset_type": like.dataset_type}
            dataset = Dataset(name=f"m{next(made)}", service="s", address="a.b.c", **said)  # type: ignore[arg-type]
            return int((await book.write(datasets.create, dataset)).id)

        stack = AsyncExitStack()
        runner.run(stack.enter_async_context(database.running()))
        try:
            run_machine(
                lambda: Wanting(book, runner.run, new),  # type: ignore[arg-type]
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    phases=PHASES,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(stack.aclose())
