"""What is missing by its definition: a plain model of a dataset, of sets of periods, without any index."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from observatory import Cadence
from observatory.intervals import EVER, Period, merge
from observatory.ledger.claims import pause
from observatory.policies.cadence import expected

SETTLED = {"present", "empty", "unobtainable", "expired"}
AHEAD, FURTHER = timedelta(days=30), timedelta(days=15)


class Told(NamedTuple):
    """What a source tells of a period, or of what a release was loaded."""

    label: str | None = None
    digest: str | None = None


class Why(NamedTuple):
    """Why a period is missing, since when, and the note of it."""

    reason: str
    since: datetime
    note: str | None


@dataclass
class Offered:
    first: datetime
    told: Told
    gone: bool = False


@dataclass
class Release:
    id: int
    state: str
    told: Told


@dataclass
class Lease:
    """The last claim on a period, what became of those before it, and when it may be loaded again."""

    claim: int
    holder: str
    until: datetime | None
    failures: int = 0
    error: str | None = None
    retry: datetime | None = None


@dataclass
class Model:
    """A dataset: what its source offers, what is expected, what is settled, who holds what."""

    now: datetime
    offers: dict[Period, Offered] = field(default_factory=dict)
    cadence: Cadence | None = None
    horizon: datetime | None = None
    withdrawn: dict[Period, tuple[datetime, str]] = field(default_factory=dict)
    restated: dict[Period, datetime] = field(default_factory=dict)
    releases: dict[Period, list[Release]] = field(default_factory=dict)
    leases: dict[Period, Lease] = field(default_factory=dict)
    probed: datetime | None = None
    was_whole: bool = False

    def settled(self) -> set[Period]:
        return {p for p, revisions in self.releases.items() if any(r.state in SETTLED for r in revisions)}

    def coverage(self) -> list[Period]:
        return merge(p for p in self.settled() if not p.is_instant)

    def due(self) -> dict[Period, tuple[datetime, datetime]]:
        if self.cadence is None or self.horizon is None:
            return {}
        found = expected(self.cadence, EVER.start_date, self.horizon)
        return {Period(one.start_date, one.end_date): (one.due, one.late) for one in found}

    def sinces(self) -> dict[Period, datetime]:
        """Returns since when each period is missing, or will be."""
        due, settled, runs = self.due(), self.settled(), self.coverage()
        found = {}
        for period in {*due, *self.offers, *self.withdrawn}:
            moments = []
            if period in settled:
                moments = [self.restated[period]] if period in self.restated else []
            else:
                if period in self.offers and not self.offers[period].gone:
                    moments.append(self.offers[period].first)
                if period in due and not _covers(runs, period):
                    moments.append(due[period][0])
                if period in self.withdrawn:
                    # It was there until then.
                    moments = [self.withdrawn[period][0]]
            if moments:
                found[period] = min(moments)
        return found

    def missing(self) -> dict[Period, Why]:
        due = self.due()
        found = self.sinces().items()
        return {p: Why(*self._why(p, due, since)) for p, since in found if since <= self.now}

    def runs(self) -> list[tuple[datetime, datetime, int]]:
        """Returns the runs of what is missing: the start of the first, the end of the last, how many."""
        missing, settled = self.missing(), self.settled()
        found: list[tuple[datetime, datetime, int]] = []
        last: Period | None = None
        for period in sorted(self.sinces()):
            why = missing.get(period)
            # What is not missing yet ends a run too.
            if last and why and _goes_on(last, period, settled) and _alike(missing.get(last), why):
                start, _, periods = found.pop()
                found.append((start, period.end_date, periods + 1))
            elif why:
                found.append((period.start_date, period.end_date, 1))
            last = period
        return found

    def _why(
        self, period: Period, due: dict[Period, tuple[datetime, datetime]], since: datetime
    ) -> tuple[str, datetime, str | None]:
        lease = self.leases.get(period)
        reason, note = "expected", None
        if period in self.offers and not self.offers[period].gone:
            reason = "offered"
        if period in due and due[period][1] <= self.now:
            reason = "late"
        if period in self.restated:
            reason = "restated"
        if period in self.withdrawn:
            reason, note = "withdrawn", self.withdrawn[period][1]
        if lease and (lease.failures or lease.until):
            reason, note = "failed", lease.error if lease.failures else note
        return "claimed" if self.holds(period) else reason, since, note

    def status(self) -> tuple[str, datetime | None]:
        """Returns the status of the dataset, and since when it is late."""
        due, sinces = self.due(), self.sinces()
        late = [due[p][1] for p in sinces if p in due and p not in self.restated]
        if late and min(late) <= self.now:
            return "late", min(late)
        missing = {p: since for p, since in sinces.items() if since <= self.now}
        if any(p not in due or since != due[p][0] for p, since in missing.items()):
            return "incomplete", None
        if missing:
            return "due", None
        is_known = self.cadence or self.was_whole or any(not o.gone for o in self.offers.values())
        return "complete" if is_known else "unknown", None

    def newest(self) -> datetime | None:
        return max((p.end_date for p in self.settled()), default=None)

    # What happens to it.

    def look(self) -> None:
        if self.horizon is not None and self.horizon <= self.now + FURTHER:
            self.horizon = self.now + AHEAD

    def expect(self, cadence: Cadence | None) -> None:
        self.cadence = cadence
        self.horizon = None if cadence is None else self.now + AHEAD

    def would_withdraw(self, told: Iterable[Period], observed: datetime) -> tuple[set[Period], bool]:
        """Returns which offers a complete probe takes away, and whether that is too much at once."""
        if not self._is_latest(observed):
            return set(), False
        here = {p for p, offer in self.offers.items() if not offer.gone}
        gone = here - set(told)
        return gone, len(gone) * 5 > len(here)

    def probe(self, told: dict[Period, Told], is_whole: bool, observed: datetime) -> None:
        """Takes what a probe saw that did not fail; one that comes too late only adds what nobody knew."""
        is_latest = self._is_latest(observed)
        gone, _ = self.would_withdraw(told, observed)
        for period in gone if is_whole else ():
            self.offers[period].gone = True
        for period, now in told.items():
            before = self.offers.get(period)
            if before is None:
                self.offers[period] = Offered(observed, now)
            elif is_latest:
                self._restate(period, before.told, now, observed)
                before.told, before.gone = now, False
        self.was_whole |= is_whole and is_latest and bool(self.offers)
        self.fail_to_probe(observed)

    def fail_to_probe(self, observed: datetime) -> None:
        self.probed = max(observed, self.probed or observed)

    def record(self, period: Period, release: Release) -> None:
        """Takes a release that is the next revision of its period, and ends what was going on with it."""
        for earlier in self.releases.setdefault(period, []):
            earlier.state = "superseded"
        self.releases[period].append(release)
        self.load(period)

    def load(self, period: Period) -> None:
        self.withdrawn.pop(period, None)
        self.restated.pop(period, None)
        if lease := self.leases.get(period):
            self.leases[period] = Lease(lease.claim, lease.holder, None)

    def withdraw(self, period: Period, reason: str) -> None:
        self.releases[period][-1].state = "withdrawn"
        self.withdrawn[period] = (self.now, reason)
        self.restated.pop(period, None)

    def remove(self, period: Period) -> None:
        self.releases[period].pop()
        self.restated.pop(period, None)

    # Who holds what.

    def holds(self, period: Period) -> bool:
        lease = self.leases.get(period)
        return lease is not None and lease.until is not None and lease.until > self.now

    def held_by(self, claim: int) -> set[Period]:
        return {p for p, lease in self.leases.items() if lease.claim == claim and lease.until}

    def free(self) -> list[Period]:
        """Returns the periods that may be claimed, in order."""
        leases = self.leases
        kept_back = {p for p, lease in leases.items() if lease.retry and lease.retry > self.now}
        return sorted(p for p in self.missing() if not self.holds(p) and p not in kept_back)

    def grant(self, period: Period, claim: int, holder: str, until: datetime) -> None:
        before = self.leases.get(period)
        self.leases[period] = lease = Lease(claim, holder, until)
        if before:
            lease.failures, lease.error, lease.retry = before.failures, before.error, before.retry
            if before.until:
                lease.failures += 1
                lease.error = f"the claim of {before.holder} ran out"

    def fail(self, period: Period, error: str) -> None:
        lease = self.leases[period]
        lease.until, lease.error, lease.failures = None, error, lease.failures + 1
        lease.retry = self.now + pause(lease.failures)

    def refuses(self, period: Period, claim: int | None) -> bool:
        """Tells whether a release may not be written with this claim, or without one."""
        lease = self.leases.get(period)
        return self.holds(period) if claim is None else lease is None or lease.claim != claim

    def _is_latest(self, observed: datetime) -> bool:
        return self.probed is None or observed >= self.probed

    def _restate(self, period: Period, before: Told, now: Told, observed: datetime) -> None:
        """Notes that the source offers something else than was loaded, or again what was loaded."""
        if period not in self.settled() or before == now:
            return
        loaded = self.releases[period][-1].told
        if before.label == now.label:
            was, is_, had = before.digest, now.digest, loaded.digest
        else:
            was, is_, had = before.label or loaded.label, now.label, loaded.label
        if is_ is None:
            return
        if is_ == had:
            self.restated.pop(period, None)
        elif was is not None:
            self.restated[period] = observed


def _covers(runs: list[Period], period: Period) -> bool:
    return not period.is_instant and any(
        run.start_date <= period.start_date and period.end_date <= run.end_date for run in runs
    )


def _alike(why: Why | None, other: Why) -> bool:
    return why is not None and (why.reason, why.note) == (other.reason, other.note)


def _goes_on(last: Period, period: Period, settled: set[Period]) -> bool:
    if last.is_instant and period.is_instant:
        return not any(last.start_date < one.start_date < period.start_date for one in settled)
    return last.end_date == period.start_date and not (last.is_instant or period.is_instant)
