"""Withdrawing all releases of a period at once: what was found bad is to be loaded again."""

from copy import copy
from typing import Any

from sqlalchemy import Update, bindparam, update

from ..errors import Invalid
from ..records import BATCH, SETTLED, DatasetRelease
from ..rules import period
from ..wants import Withdrawal
from . import inputs, journal, status, wanted
from .coverage import among as in_states
from .coverage import uncover
from .database import Transaction
from .holdings import hold
from .releases import RELEASES, read
from .statements import Statement, among
from .tables import MOMENT
from .tables import dataset_releases as table

WITHIN = Statement(
    RELEASES.where(
        table.c.dataset_id == bindparam("dataset"),
        table.c.start_date.between(bindparam("start"), bindparam("end")),
        table.c.end_date <= bindparam("end"),
        in_states(SETTLED),
    )
    .order_by(table.c.start_date, table.c.end_date)
    .limit(bindparam("limit"))
)


def _withdraw(sqlite: bool) -> Update:
    changed = update(table).where(among(table.c.id, "ids", sqlite))
    now: Any = bindparam("now", type_=MOMENT)
    new = {"state": "withdrawn", "reason": bindparam("reason"), "modified": now}
    return changed.values(**new, version=table.c.version + 1)


WITHDRAW = Statement(_withdraw(sqlite=False), _withdraw(sqlite=True))
_ORDER = (table.c.start_date, table.c.end_date)
THESE = Statement(
    RELEASES.where(among(table.c.id, "ids", sqlite=False)).order_by(*_ORDER),
    RELEASES.where(among(table.c.id, "ids", sqlite=True)).order_by(*_ORDER),
)


async def withdraw(tx: Transaction, dataset_id: int, told: Withdrawal) -> list[DatasetRelease]:
    """Withdraws the settled releases that lie within a period, all or none, and returns them in order.

    Those that reach beyond it stay, and told again it finds none. Raises Invalid where there are more than
    10,000, NotFound where there is no such dataset.
    """
    span = period(told.period)
    held = await hold(tx, dataset_id)
    asked = {"dataset": dataset_id, "start": span.start_date, "end": span.end_date, "limit": BATCH + 1}
    found = await read(tx, WITHIN, asked)
    if len(found) > BATCH:
        cure = f"has more than {BATCH} releases: withdraw those of a part of it at a time"
        raise Invalid("so many cannot be withdrawn at once", {"end_date": cure})
    if not found:
        return []
    ids = [one.id for one in found]
    await tx.rows(WITHDRAW, {"ids": ids, "reason": told.reason, "now": tx.now})
    after, notes = [], []
    for one in found:
        changed = copy(one)
        changed.state, changed.reason, changed.modified = "withdrawn", told.reason, tx.now
        changed.version += 1
        before = journal.differences(one, ["state", "reason"])
        notes.append(journal.of_release("change", changed, held.organisation_id, before))
        after.append(changed)
    periods = [one.period for one in found]
    await uncover(tx, dataset_id, held.longest, periods)
    widest = await wanted.withdraw(tx, dataset_id, held.widest, dict.fromkeys(periods, told.reason))
    await wanted.reckon(tx, dataset_id, widest, periods)
    await status.refresh(tx, dataset_id, held)
    await journal.write(tx, notes)
    return await inputs.shown(tx, after)


async def withdrawn(tx: Transaction, ids: list[int]) -> list[DatasetRelease]:
    """Returns releases that were withdrawn, as they are now, in order."""
    return await inputs.shown(tx, await read(tx, THESE, {"ids": ids}))
