"""What a run does about what is missing: it tells what the source offers, and claims what it loads.

Each release is claimed by the task that loads it, so that no other does too, whatever started it. A task that
is tried again takes up its release by a claim of its own, so that an earlier try that is not quite dead can
no longer record.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from ..client import ObservatoryApi
from ..client.claims import HeldClaim, failure, in_one_line
from ..errors import Conflict, ObservatoryError, Unavailable
from ..intervals import Period
from ..leases import GivenBack, Order, Return
from ..records import Claim, DatasetRelease, Outcome, Run
from ..wants import Missing, Probed
from .releases import Release, offer_of, run_of

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Release)

# Airflow ends a task that takes too long by an error that is no Exception.
FAILURES = (Exception, AirflowTaskTimeout)
NAMED = ("dag_id", "run_id", "task_id", "map_index")  # what a task is known by, in whichever try
LONGEST_RUN = 150  # characters of what a run is called by in what others are told of who holds a claim


class Settled(AirflowSkipException):
    """The release is in the book already."""


class Empty(AirflowSkipException):
    """Nothing was published for the period of a release: raised by who loads it, with the reason."""

    outcome: GivenBack = "empty"


class Unobtainable(AirflowSkipException):
    """The source no longer has a release: raised by who loads it, with the reason."""

    outcome: GivenBack = "unobtainable"


def probe(
    api: ObservatoryApi, dataset_id: int, offered: Callable[[], Iterable[R]], sees_all: bool
) -> tuple[list[R], Probed]:
    """Tells the book what a source offers now, and returns that by period, and what it changed.

    That the source could not be looked at is told too, and raised.
    """
    try:
        found = sorted(offered(), key=lambda release: release.period)
        if not found:
            # It did have some: this is an outage, and to end well here would hide it.
            raise Unavailable("the source offers nothing at all; try again later")
        outcome: Outcome = "complete" if sees_all else "partial"
        return found, api.probe(dataset_id, map(offer_of, found), outcome=outcome)
    except FAILURES as error:
        # Where the book is what is away, it is the first error that tells so.
        with suppress(ObservatoryError):
            api.probe(dataset_id, outcome="failed", error=in_one_line(error))
        raise


def missing_of(api: ObservatoryApi, dataset_id: int, releases: Sequence[Release]) -> list[Missing]:
    """Returns what the book says is missing of these releases, by period."""
    periods = {release.period for release in releases}
    if not periods:
        return []
    found = api.get_missing(dataset_id=dataset_id, start_date=min(one.start_date for one in releases))
    return [one for one in found if Period(one.start_date, one.end_date) in periods]


def loadable(missing: Sequence[Missing], run: Run, now: datetime) -> list[Missing]:
    """Returns what a run may load now: what no other run holds, and what did not fail a short while ago."""

    def is_free(one: Missing) -> bool:
        is_held = one.claimed_until is not None and not _is_of(run, one)
        return not is_held and (one.retry_at is None or one.retry_at <= now or _is_of(run, one))

    return [one for one in missing if is_free(one)]


def chosen(releases: Sequence[R], missing: Sequence[Missing], order: Order, limit: int) -> list[R]:
    """Returns the releases that are missing, the oldest or newest first, and no more than the limit."""
    periods = {Period(one.start_date, one.end_date) for one in missing}
    found = [release for release in releases if release.period in periods]
    found.sort(key=lambda release: release.period, reverse=order == "newest")
    return found[:limit]


@contextmanager
def claimed(
    api: ObservatoryApi, dataset_id: int, period: Period, context: Context, seconds: int = 900
) -> Iterator[HeldClaim]:
    """Claims the release of a period while a `with` statement lasts, which loads and records it.

    Where it fails for the last time, the release is given back with the error; before that it is kept for the
    next try. What is not recorded in the end is given back too; where Empty or Unobtainable is raised, it is
    recorded so. Raises Settled where the release is not missing, AirflowSkipException where others load it.
    """
    run, attempt = run_of(context), context["ti"].try_number
    granted = _claim(api, dataset_id, period, run, attempt, seconds)
    with HeldClaim(api, granted, [period], seconds) as claim:
        try:
            yield claim
        except (Empty, Unobtainable) as told:
            api.give_back_claim(granted, Return(told.outcome, reason=in_one_line(str(told))))
            raise
        except AirflowSkipException:
            api.give_back_claim(granted)
            raise
        except FAILURES as error:
            if _is_last(context, error):
                _give_up(api, granted, error)
            raise
        # What was recorded is not held any more. If anything else is, it runs out by itself.
        with suppress(ObservatoryError):
            api.give_back_claim(granted)


def recorded_by(api: ObservatoryApi, dataset_id: int, period: Period, run: Run) -> DatasetRelease | None:
    """Returns the release of a period if this very task recorded it, in an earlier try."""

    def is_own(by: object) -> bool:
        return isinstance(by, Run) and all(getattr(by, name) == getattr(run, name) for name in NAMED)

    found = api.get_dataset_releases(
        dataset_id=dataset_id, start_date=period.start_date, end_date=period.until
    )
    return next((one for one in found if one.period == period and is_own(one.run)), None)


def why_not(missing: Sequence[Missing]) -> str:
    """Returns who holds what is missing, and when what failed is tried again."""
    held = sorted({(one.holder, one.claimed_until) for one in missing if one.claimed_until})
    said = [f"{holder} loads it until {until:%Y-%m-%d %H:%M}" for holder, until in held]
    failed = [one.retry_at for one in missing if one.retry_at and not one.claimed_until]
    if failed:
        said.append(f"{len(failed)} failed, tried again from {min(failed):%Y-%m-%d %H:%M} UTC on")
    return "; ".join(said) or "it was loaded just now"


def _claim(
    api: ObservatoryApi, dataset_id: int, period: Period, run: Run, attempt: int, seconds: int
) -> Claim:
    """Takes a period, also from an earlier try of the same run, and returns the claim."""
    holder = f"{_named(run)}try {attempt}"
    for _ in range(2):
        granted = api.claim(dataset_id, holder=holder, seconds=seconds, releases=[period])
        if granted.claim is not None:
            return granted.claim
        start, end = period.start_date, period.end_date
        found = api.get_missing(dataset_id=dataset_id, start_date=start, end_date=end)
        rows = [one for one in found if Period(one.start_date, one.end_date) == period]
        if not rows:
            raise Settled("it is in the book already")
        if not (_is_of(run, rows[0]) and attempt > 1 and rows[0].claim_id):
            raise AirflowSkipException(why_not(rows))
        # Whoever took it over in between has it, which the next claim tells.
        with suppress(Conflict):
            api.give_back_claim(rows[0].claim_id, releases=[period])
    raise AirflowSkipException("others load it")


def _is_last(context: Context, error: BaseException) -> bool:
    """Tells whether Airflow does not try the task again after this error."""
    task = context["ti"]
    return isinstance(error, AirflowFailException) or task.try_number > task.max_tries


def _give_up(api: ObservatoryApi, claim: Claim, error: BaseException) -> None:
    try:
        api.give_back_claim(claim, failure(error))
    except ObservatoryError as unsaid:
        # What went wrong first is what is raised; the claim then runs out by itself.
        error.add_note(f"claim {claim.id} could not be given back: {unsaid}")


def _is_of(run: Run, missing: Missing) -> bool:
    return missing.claimed_until is not None and (missing.holder or "").startswith(_named(run))


def _named(run: Run) -> str:
    """Returns what a holder is called by, up to the number of the try: no other run's begins so."""
    name = f"{run.dag_id}, run {run.run_id}"
    if len(name) > LONGEST_RUN:
        name = f"{name[: LONGEST_RUN - 9]}~{sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}, "
