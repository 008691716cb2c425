"""What is missing and why: of one dataset or of many, as runs of periods or one by one, from one index."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, case, func, select

from ..errors import Invalid
from ..intervals import EVER
from ..records import Dataset, Organisation, Reason, Workflow
from ..wants import Missing, MissingPage
from . import catalogue, missing_stale
from .database import Transaction
from .holdings import must_exist
from .missing_rows import (
    NOW,
    PLACE,
    Asked,
    Place,
    Shape,
    W,
    behind,
    note,
    reason,
    rows_of,
    shape_of,
    values_of,
)
from .missing_runs import runs_of
from .statements import Statement, Values
from .tables import claims, datasets

STALE = "stale~"  # before a place that is among what is stale
DETAILS = ("late", "version_label", "published", "size", "digest", "extras", "failures", "retry_at")


async def missing(
    tx: Transaction, asked: Asked, runs: bool, limit: int, after: Place | None = None, counts: bool = True
) -> MissingPage:
    """Returns a page of what is missing: runs of periods, or single ones; the first page with the counts.

    To count takes longer than to list, where much is missing. The transaction is to be of one moment. Raises
    NotFound where what is asked about does not exist.
    """
    page = MissingPage(tx.now, await _counts(tx, asked) if counts and not after else {})
    last = after if after and after.stale else None
    if last is None and asked.reasons != ("stale",):
        if runs:
            page.runs, last = await runs_of(tx, asked, limit, after)
        else:
            page.periods, last = await _periods(tx, asked, limit, after)
    if _includes_stale(asked) and (last is None or last.stale):
        last = await _go_on_with_stale(tx, page, asked, runs, limit, last)
    page.after = last and said(last)
    if not (page.runs or page.periods or after):
        await _must_be_there(tx, asked)
    return page


def _includes_stale(asked: Asked) -> bool:
    return asked.stale or "stale" in asked.reasons


async def _go_on_with_stale(
    tx: Transaction, page: MissingPage, asked: Asked, runs: bool, limit: int, after: Place | None
) -> Place | None:
    """Fills a page up with what is stale, and returns behind which place the next one is, if there is one."""
    if not (room := limit - len(page.runs) - len(page.periods)):
        return Place(1, EVER.start_date, EVER.start_date, stale=True)
    if runs:
        stale_runs, last = await missing_stale.runs_of(tx, asked, room, after)
        page.runs += stale_runs
    else:
        stale_periods, last = await missing_stale.periods_of(tx, asked, room, after)
        page.periods += stale_periods
    return last


def said(place: Place) -> str:
    """Returns a place as it is told."""
    after = f"{place.dataset}~{place.start.isoformat()}~{place.end.isoformat()}"
    return f"{STALE}{after}" if place.stale else after


def place(told: str) -> Place:
    """Returns the place that was told; raises Invalid where it is none."""
    try:
        dataset, *ends = told.removeprefix(STALE).split("~")
        start, end = (datetime.fromisoformat(moment).astimezone(UTC) for moment in ends)
        found = Place(int(dataset), start, end, told.startswith(STALE))
    except (ValueError, OverflowError):
        found = None
    if found is None or not 0 < found.dataset < 2**63:
        cure = "is no place in a list: take it from the page before"
        raise Invalid("a parameter is not what is expected", {"after": cure})
    return found


async def _must_be_there(tx: Transaction, asked: Asked) -> None:
    # An empty list for what does not exist would read as "nothing is missing".
    if asked.dataset_id is not None:
        await must_exist(tx, asked.dataset_id)
    if asked.workflow_id is not None:
        await catalogue.fetch(tx, Workflow, asked.workflow_id)
    if asked.organisation_id is not None:
        await catalogue.fetch(tx, Organisation, asked.organisation_id)


async def _counts(tx: Transaction, asked: Asked) -> dict[Reason, int]:
    shape = shape_of(tx, asked)._replace(reasons=asked.reasons)
    rows = await tx.rows(_counting(shape), values_of(tx, asked))
    counts: dict[Reason, int] = {reason: periods for reason, periods in rows}  # noqa: C416 # a row has any length
    if _includes_stale(asked) and (stale := await missing_stale.count(tx, asked)):
        counts["stale"] = stale
    return counts


async def _periods(
    tx: Transaction, asked: Asked, limit: int, after: Place | None
) -> tuple[list[Missing], Place | None]:
    shape = shape_of(tx, asked)._replace(reasons=asked.reasons, behind=after is not None)
    values: Values = {**values_of(tx, asked), **behind(after), "limit": limit + 1}
    rows = await tx.rows(_paging(shape), values)
    found = [Missing(Dataset(id=dataset, name=name), *facts) for dataset, name, *facts in rows[:limit]]
    if len(rows) <= limit:
        return found, None
    last = found[-1]
    return found, Place(last.dataset.id, last.start_date, last.end_date)


@cache
def _counting(shape: Shape) -> Statement:
    def statement(sqlite: bool) -> Any:
        rows = rows_of(shape, sqlite, [reason().label("reason")]).where(W.since <= NOW).subquery("rows_")
        return select(rows.c.reason, func.count()).group_by(rows.c.reason)

    return Statement(statement(False), statement(True))


@cache
def _paging(shape: Shape) -> Statement:
    columns = [
        W.dataset_id,
        datasets.c.name,
        W.start_date,
        W.end_date,
        reason().label("reason"),
        W.since,
        note().label("note"),
        *(W[name] for name in DETAILS),
        case((W.claimed_until > NOW, W.claim_id)).label("claim_id"),
        select(claims.c.holder)
        .where(claims.c.id == W.claim_id, W.claimed_until > NOW)
        .scalar_subquery()
        .label("holder"),
        case((W.claimed_until > NOW, W.claimed_until)).label("claimed_until"),
    ]

    def statement(sqlite: bool) -> Any:
        rows = rows_of(shape, sqlite, columns).where(W.since <= NOW)
        return rows.order_by(*PLACE).limit(bindparam("limit"))

    return Statement(statement(False), statement(True))
