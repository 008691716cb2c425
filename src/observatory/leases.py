"""What is asked and answered about claims: missing periods are taken, kept for longer, and given back."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .intervals import Moment, Period
from .records import BATCH, Claim, Count, Dataset, Line, Name, Reason
from .wants import Offer

DAY = 24 * 60 * 60
Seconds = Annotated[int, Meta(ge=1, le=DAY)]
Order = Literal["oldest", "newest"]
GivenBack = Literal["done", "failed", "empty", "unobtainable"]


class Claiming(msgspec.Struct, omit_defaults=True):
    """Who takes up to `limit` of the missing periods of a dataset, for so many seconds.

    The `holder` is named in what others are told; by default it is the name of the account. A span asks for
    periods that touch it, `reasons` for those that are missing for one of these, and `releases` for just the
    periods that it names, also where they failed a short while ago.
    """

    dataset: Dataset
    holder: Name | None = None
    seconds: Seconds = 900
    limit: Annotated[int, Meta(ge=1, le=BATCH)] = 1
    order: Order = "oldest"
    start_date: Moment | None = None
    end_date: Moment | None = None
    reasons: Annotated[list[Reason], Meta(min_length=1, max_length=7)] | None = None
    releases: Annotated[list[Period], Meta(min_length=1, max_length=BATCH)] | None = None


class ToLoad(Offer, gc=False, omit_defaults=True):
    """A period that was granted: why it is missing, what the source offers, how often loading it failed."""

    reason: Reason = "expected"
    failures: Count = 0
    error: str | None = None


class Granted(msgspec.Struct):
    """What was granted: the claim, and the periods to load, in order. Without any there is no claim."""

    claim: Claim | None
    releases: list[ToLoad]


class Renewal(msgspec.Struct):
    """For how many seconds from now a claim is to last."""

    seconds: Seconds = 900


class Renewed(msgspec.Struct):
    """What a claim still holds: less than it was granted, where some is done or others have taken it over."""

    claim: Claim
    releases: list[Period]


class Return(msgspec.Struct, omit_defaults=True):
    """What became of the periods of a claim, or of those that are named, which it holds no longer.

    What `failed`, with its `error`, is granted again after a while, which doubles with each failure, or after
    `retry_after` seconds. What is `empty` or `unobtainable` is recorded so, with its `reason`.
    """

    outcome: GivenBack = "done"
    releases: Annotated[list[Period], Meta(max_length=BATCH)] | None = None
    error: Line | None = None
    retry_after: Annotated[int, Meta(ge=0, le=366 * DAY)] | None = None
    reason: Annotated[Line, Meta(min_length=1)] | None = None
