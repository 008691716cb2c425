"""What of a dataset was missing at a time, and why: by what is wanted of it, and what was settled then.

What was settled or withdrawn is rebuilt from the journal. Offers and expectations are those that are known
now, as far as they were there then: that an offer was gone for a while in between is not known any more, nor
what a cadence expected that was replaced. Of restatements only what is still to be loaded is known. Claims
and failures are not told: a period has the reason that it had without them.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from ..errors import Invalid
from ..intervals import Period, merge
from ..records import SETTLED, Dataset, DatasetRelease, Reason
from ..wants import Missing, MissingPage, MissingRun
from . import history, lists, wanted
from .database import Transaction
from .edges import BEGINS, TOUCHES
from .missing import said
from .missing_rows import Asked, Place
from .missing_runs import Run, grow
from .spots import AHEAD, Spot
from .wanted import Want

ALL = 2**62


class Then(NamedTuple):
    """What was settled at a time, and what was withdrawn: when, and for which reason."""

    time: datetime
    settled: frozenset[Period]
    withdrawn: Mapping[Period, tuple[datetime, str | None]]


class Gap(NamedTuple):
    """What was missing at a time, or was to be later; where it is among the others, and what is wanted."""

    spot: Spot
    want: Want


async def missing(
    tx: Transaction, asked: Asked, as_of: datetime, runs: bool, limit: int, after: Place | None = None
) -> MissingPage:
    """Returns a page of what was missing of a dataset at a time; the first page with the counts.

    It reads all releases of the dataset. Raises Invalid where the time is to come or before the journal
    began, or where not one dataset is asked for; NotFound where it was not there for the caller.
    """
    if as_of > tx.now:
        raise Invalid("nobody knows what will be missing", {"as_of": "must not be in the future"})
    if asked.stale:
        raise Invalid("nobody knows what was stale", {"stale": "cannot be asked for with as_of"})
    if asked.dataset_id is None or asked[1:4] != (None, None, None):
        cure = "is required with as_of, and no workflow, organisation or tag"
        raise Invalid("as_of asks what was missing of one dataset", {"dataset_id": cure})
    released = await history.releases(tx, lists.Wanted(asked.dataset_id, history=True, limit=ALL), as_of)
    dataset = await history.fetch(tx, Dataset, asked.dataset_id, as_of)
    wants = await wanted.existing(tx, asked.dataset_id)
    found = gaps(asked.dataset_id, wants.values(), then(released, as_of))
    return page(Dataset(id=dataset.id, name=dataset.name), found, asked, as_of, runs, limit, after)


def then(released: Iterable[DatasetRelease], time: datetime) -> Then:
    """Returns what releases, as they were at a time, had settled, and which were withdrawn."""
    settled, withdrawn = set(), {}
    for one in released:
        if one.state in SETTLED:
            settled.add(one.period)
        elif one.state == "withdrawn":
            withdrawn[one.period] = (one.modified, one.reason or None)
    return Then(time, frozenset(settled), withdrawn)


def gaps(dataset_id: int, wants: Iterable[Want], then: Then) -> list[Gap]:
    """Returns what was missing at a time or was to be later, in order."""
    covered = merge(one for one in then.settled if not one.is_instant)
    begins = [run.start_date for run in covered]
    starts = sorted(one.start_date for one in then.settled)
    found: list[Gap] = []
    for now in sorted(wants, key=lambda one: one.period):
        want = _as_it_was(now, then)
        at = bisect_right(begins, want.start_date) - 1
        is_covered = at >= 0 and not want.period.is_instant and covered[at].end_date >= want.end_date
        if (since := _since(want, want.period in then.settled, is_covered)) is None:
            continue
        # A run of snapshots goes on where nothing that is settled begins between two of them.
        before = bisect_right(starts, found[-1].want.start_date) if found else -1
        edge = BEGINS | TOUCHES if before == bisect_left(starts, want.start_date) else BEGINS
        reason = AHEAD if since > then.time else _reason(want, then.time)
        note = want.reason if want.withdrawn else None
        ends = (want.start_date, want.end_date)
        found.append(Gap(Spot(dataset_id, *ends, edge, reason, note, since, False), want))
    return found


def page(
    dataset: Dataset,
    found: Sequence[Gap],
    asked: Asked,
    time: datetime,
    runs: bool,
    limit: int,
    after: Place | None,
) -> MissingPage:
    """Returns what of this is asked for, behind a place; where there is none, with the counts."""
    touching = [gap for gap in found if _touches(gap.want.period, asked.span)]
    told = [gap for gap in touching if _is_asked(gap.spot, asked)]
    made = MissingPage(time, {} if after else Counter(cast(Reason, gap.spot.reason) for gap in told))
    # Behind a place, as the list of now does: what is left of a run is one by itself.
    behind = [gap for gap in (touching if runs else told) if after is None or gap.spot.place > after]
    last: Place | None = None
    if runs:
        grown: list[Run] = []
        grow(grown, (gap.spot for gap in behind), is_whole=True)
        these = [run for run in grown if _is_asked(run.first, asked)]
        made.runs = [_told(dataset, run) for run in these[:limit]]
        last = these[limit - 1].last.place if len(these) > limit else None
    else:
        made.periods = [_period(dataset, gap) for gap in behind[:limit]]
        last = behind[limit - 1].spot.place if len(behind) > limit else None
    made.after = last and said(last)
    return made


def _as_it_was(now: Want, then: Then) -> Want:
    """Returns what was wanted of a period at a time."""

    def until(moment: datetime | None) -> datetime | None:
        return moment if moment and moment <= then.time else None

    want = now._replace(
        first_seen=until(now.first_seen),
        gone=until(now.gone),
        restated=until(now.restated),
        withdrawn=until(now.withdrawn),
    )
    if want.withdrawn is None and now.period in then.withdrawn:
        when, reason = then.withdrawn[now.period]
        want = want._replace(withdrawn=when, reason=reason)
    return want


def _since(want: Want, is_settled: bool, is_covered: bool) -> datetime | None:
    if is_settled:
        return want.restated
    if want.withdrawn:
        return want.withdrawn
    offered = want.first_seen if want.gone is None else None
    moments = [offered, None if is_covered else want.due]
    return min((moment for moment in moments if moment), default=None)


def _reason(want: Want, time: datetime) -> Reason:
    """Returns why a period was missing: in the order in which the list of now tells it."""
    if want.withdrawn:
        return "withdrawn"
    if want.restated:
        return "restated"
    if want.late and want.late <= time:
        return "late"
    return "offered" if want.first_seen and want.gone is None else "expected"


def _is_asked(spot: Spot, asked: Asked) -> bool:
    return spot.reason in asked.reasons if asked.reasons else spot.reason != AHEAD


def _touches(period: Period, span: Period | None) -> bool:
    if span is None:
        return True
    is_behind = period.end_date > span.start_date or period.start_date >= span.start_date
    return period.start_date < span.until and is_behind


def _told(dataset: Dataset, run: Run) -> MissingRun:
    first, reason = run.first, cast(Reason, run.first.reason)
    return MissingRun(
        dataset,
        first.start,
        run.last.end,
        run.periods,
        reason,
        first.since,
        first.note,
        first.start == first.end,
    )


def _period(dataset: Dataset, gap: Gap) -> Missing:
    spot, want = gap
    made = Missing(dataset, spot.start, spot.end, cast(Reason, spot.reason), spot.since, spot.note, want.late)
    made.version_label, made.published, made.size = want.version_label, want.published, want.size
    made.digest, made.extras = want.digest, want.extras
    return made
