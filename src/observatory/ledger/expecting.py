"""What a cadence expects, written out in `wanted` ahead of time: so it becomes missing by itself."""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import bindparam, select, update

from ..intervals import EVER, Period
from ..policies.cadence import expected
from ..records import Cadence
from . import status, wanted
from .database import Transaction, row
from .holdings import Held, hold
from .statements import Statement
from .tables import datasets, holdings
from .wanted import Want

AHEAD = timedelta(days=30)  # so long at least it goes on though no server runs that would write out more

HORIZON = Statement(
    update(holdings).where(holdings.c.dataset_id == bindparam("dataset")).values(horizon=bindparam("horizon"))
)
NOW = Statement(
    select(datasets.c.cadence, holdings.c.horizon)
    .join_from(datasets, holdings)
    .where(datasets.c.id == bindparam("dataset"))
)


async def expect(tx: Transaction, dataset_id: int, cadence: Cadence | None) -> None:
    """Writes out what is expected from now on, in place of what was; nothing, where there is no cadence."""
    held = await hold(tx, dataset_id)
    horizon = None if cadence is None else tx.now + AHEAD
    found = expected(cadence, EVER.start_date, horizon) if cadence and horizon else []
    due = {Period(one.start_date, one.end_date): (one.due, one.late) for one in found}
    before = await wanted.existing(tx, dataset_id) if held.widest is not None else {}
    await _write_out(tx, dataset_id, held, before, due)
    await tx.rows(HORIZON, {"dataset": dataset_id, "horizon": horizon})
    await status.refresh(tx, dataset_id, held)


async def look(tx: Transaction, dataset_id: int) -> None:
    """Brings the status of a dataset up to date, and what is expected of it, whoever did it already."""
    held = await hold(tx, dataset_id)
    found = await row(tx, NOW, {"dataset": dataset_id})
    if found is not None and found[0] and found[1] and found[1] <= tx.now + status.FURTHER:
        cadence = msgspec.convert(found[0], Cadence)
        until = tx.now + AHEAD
        due = {
            Period(one.start_date, one.end_date): (one.due, one.late)
            for one in expected(cadence, found[1], until)
        }
        before = await wanted.existing(tx, dataset_id, list(due))
        await _write_out(tx, dataset_id, held, before, due)
        await tx.rows(HORIZON, {"dataset": dataset_id, "horizon": until})
    await status.refresh(tx, dataset_id, held)


def differing(
    before: dict[Period, Want], due: dict[Period, tuple[datetime, datetime]]
) -> tuple[list[Period], list[Want]]:
    """Returns the periods whose rows go, and the rows that come, so that just these periods are due."""
    gone, come = [], []
    for period, (at, late) in due.items():
        want = before.get(period)
        if want is None:
            come.append(Want(period.start_date, period.end_date, at, late))
        elif (want.due, want.late) != (at, late):
            gone.append(period)
            come.append(want._replace(due=at, late=late))
    for period, want in before.items():
        if want.due is not None and period not in due:
            gone.append(period)
            # What somebody else wants, or has claimed, is remembered for that.
            if want.first_seen or want.withdrawn or want.claim_id:
                come.append(want._replace(due=None, late=None))
    return gone, come


async def _write_out(
    tx: Transaction,
    dataset_id: int,
    held: Held,
    before: dict[Period, Want],
    due: dict[Period, tuple[datetime, datetime]],
) -> None:
    gone, come = differing(before, due)
    if gone or come:
        widest = await wanted.put(tx, dataset_id, held.widest, gone, come)
        await wanted.reckon(tx, dataset_id, widest, [*gone, *(want.period for want in come)])
