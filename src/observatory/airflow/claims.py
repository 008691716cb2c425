"""What a run does about what is missing: it tells what the source offers, and claims what it will load.

A claim is that of a run, and its tasks hold it one after the other, by its number. Nothing here knows how
many releases a task works on: it holds, and in the end gives back, those that it was given.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TypeVar

from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from ..client import ObservatoryApi
from ..client.claims import HeldClaim, failure, in_one_line
from ..errors import Conflict, ObservatoryError, Unavailable
from ..intervals import Period
from ..records import BATCH, Outcome, Run
from ..wants import Missing, Probed
from .releases import Release, offer_of

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Release)

# Airflow ends a task that takes too long by an error that is no Exception.
FAILURES = (Exception, AirflowTaskTimeout)
LONGEST_RUN = 200  # characters of what a holder is called by, beside the number of the try


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


def missing_of(api: ObservatoryApi, dataset_id: int, releases: Sequence[R]) -> list[Missing]:
    """Returns what the book says is missing of these releases, which are in order."""
    periods = {release.period for release in releases}
    found = api.get_missing(dataset_id=dataset_id, start_date=min(one.start_date for one in releases))
    return [one for one in found if Period(one.start_date, one.end_date) in periods]


def claim(
    api: ObservatoryApi, dataset_id: int, releases: Sequence[R], run: Run, attempt: int, seconds: int
) -> tuple[int | None, list[R]]:
    """Takes what is missing of these releases and free, and returns the claim, if any, with what it holds.

    A run that has a claim since an earlier try takes that up again.
    """
    for own in api.get_claims(dataset_id=dataset_id, live=True):
        if own.holder.startswith(_named(run)):
            held = api.renew_claim(own, seconds).releases
            break
    else:
        holder, first = f"{_named(run)}{attempt}", min(one.start_date for one in releases)
        granted = api.claim(dataset_id, BATCH, holder=holder, seconds=seconds, start_date=first)
        if granted.claim is None:
            return None, []
        own, held = granted.claim, [Period(one.start_date, one.end_date) for one in granted.releases]
    mine = [release for release in releases if release.period in set(held)]
    # What is expected, or was withdrawn, and is not offered: others may know where to get it.
    if others := set(held) - {release.period for release in mine}:
        api.give_back_claim(own, releases=others)
    return (own.id, mine) if mine else (None, [])


@contextmanager
def held(
    api: ObservatoryApi, dataset_id: int, claim_id: int, releases: Sequence[R], seconds: int
) -> Iterator[tuple[HeldClaim, list[R]]]:
    """Keeps a claim for the length of a `with` statement, with those of the releases that it still holds.

    The others are in the book by now, or somebody else's to load. Raises AirflowFailException where that is
    not so, and nobody would load them.
    """
    try:
        holding = api.hold(claim_id, seconds)
    except Conflict as error:
        log.info("%s", error)
        holding = HeldClaim(api, None, [], seconds)
    kept = set(holding.periods)
    left = [release for release in releases if release.period in kept]
    if not left:
        _must_be_done(api, dataset_id, claim_id, releases)
    with holding as claim:
        yield claim, left


def give_up(
    api: ObservatoryApi, claim_id: int, releases: Sequence[R], failed: Sequence[R], error: BaseException | str
) -> None:
    """Gives back what a claim still holds of the releases: those that failed with the error."""
    try:
        kept = set(api.renew_claim(claim_id).releases)
    except Conflict:
        return  # others have taken over all of it
    bad = [release.period for release in failed if release.period in kept]
    free = [release.period for release in releases if release.period in kept.difference(bad)]
    if bad:
        api.give_back_claim(claim_id, failure(error), bad)
    if free:
        api.give_back_claim(claim_id, releases=free)
    log.info("of claim %d, %d gave back as failed, %d as not begun", claim_id, len(bad), len(free))


def _must_be_done(api: ObservatoryApi, dataset_id: int, claim_id: int, releases: Sequence[R]) -> None:
    """Raises AirflowFailException where releases of a claim that is over are missing, and nobody's."""
    free = (
        [one for one in missing_of(api, dataset_id, releases) if one.reason != "claimed"] if releases else []
    )
    if free:
        raise AirflowFailException(
            f"claim {claim_id} is over, and {len(free)} of its releases are missing: clear the run from its "
            "first task on, which claims them anew"
        )
    log.info("Nothing is left to do of claim %d: it is in the book, or others load it", claim_id)


def _named(run: Run) -> str:
    """Returns what a holder is called by, up to the number of the try: no other run's begins so."""
    name = f"{run.dag_id}, run {run.run_id}"
    if len(name) > LONGEST_RUN:
        name = f"{name[: LONGEST_RUN - 9]}~{sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}, try "
