"""What should be there: offers of a source and probes of it, what is missing and why, how it stands."""

from typing import Annotated

import msgspec
from msgspec import Meta

from .intervals import Moment, Period
from .records import CANDIDATES, Count, Dataset, Extras, Line, Outcome, Reason, Status


class DatasetStatus(msgspec.Struct, gc=False):
    """How it stands with a dataset, and what the last probe of its source came to.

    `newest` is the end of its newest settled period, and `lag` how many seconds ago that is; `late_since`
    when the first period that is missing became late.
    """

    dataset: Dataset
    status: Status
    newest: Moment | None
    lag: float | None
    late_since: Moment | None
    probed: Moment | None = None
    probe_outcome: Outcome | None = None
    probe_error: str | None = None


class Offer(msgspec.Struct, gc=False, omit_defaults=True):
    """A release that a source says it has: its period, and what the source tells of it.

    `size` is in bytes, `digest` as the source spells it, such as "sha256:…".
    """

    start_date: Moment
    end_date: Moment
    version_label: Line | None = None
    published: Moment | None = None
    size: Count | None = None
    digest: Line | None = None
    extras: Extras | None = None


class Offered(Offer, gc=False, omit_defaults=True):
    """An offer as the book knows it: when it was first and last seen, and since when it is gone.

    `restated` is when the source was seen to offer something else than what had been loaded.
    """

    first_seen: Moment | None = None
    last_seen: Moment | None = None
    gone: Moment | None = None
    restated: Moment | None = None


class Withdrawal(msgspec.Struct):
    """A period of which all releases are withdrawn, as far as they lie within it, and why."""

    start_date: Moment
    end_date: Moment
    reason: Annotated[Line, Meta(min_length=1)]

    @property
    def period(self) -> Period:
        """The period of which they are withdrawn."""
        return Period(self.start_date, self.end_date)


class Probe(msgspec.Struct, omit_defaults=True):
    """What somebody saw who looked at a source: everything it has, a part of it, or nothing but an `error`.

    Only a complete probe withdraws offers; one that would withdraw too many at once needs `confirm`.
    `observed` is when it was looked at, by default now.
    """

    outcome: Outcome
    offers: Annotated[list[Offer], Meta(max_length=CANDIDATES)] = []
    observed: Moment | None = None
    error: Line | None = None
    confirm: bool = False


class Probed(msgspec.Struct):
    """What a probe changed: how many offers are new, changed, back, gone, restated after they were loaded.

    `offers` is how many the source has now, as far as is known.
    """

    outcome: Outcome
    observed: Moment
    offers: int
    new: int = 0
    changed: int = 0
    returned: int = 0
    gone: int = 0
    restated: int = 0


class Missing(msgspec.Struct, gc=False, omit_defaults=True):
    """A period that should be there and is not, since when, and why.

    `note` is why it was withdrawn, or what went wrong when it was loaded last; `late` from when on it is
    late, if it is expected. What the source tells of it is told too, and who holds it by a claim.
    """

    dataset: Dataset
    start_date: Moment
    end_date: Moment
    reason: Reason
    since: Moment
    note: str | None = None
    late: Moment | None = None
    version_label: str | None = None
    published: Moment | None = None
    size: int | None = None
    digest: str | None = None
    extras: Extras | None = None
    failures: int = 0
    retry_at: Moment | None = None
    claim_id: int | None = None
    holder: str | None = None
    claimed_until: Moment | None = None


class MissingRun(msgspec.Struct, gc=False, omit_defaults=True):
    """Periods of a dataset that are missing one after another for the same reason, the first `since` when.

    Where they are snapshots, `end_date` is the moment of the last.
    """

    dataset: Dataset
    start_date: Moment
    end_date: Moment
    periods: int
    reason: Reason
    since: Moment
    note: str | None = None
    are_snapshots: bool = False


class MissingPage(msgspec.Struct):
    """What is missing: how many periods for each reason, and a page of the runs or of the periods.

    Both are of the moment `time`. A page that is not the last has `after` for the next one; the first alone
    has the counts.
    """

    time: Moment
    counts: dict[Reason, int]
    runs: list[MissingRun] = []
    periods: list[Missing] = []
    after: str | None = None
