"""Taking into the book what is in storage already."""

from collections.abc import Iterable
from datetime import date
from typing import Any
from uuid import uuid4

from ..errors import Invalid
from ..intervals import Period, Step
from ..records import CANDIDATES, Adopted, Adoption, Dataset, Extras
from ..rules import period
from .connection import Connection, number


class Adopting(Connection):
    """The method by which releases are adopted."""

    def adopt_releases(
        self,
        dataset_id: int,
        periods: Iterable[Period | tuple[date, date]] | None = None,
        *,
        span: Period | tuple[date, date] | None = None,
        step: Step | None = None,
        evidence: Extras,
        reason: str,
    ) -> Adopted:
        """Records periods that are in storage already, and counts what became of them.

        They are given, up to 100,000, or as a span that is cut into hours, days, months or years of UTC where
        a `step` is given. What is there already is left as it is; so is what the book says otherwise, as of
        what was withdrawn. `evidence` says what was looked at, as {"table": …, "rows": …, "by": …}: it is
        kept in the extras of each release.
        """
        listed = None if periods is None else [_period(one, "periods.") for one in periods]
        if listed is not None and len(listed) > CANDIDATES:
            cure = f"give at most {CANDIDATES}"
            raise Invalid("so many cannot be adopted at once", {"periods": cure})
        whole = None if span is None else _period(span, "span.")
        body = Adoption(evidence, reason, listed, whole, step)
        path = f"{Dataset.path}/{number(dataset_id)}/adopt"
        # Named, so that a repetition is told what was counted the first time.
        return self._transport.call("POST", path, Adopted, body=body, token=str(uuid4()))


def _period(given: Period | tuple[Any, Any], at: str) -> Period:
    return period(given if isinstance(given, Period) else Period(*given), at)
