"""Claiming what is missing, so that nobody else loads it too, and letting go of it, whatever happens."""

import os
import threading
from collections.abc import Iterable
from copy import copy
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self, overload
from uuid import uuid4

from ..errors import Conflict, NotFound, ObservatoryError
from ..intervals import Period
from ..leases import Claiming, Granted, Order, Renewal, Renewed, Return, ToLoad
from ..records import Claim, Dataset, DatasetRelease, Reason
from ..rules import normal
from .connection import Connection, number, time_text

LONGEST_ERROR = 2000  # characters that the book keeps
Releasing = DatasetRelease | Period | tuple[date, date]


class Claims(Connection):
    """The methods of claims."""

    def claim(
        self,
        dataset_id: int,
        limit: int = 1,
        *,
        holder: str | None = None,
        seconds: int = 900,
        order: Order = "oldest",
        start_date: date | None = None,
        end_date: date | None = None,
        reasons: Iterable[Reason] | None = None,
        releases: Iterable[Releasing] | None = None,
    ) -> Granted:
        """Takes up to `limit` of the missing periods of a dataset, at most 10,000, for so many seconds.

        What others hold, and what failed a short while ago, is passed over. Where nothing is left, the claim
        in the answer is None. A span asks for periods that touch it, `reasons` for those that are missing
        for one of these, and `releases` for just those that are named, also where they failed a short while
        ago. `holder` is whom others are told about; by default it is the account.
        """
        asked = Claiming(Dataset(id=number(dataset_id)), holder, seconds, limit, order)
        asked.start_date, asked.end_date = _moment("start_date", start_date), _moment("end_date", end_date)
        asked.reasons = None if reasons is None else list(reasons)
        asked.releases = None if releases is None else [_period(one) for one in releases]
        # Named, because a repetition would else take other periods, and nobody would load the first.
        return self._transport.call("POST", Claim.path, Granted, body=asked, token=str(uuid4()))

    def claim_releases(
        self,
        dataset_id: int,
        limit: int = 1,
        *,
        holder: str | None = None,
        seconds: int = 900,
        order: Order = "oldest",
        start_date: date | None = None,
        end_date: date | None = None,
        reasons: Iterable[Reason] | None = None,
        releases: Iterable[Releasing] | None = None,
    ) -> "ClaimedReleases":
        """Takes missing periods, as `claim` does, for the length of a `with` statement.

            with api.claim_releases(3, limit=10) as claim:
                for release in claim.releases:
                    load(release)
                    api.post_dataset_release(release, claim=claim)

        While it lasts, the claim is renewed in the background. At the end what is left of it is given back:
        as failed, with the error, where there is one, which goes on.
        """
        granted = self.claim(
            dataset_id,
            limit,
            holder=holder,
            seconds=seconds,
            order=order,
            start_date=start_date,
            end_date=end_date,
            reasons=reasons,
            releases=releases,
        )
        return ClaimedReleases(self, granted, seconds)

    def hold(self, claim: "Claimed", seconds: int = 900) -> "HeldClaim":
        """Keeps a claim that was granted earlier, as to another process, while a `with` statement runs.

        Its `periods` are those that it still holds. It is renewed at once and in the background, and not
        given back at the end. Raises Conflict where others have taken over all that it held.
        """
        renewed = self.renew_claim(claim, seconds)
        return HeldClaim(self, renewed.claim, renewed.releases, seconds)

    def renew_claim(self, claim: "Claimed", seconds: int = 900) -> Renewed:
        """Lets a claim last for so many seconds from now, and returns what it still holds.

        A claim that ran out is renewed too, for what nobody took over since. Raises Conflict where others
        have taken over all that it held.
        """
        path = f"{Claim.path}/{claim_id(claim)}/renew"
        return self._transport.call("POST", path, Renewed, body=Renewal(seconds))

    def give_back_claim(
        self,
        claim: "Claimed",
        outcome: Return | None = None,
        releases: Iterable[Releasing] | None = None,
    ) -> Claim:
        """Ends holding some of the periods of a claim, or all that are left, and says what became of them.

        They are done, unless it is told otherwise, as in `Return("failed", error="no disk")`. Raises Conflict
        for a period that somebody else took over.
        """
        told = copy(outcome or Return())
        if releases is not None:
            told.releases = [_period(one) for one in releases]
        path = f"{Claim.path}/{claim_id(claim)}/give-back"
        # Named, because a failure that is told again would else find that another has it now.
        return self._transport.call("POST", path, Claim, body=told, token=str(uuid4()))

    def get_claim(self, id: int) -> Claim:
        """Returns a claim; its dataset is named by id and name only."""
        return self._get(Claim, id)

    def get_claims(
        self, limit: int | None = None, dataset_id: int | None = None, live: bool = False
    ) -> list[Claim]:
        """Returns the claims, of a dataset if given, or only those that last now."""
        return self._list(Claim, limit, dataset_id=dataset_id, live=live or None)


