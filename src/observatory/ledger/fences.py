"""Who may load a period: whoever claimed it last, and without a claim anybody, while nobody holds it.

The number of a claim is its fencing token: who comes back with an earlier one, after somebody else took over,
is refused, however late.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Update,
    bindparam,
    exists,
    or_,
    select,
    tuple_,
    update,
)

from ..errors import Conflict
from ..intervals import Period
from ..records import Action, Claim, Dataset
from . import journal
from .database import Transaction
from .holdings import NAMES
from .statements import GIVEN, GIVEN_ON_SQLITE, Statement, among
from .tables import MOMENT, claims, wanted

RUNS = 1000  # so many of its runs of periods are in the entry of a claim

COLUMNS = [claims.c[field] for field in Claim.__struct_fields__ if field != "dataset"]


def marked() -> ColumnElement[bool]:
    """Returns the condition that a load of a wanted period ends something: a claim, failures, a reason."""
    w = wanted.c
    return or_(*(c.is_not(None) for c in (w.claimed_until, w.withdrawn, w.restated, w.error, w.retry_at)))


def _lock(given: FromClause) -> Select[Any]:
    w = wanted.c
    among_given = tuple_(w.start_date, w.end_date).in_(select(given.c.start_date, given.c.end_date))
    found = select(w.start_date, w.end_date, w.claim_id, w.claimed_until, marked().label("is_marked"))
    found = found.where(w.dataset_id == bindparam("dataset"), among_given)
    # Nobody claims them from here on: those who look for what is free pass over what is locked.
    return found.with_for_update(of=wanted)


def _over(sqlite: bool) -> Update:
    held = exists().where(wanted.c.claim_id == claims.c.id, wanted.c.claimed_until.is_not(None))
    over = update(claims).where(among(claims.c.id, "ids", sqlite), claims.c.ended.is_(None), ~held)
    now = bindparam("now", type_=MOMENT)
    ended = over.values(ended=now, modified=now, version=claims.c.version + 1)
    return ended.returning(*COLUMNS, claims.c.dataset_id)


LOCK = Statement(_lock(GIVEN), _lock(GIVEN_ON_SQLITE))
HOLDERS = Statement(
    select(claims.c.id, claims.c.holder).where(among(claims.c.id, "ids", sqlite=False)),
    select(claims.c.id, claims.c.holder).where(among(claims.c.id, "ids", sqlite=True)),
)
OVER = Statement(_over(sqlite=False), _over(sqlite=True))


class Owned(NamedTuple):
    """A claim, and the organisation of its dataset."""

    claim: Claim
    organisation_id: int


class Last(NamedTuple):
    """The claim that was granted last on a period, and until when it holds it."""

    claim: int | None = None
    until: datetime | None = None

    def lasts(self, now: datetime) -> bool:
        """Tells whether somebody holds the period."""
        return self.until is not None and self.until > now


NEVER = Last()


class Fenced(NamedTuple):
    """Of some periods those for which no release may be written, and why; and those that a load changes."""

    refused: dict[Period, Conflict]
    marked: list[Period]


async def fenced(tx: Transaction, dataset_id: int, periods: Sequence[Period], claim: int | None) -> Fenced:
    """Tells for which of the periods a release may be written with the claim that is shown.

    The caller holds the dataset. Until its transaction ends, nobody claims these periods.
    """
    rows = await tx.rows(LOCK, {"dataset": dataset_id, "given": list(periods)}) if periods else []
    known = {Period(start, end): Last(id, until) for start, end, id, until, _ in rows}
    found = {period: known.get(period, NEVER) for period in periods}
    refused = {period: last for period, last in found.items() if _is_refused(tx.now, claim, last)}
    ids = sorted({last.claim for last in refused.values() if last.claim is not None})
    named = await tx.rows(HOLDERS, {"ids": ids}) if ids else []
    holders = {id: holder for id, holder in named}  # noqa: C416 # a row is a sequence of any length
    why = {p: Conflict(_why(tx.now, claim, last, holders)) for p, last in refused.items()}
    return Fenced(why, [Period(start, end) for start, end, *_, is_marked in rows if is_marked])


async def loaded(tx: Transaction, claim_ids: Sequence[int]) -> None:
    """Ends those of the claims of which no period is held any more, since all that was left was recorded."""
    await journal.write(tx, [noted("change", owned, outcome="loaded") for owned in await end(tx, claim_ids)])


async def end(tx: Transaction, claim_ids: Sequence[int]) -> list[Owned]:
    """Ends those of the claims of which no period is held any more, and returns them."""
    rows = await tx.rows(OVER, {"ids": list(claim_ids), "now": tx.now})
    if not rows:
        return []
    found = await tx.rows(NAMES, {"ids": sorted({dataset_id for *_, dataset_id in rows})})
    of = {id: (Dataset(id=id, name=name), organisation_id) for id, name, organisation_id in found}
    return [Owned(Claim(*[*fields, of[dataset_id][0]]), of[dataset_id][1]) for *fields, dataset_id in rows]


def noted(action: Action, owned: Owned, **more: Any) -> journal.Note:
    """Returns the entry of a claim, with what else there is to tell."""
    claim, dataset_id = owned.claim, owned.claim.dataset.id
    told = {**msgspec.to_builtins(claim, builtin_types=(datetime,)), **more}
    after = msgspec.json.encode(told).decode()
    return journal.Note(action, Claim, claim.id, owned.organisation_id, dataset_id, None, after)


def _is_refused(now: datetime, shown: int | None, last: Last) -> bool:
    return last.lasts(now) if shown is None else shown != last.claim


def _why(now: datetime, shown: int | None, last: Last, holders: dict[int, str]) -> str:
    """Returns why a period is refused to whoever shows another claim than its last, or none."""
    why = "this period is claimed" if shown is None else f"claim {shown} does not hold this period"
    holder = holders.get(last.claim or 0, "somebody")
    if last.lasts(now):
        return f"{why}: {holder!r} holds it by claim {last.claim} until {last.until:%Y-%m-%d %H:%M:%SZ}"
    if last.claim is not None and shown is not None and shown < last.claim:
        return f"{why}: {holder!r} took it over by claim {last.claim}"
    return f"{why}, and nobody does: record it without a claim"
