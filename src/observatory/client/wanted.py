"""What should be there: what sources offer, what is missing and why, and how it stands with datasets."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, TypeVar

from ..errors import Refused
from ..intervals import Period
from ..records import CANDIDATES, PAGE, Dataset, DatasetRelease, Outcome, Reason, Status
from ..rules import offer as normal
from ..rules import period
from ..wants import DatasetStatus, Missing, MissingPage, MissingRun, Offer, Offered, Probe, Probed, Withdrawal
from .connection import Connection, ListWasCut, number, time_text

T = TypeVar("T")
PATH, STATUSES = "missing", "statuses"


class Wanted(Connection):
    """The methods about what should be there."""

    def probe(
        self,
        dataset_id: int,
        offers: Iterable[Offer] = (),
        *,
        outcome: Outcome = "complete",
        observed: date | None = None,
        error: str | None = None,
        confirm: bool = False,
        token: str | None = None,
    ) -> Probed:
        """Tells what the source of a dataset offers now, and returns what that changed.

        `outcome` is "complete" for all it has, "partial" for what could be seen of it, "failed" where it
        could not be looked at, with its `error`: only a complete probe withdraws offers. Raises Shrunk where
        that would be too many at once; `confirm` says that the source has really dropped them. One probe
        takes at most 100,000.
        """
        told = [normal(one, f"offers[{at}].") for at, one in enumerate(offers)]
        if len(told) > CANDIDATES and outcome == "complete":
            raise Refused(f"{len(told)} offers are more than the {CANDIDATES} that one probe takes")
        when = None if observed is None else normal(Offer(observed, observed)).start_date  # type: ignore[arg-type] # a date becomes a time
        body = Probe(outcome, told, when, error, confirm)
        path = f"{Dataset.path}/{number(dataset_id)}/probes"
        return self._transport.call("POST", path, Probed, body=body, token=token)

    def withdraw_releases(
        self, dataset_id: int, start_date: date, end_date: date, reason: str, *, token: str | None = None
    ) -> list[DatasetRelease]:
        """Withdraws the releases that lie within a period, all or none, and returns those that it withdrew.

        Those that reach beyond it stay. Raises Invalid where there are more than 10,000.
        """
        span = period(Period(start_date, end_date))  # type: ignore[arg-type] # dates become times
        body = Withdrawal(span.start_date, span.end_date, reason)
        path = f"{Dataset.path}/{number(dataset_id)}/withdrawals"
        return self._transport.call("POST", path, list[DatasetRelease], body=body, token=token)

    def get_offers(self, dataset_id: int, limit: int | None = None) -> list[Offered]:
        """Returns what the source of a dataset offers or once offered, by period."""
        path = f"{Dataset.path}/{number(dataset_id)}/offers"
        return self._pages(path, Offered, limit)

    def get_missing(
        self,
        limit: int | None = None,
        *,
        dataset_id: int | None = None,
        workflow_id: int | None = None,
        organisation_id: int | None = None,
        tag: str | None = None,
        reasons: Sequence[Reason] = (),
        start_date: date | None = None,
        end_date: date | None = None,
        as_of: date | None = None,
        stale: bool = False,
    ) -> list[Missing]:
        """Returns the periods that are missing, each with its reason: of one dataset or of many.

        With `as_of` it is what was missing of one dataset at that time, without claims and failures; with
        `stale` also what was made from releases that are not current any more.
        """
        asked = _asked(
            dataset_id, workflow_id, organisation_id, tag, reasons, start_date, end_date, as_of, stale
        )
        return self._missing(asked | {"runs": "false"}, limit, lambda page: page.periods)

    def get_missing_runs(
        self,
        limit: int | None = None,
        *,
        dataset_id: int | None = None,
        workflow_id: int | None = None,
        organisation_id: int | None = None,
        tag: str | None = None,
        reasons: Sequence[Reason] = (),
        start_date: date | None = None,
        end_date: date | None = None,
        as_of: date | None = None,
        stale: bool = False,
    ) -> list[MissingRun]:
        """Returns what is missing as runs of periods that follow each other and have the same reason.

        With `as_of` it is what was missing of one dataset at that time, without claims and failures; with
        `stale` also what was made from releases that are not current any more.
        """
        asked = _asked(
            dataset_id, workflow_id, organisation_id, tag, reasons, start_date, end_date, as_of, stale
        )
        return self._missing(asked | {"runs": "true"}, limit, lambda page: page.runs)

    def count_missing(
        self,
        *,
        dataset_id: int | None = None,
        workflow_id: int | None = None,
        organisation_id: int | None = None,
        tag: str | None = None,
        reasons: Sequence[Reason] = (),
        start_date: date | None = None,
        end_date: date | None = None,
        as_of: date | None = None,
        stale: bool = False,
    ) -> dict[Reason, int]:
        """Returns how many periods are missing, by reason; with `as_of`, were at that time of one dataset."""
        asked = _asked(
            dataset_id, workflow_id, organisation_id, tag, reasons, start_date, end_date, as_of, stale
        )
        return self._transport.call("GET", PATH, MissingPage, asked=asked | {"limit": 1}).counts

    def get_statuses(
        self,
        limit: int | None = None,
        *,
        workflow_id: int | None = None,
        organisation_id: int | None = None,
        dataset_type_id: int | None = None,
        tag: str | None = None,
        status: Status | None = None,
    ) -> list[DatasetStatus]:
        """Returns how it stands with datasets, by their ids."""
        asked = {"workflow_id": workflow_id, "organisation_id": organisation_id, "status": status}
        return self._pages(STATUSES, DatasetStatus, limit, dataset_type_id=dataset_type_id, tag=tag, **asked)

    def _missing(
        self, asked: dict[str, Any], limit: int | None, listed: Callable[[MissingPage], list[T]]
    ) -> list[T]:
        """Returns what the pages list, up to the limit; warns where that cut something off."""
        found: list[T] = []
        after: str | None = None
        while True:
            size = PAGE if limit is None else min(PAGE, limit + 1 - len(found))
            place = {"limit": size, "after": after, "counts": "false"}
            page = self._transport.call("GET", PATH, MissingPage, asked=asked | place)
            found += listed(page)
            after = page.after
            if after is None or (limit is not None and len(found) > limit):
                break
        if limit is not None and len(found) > limit:
            said = f"more is missing than the limit of {limit}: leave it out for all of it"
            warnings.warn(said, ListWasCut, stacklevel=3)
        return found[:limit]


def _asked(
    dataset_id: int | None,
    workflow_id: int | None,
    organisation_id: int | None,
    tag: str | None,
    reasons: Sequence[Reason],
    start_date: date | None,
    end_date: date | None,
    as_of: date | None,
    stale: bool,
) -> dict[str, Any]:
    asked: dict[str, Any] = {"dataset_id": dataset_id, "workflow_id": workflow_id, "tag": tag}
    asked |= {"organisation_id": organisation_id, "reason": list(reasons) or None}
    asked |= {"start_date": time_text("start_date", start_date), "end_date": time_text("end_date", end_date)}
    return asked | {"as_of": time_text("as_of", as_of), "stale": "true" if stale else None}