class HeldClaim:
    """A claim that is renewed in the background while a `with` statement lasts.

    `periods` are those that it held at its beginning; `claim` is None where nothing was left to take. `lost`
    is the error that told that others took over all of it, once that is so: then it can be used no more.
    """

    def __init__(self, api: Claims, claim: Claim | None, periods: list[Period], seconds: int) -> None:
        self.claim = claim
        self.periods = periods
        self.lost: ObservatoryError | None = None
        self._api = api
        self._seconds = seconds
        self._is_over = threading.Event()
        self._process = os.getpid()

    def __enter__(self) -> Self:
        if self.claim is not None:
            self._renewing = threading.Thread(target=self._renew, name="observatory-claim", daemon=True)
            self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._is_mine:
            self._renewing.join()

    @property
    def id(self) -> int:
        """The id of the claim, to be shown when its releases are recorded; raises what it was `lost` by."""
        if self.lost is not None:
            raise self.lost
        if self.claim is None:
            raise NotFound("nothing was claimed, since nothing was left")
        return self.claim.id

    def fail(
        self, release: DatasetRelease, error: str | BaseException, retry_after: int | None = None
    ) -> None:
        """Gives one of the releases back as failed: it is granted again after a while, or so many seconds."""
        self._give_back(release, failure(error, retry_after))

    def empty(self, release: DatasetRelease, reason: str) -> None:
        """Records that nothing was published for the period of a release."""
        self._give_back(release, Return("empty", reason=reason))

    def unobtainable(self, release: DatasetRelease, reason: str) -> None:
        """Records that the source no longer has a release."""
        self._give_back(release, Return("unobtainable", reason=reason))

    @property
    def _is_mine(self) -> bool:
        """Whether there is a claim, and this is no copy of it in a process that was forked since."""
        return self.claim is not None and self._process == os.getpid()

    def _give_back(self, release: DatasetRelease, outcome: Return) -> None:
        self._api.give_back_claim(self.id, outcome, [release])

    def _renew(self) -> None:
        """Renews the claim whenever a third of its time is over, until all of it is over or lost."""
        assert self.claim is not None
        while not self._is_over.wait(self._seconds / 3):
            try:
                if not self._api.renew_claim(self.claim, self._seconds).releases:
                    return
            except (Conflict, NotFound) as error:
                self.lost = error
                return
            except ObservatoryError:
                pass  # the server is away: it is tried again, and the fence holds in any case


class ClaimedReleases(HeldClaim):
    """Releases that are claimed while a `with` statement lasts.

    `releases` are ready to be recorded, with what the source offers of them; `granted` says why each is
    missing and how often it failed.
    """

    def __init__(self, api: Claims, granted: Granted, seconds: int) -> None:
        periods = [Period(one.start_date, one.end_date) for one in granted.releases]
        super().__init__(api, granted.claim, periods, seconds)
        self.granted = granted.releases
        dataset = granted.claim.dataset if granted.claim else Dataset()
        self.releases = [_ready(one, dataset) for one in granted.releases]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self.claim is None or not self._is_mine:
            return
        if error is None:
            self._api.give_back_claim(self.claim)
            return
        try:
            self._api.give_back_claim(self.claim, failure(error))
        except ObservatoryError as unsaid:
            # What went wrong first is what the caller must see; the claim then runs out by itself.
            error.add_note(f"claim {self.claim.id} could not be given back: {unsaid}")


Claimed = Claim | HeldClaim | int


@overload
def claim_id(claim: Claimed) -> int: ...
@overload
def claim_id(claim: None) -> None: ...
@overload
def claim_id(claim: Claimed | None) -> int | None: ...
def claim_id(claim: Claimed | None) -> int | None:
    """Returns the number that is shown for a claim, if one is; raises what it was lost by."""
    return None if claim is None else number(claim if isinstance(claim, int) else claim.id)


def _moment(name: str, value: date | None) -> datetime | None:
    said = time_text(name, value)
    return None if said is None else datetime.fromisoformat(said)


def _period(given: Releasing) -> Period:
    if isinstance(given, Period):
        given = given.start_date, given.end_date
    if isinstance(given, tuple):
        given = DatasetRelease(start_date=given[0], end_date=given[1])  # type: ignore[arg-type] # made a time
    return normal(given).period


def _ready(granted: ToLoad, dataset: Dataset) -> DatasetRelease:
    facts = {name: getattr(granted, name) for name in ("version_label", "published", "digest", "extras")}
    told: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    return DatasetRelease(dataset=dataset, start_date=granted.start_date, end_date=granted.end_date, **told)


def failure(error: str | BaseException, retry_after: int | None = None) -> Return:
    """Returns that something failed with an error, as the book keeps it: in one line."""
    return Return("failed", error=in_one_line(error), retry_after=retry_after)


def in_one_line(error: str | BaseException) -> str:
    """Returns an error in one line, of as many characters as the book keeps."""
    told = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return "".join(letter for letter in " ".join(told.split()) if letter.isprintable())[:LONGEST_ERROR]
