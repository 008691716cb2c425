"""What should be there of a dataset, and since when each of it is missing.

A period is wanted because the source offers it, because the cadence expects it, or because it was withdrawn.
What is offered is settled by a release of just that period; what is expected also where releases cover the
whole of it, so that a month that was loaded at once leaves none of its days missing. `reckon` writes down
what follows, in the transaction of each change: so reading what is missing is reading an index.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningDelete

from ..intervals import Period
from ..records import SETTLED
from . import fences
from .coverage import among, microseconds, reaching
from .database import Transaction
from .edges import EDGES
from .statements import GIVEN, GIVEN_ON_SQLITE, InsertMany, Statement, listed_json
from .tables import MOMENT, coverage, dataset_releases, holdings, wanted

COLUMNS = [c.name for c in wanted.c if c.name != "dataset_id"]
MINE = wanted.c.dataset_id == bindparam("dataset")
PERIOD = (wanted.c.start_date, wanted.c.end_date)
FAR: ColumnElement[datetime] = literal_column("'9999-12-31T23:59:59.999999+00:00'", MOMENT)
# What is the claims', who change it without holding the dataset.
CLAIMED = ("claim_id", "claimed_until", "failures", "error", "retry_at")
# What a load ends, however it came about.
OVER = {"failures": 0, "error": None, "retry_at": None, "claimed_until": None}


class Want(NamedTuple):
    """One period that should be there: the columns of `wanted`, but for the dataset."""

    start_date: datetime
    end_date: datetime
    due: datetime | None = None
    late: datetime | None = None
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    gone: datetime | None = None
    version_label: str | None = None
    published: datetime | None = None
    size: int | None = None
    digest: str | None = None
    extras: Any = None
    restated: datetime | None = None
    withdrawn: datetime | None = None
    reason: str | None = None
    since: datetime | None = None
    claim_id: int | None = None
    claimed_until: datetime | None = None
    failures: int = 0
    error: str | None = None
    retry_at: datetime | None = None
    edge: int | None = None

    @property
    def period(self) -> Period:
        """The period that should be there."""
        return Period(self.start_date, self.end_date)


def is_settled() -> ColumnElement[bool]:
    """Returns the condition that a release of just the wanted period is settled."""
    releases = dataset_releases.c
    found = select(releases.id).where(
        releases.dataset_id == wanted.c.dataset_id,
        releases.start_date == wanted.c.start_date,
        releases.end_date == wanted.c.end_date,
        among(SETTLED),
    )
    # Not EXISTS: for many rows PostgreSQL would rather read all releases of the book first, and hash them.
    return found.limit(literal_column("1")).correlate(wanted).scalar_subquery().is_not(None)


def _is_covered() -> ColumnElement[bool]:
    """Returns the condition that one run covers the whole of a wanted period."""
    # Runs are disjoint, so only the last that begins no later can.
    earlier = coverage.alias("earlier")
    last = select(func.max(earlier.c.start_date)).where(
        earlier.c.dataset_id == wanted.c.dataset_id, earlier.c.start_date <= wanted.c.start_date
    )
    run = select(coverage.c.end_date).where(
        coverage.c.dataset_id == wanted.c.dataset_id,
        coverage.c.start_date == last.correlate(wanted).scalar_subquery(),
    )
    end = run.scalar_subquery()
    return and_(wanted.c.start_date < wanted.c.end_date, func.coalesce(end >= wanted.c.end_date, False))


def since(sqlite: bool) -> ColumnElement[datetime]:
    """Returns since when a wanted period is missing, as it follows from all else."""
    w = wanted.c
    offered = case((w.gone.is_(None), w.first_seen))
    expected = case((and_(w.due.is_not(None), ~_is_covered()), w.due))
    told = [func.coalesce(one, FAR) for one in (offered, expected)]
    least = func.min(*told) if sqlite else func.least(*told)
    # What was withdrawn was there until then, however long ago it was offered.
    return case(
        (is_settled(), w.restated), (w.withdrawn.is_not(None), w.withdrawn), else_=func.nullif(least, FAR)
    )


def _reckon(sqlite: bool) -> Update:
    follows = since(sqlite)
    touched = update(wanted).where(
        MINE,
        wanted.c.start_date.between(bindparam("reach"), bindparam("end")),
        wanted.c.end_date >= bindparam("start"),
        wanted.c.since.is_distinct_from(follows),
    )
    return touched.values(since=follows, edge=case((follows.is_not(None), wanted.c.edge)))


def _exactly(given: FromClause) -> ColumnElement[bool]:
    # A list that is looked up in the index: of a join, SQLite goes through all of the dataset for each.
    return and_(MINE, tuple_(*PERIOD).in_(select(given.c.start_date, given.c.end_date)))


def _loaded(given: FromClause) -> Update:
    loaded = update(wanted).where(_exactly(given), fences.marked())
    return loaded.values(withdrawn=None, reason=None, restated=None, **OVER).returning(wanted.c.claim_id)


def _existing(given: FromClause) -> Select[Any]:
    return select(*(wanted.c[name] for name in COLUMNS)).where(_exactly(given))


def _dropped(given: FromClause) -> ReturningDelete[Any]:
    return delete(wanted).where(_exactly(given)).returning(*PERIOD, *(wanted.c[name] for name in CLAIMED))


RECKON = Statement(_reckon(sqlite=False), _reckon(sqlite=True))
LOADED = Statement(_loaded(GIVEN), _loaded(GIVEN_ON_SQLITE))
EXISTING = Statement(_existing(GIVEN), _existing(GIVEN_ON_SQLITE))
DROP = Statement(_dropped(GIVEN), _dropped(GIVEN_ON_SQLITE))
ALL = Statement(select(*(wanted.c[name] for name in COLUMNS)).where(MINE).order_by(*PERIOD))
PUT = InsertMany(wanted, ["dataset_id", *COLUMNS])
WIDER = Statement(
    update(holdings).where(holdings.c.dataset_id == bindparam("dataset")).values(widest=bindparam("widest"))
)


async def loaded(tx: Transaction, dataset_id: int, periods: Sequence[Period]) -> None:
    """Ends what was going on with periods that were just recorded: claims, failures, why they were missing.

    The caller holds the dataset, and reckons when it is done.
    """
    rows = await tx.rows(LOADED, {"dataset": dataset_id, "given": list(periods)})
    if ended := sorted({claim for [claim] in rows if claim is not None}):
        await fences.loaded(tx, ended)


async def reckon(tx: Transaction, dataset_id: int, widest: int, periods: Iterable[Period]) -> None:
    """Writes down since when the wanted periods are missing that any of these touches.

    `widest` is the length of the longest that is wanted. The caller holds the dataset.
    """
    told = list(periods)
    if not told:
        return
    # Of the whole span at once: to look at one too many changes nothing.
    span = Period(min(p.start_date for p in told), max(p.end_date for p in told))
    asked = {"reach": reaching(span, widest), "start": span.start_date, "end": span.end_date}
    await tx.rows(RECKON, {"dataset": dataset_id, **asked})
    await tx.rows(EDGES, {"dataset": dataset_id, "reach": asked["reach"], "end": asked["end"]})


async def existing(
    tx: Transaction, dataset_id: int, periods: Sequence[Period] | None = None
) -> dict[Period, Want]:
    """Returns what is written down of these periods, or of all."""
    if periods is None:
        rows = await tx.rows(ALL, {"dataset": dataset_id})
    else:
        rows = await tx.rows(EXISTING, {"dataset": dataset_id, "given": list(periods)}) if periods else []
    return {want.period: want for want in (Want(*row) for row in rows)}


async def put(
    tx: Transaction, dataset_id: int, widest: int | None, before: Iterable[Period], wants: Sequence[Want]
) -> int:
    """Writes down what is wanted, in place of what is there of the periods `before`; returns the new widest.

    The caller holds the dataset, and reckons when it is done.
    """
    if gone := list(before):
        # Somebody may have claimed some of them since they were read, and that is to stay.
        dropped = await tx.rows(DROP, {"dataset": dataset_id, "given": gone})
        claimed = {Period(start, end): dict(zip(CLAIMED, of, strict=True)) for start, end, *of in dropped}
        wants = [want._replace(**claimed.get(want.period, {})) for want in wants]
    if wants:
        rows = [(dataset_id, *want._replace(extras=listed_json(want.extras or None))) for want in wants]
        await tx.insert(PUT, rows)
    length = max((microseconds(want.period) for want in wants), default=0)
    if widest is None or length > widest:
        widest = max(length, widest or 0)
        await tx.rows(WIDER, {"dataset": dataset_id, "widest": widest})
    return widest


async def withdraw(
    tx: Transaction, dataset_id: int, widest: int | None, reasons: dict[Period, str | None]
) -> int:
    """Writes down that periods are to be loaded again, whoever else wants them; returns the new widest.

    The caller holds the dataset, and reckons when it is done.
    """
    before = await existing(tx, dataset_id, list(reasons)) if widest is not None else {}
    wants = []
    for period, reason in reasons.items():
        want = before.get(period) or Want(period.start_date, period.end_date)
        wants.append(want._replace(withdrawn=tx.now, reason=reason, restated=None))
    return await put(tx, dataset_id, widest, before, wants)
