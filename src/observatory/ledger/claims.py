"""Claims: two that both find a period missing must not both load it.

A claim takes some of the missing periods of a dataset for a holder and a time. Its number is the fencing
token: see fences.py. It ends by itself when all of it was recorded, or when it is given back; when its time
runs out, its periods are free for others, but its holder may still record what nobody took over.

What is given back as failed is granted again after five minutes, then ten, twenty, up to a day. A period
whose claim ran out counts as a failure too, at the moment in which somebody else takes it over: so one that
kills whoever loads it is noticed. It is not kept back for that, as whoever died cannot say that the period
was the cause; the next failure that is told then waits the longer.

Whoever claims locks periods only (see granting.py). Whoever renews or gives back holds the dataset first, as
who records does: they never wait for each other crosswise.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import FromClause, Select, Update, bindparam, literal_column, select, update

from ..errors import Conflict, Forbidden, Invalid, NotFound
from ..intervals import Period, merge
from ..leases import Granted, Renewed, Return, ToLoad
from ..records import Claim, Dataset, DatasetRelease
from ..rules import period
from . import fences, journal
from .database import Transaction, row
from .fences import COLUMNS, RUNS, Owned
from .granting import HELD, LOCKED, held, of_given
from .holdings import hold, must_exist
from .missing_rows import NOW
from .releases import How, record_all
from .rights import must_act
from .statements import GIVEN, GIVEN_ON_SQLITE, Statement, Values, among
from .tables import MOMENT, claims, datasets, wanted, workflows

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(days=1)


def _failed(given: FromClause) -> Update:
    told = {"error": bindparam("error"), "retry_at": bindparam("retry_at", type_=MOMENT)}
    failed = update(wanted).where(of_given(given), HELD)
    return failed.values(claimed_until=None, failures=wanted.c.failures + literal_column("1"), **told)


def _freed(given: FromClause) -> Update:
    return update(wanted).where(of_given(given), HELD).values(claimed_until=None)


def _listed(of_dataset: bool, live: bool, restricted: bool, sqlite: bool) -> Select[Any]:
    rows = ALL.where(claims.c.id > bindparam("after"))
    if of_dataset:
        rows = rows.where(claims.c.dataset_id == bindparam("dataset"))
    if live:
        rows = rows.where(claims.c.ended.is_(None), claims.c.until > NOW)
    if restricted:
        rows = rows.where(among(workflows.c.organisation_id, "seen", sqlite))
    return rows.order_by(claims.c.id).limit(bindparam("limit"))


ALL = select(*COLUMNS, datasets.c.id, datasets.c.name, workflows.c.organisation_id, claims.c.account_id)
ALL = ALL.join_from(claims, datasets, claims.c.dataset_id == datasets.c.id).join(workflows)
ONE = Statement(ALL.where(claims.c.id == bindparam("claim")))
FAILED = Statement(_failed(GIVEN), _failed(GIVEN_ON_SQLITE))
FREED = Statement(_freed(GIVEN), _freed(GIVEN_ON_SQLITE))
LONGER = Statement(update(wanted).where(HELD).values(claimed_until=bindparam("until")))
RENEWED = Statement(
    update(claims)
    .where(claims.c.id == bindparam("claim"))
    .values(until=bindparam("until"), modified=NOW, version=claims.c.version + 1)
)


async def again(tx: Transaction, id: int | None) -> Granted | None:
    """Returns what a claim was granted and holds still; None where it is gone."""
    if id is None:
        return Granted(None, [])
    try:
        made = await fetch(tx, id)
    except NotFound:
        return None
    return Granted(made, await held(tx, id))


async def renew(tx: Transaction, id: int, seconds: int) -> Renewed:
    """Lets a claim last for so many seconds from now, and returns what it still holds.

    A claim that ran out is renewed too, for the periods that nobody took over since; one that has ended is
    answered as it is. Raises Conflict where others have taken over all that it held.
    """
    owned = await _mine(tx, id)
    kept = await held(tx, id, LOCKED)
    if kept:
        until = tx.now + timedelta(seconds=seconds)
        await tx.rows(LONGER, {"claim": id, "until": until})
        await tx.rows(RENEWED, {"claim": id, "until": until, "now": tx.now})
    elif owned.claim.ended is None:
        raise Conflict(f"claim {id} ran out, and others took over all that it still held")
    return Renewed(await fetch(tx, id), [Period(one.start_date, one.end_date) for one in kept])


async def give_back(tx: Transaction, id: int, told: Return) -> Claim:
    """Ends holding some periods of a claim, or all that are left, and notes what became of them.

    What was given back before is passed over. Raises Conflict where one that is named is not the claim's.
    """
    _check(told)
    owned = await _mine(tx, id)
    dataset_id = owned.claim.dataset.id
    named = None if told.releases is None else _named(told.releases)
    kept = {Period(one.start_date, one.end_date): one for one in await held(tx, id, LOCKED)}
    if told.outcome in ("empty", "unobtainable"):
        await _settle(tx, owned.claim, told, list(kept) if named is None else named)
        return await fetch(tx, id)
    if named and (refused := (await fences.fenced(tx, dataset_id, named, id)).refused):
        raise next(iter(refused.values()))
    back = [kept[p] for p in (kept if named is None else dict.fromkeys(named)) if p in kept]
    periods = [Period(one.start_date, one.end_date) for one in back]
    if told.outcome == "failed":
        await _fail(tx, owned.claim, told, back)
    elif back:
        await tx.rows(FREED, {"claim": id, "dataset": dataset_id, "given": periods})
    ended = await fences.end(tx, [id])
    after = await fetch(tx, id)
    if not (back or ended):
        return after
    said: dict[str, Any] = {"outcome": told.outcome, "runs": merge(periods)[:RUNS]}
    if told.error:
        said["error"] = told.error
    await journal.write(tx, [fences.noted("change", Owned(after, owned.organisation_id), **said)])
    return after


async def fetch(tx: Transaction, id: int) -> Claim:
    """Returns a claim; its dataset is named by id and name only."""
    return (await _one(tx, id))[0].claim


async def listed(
    tx: Transaction, limit: int, after: int = 0, dataset_id: int | None = None, live: bool = False
) -> list[Claim]:
    """Returns up to `limit` claims with ids above `after`, of a dataset if given, or only those that last."""
    seen = tx.by.within("read")
    statement = _page(dataset_id is not None, live, seen is not None)
    asked: Values = {"after": after, "limit": limit, "seen": sorted(seen or ()), "now": tx.now}
    rows = await tx.rows(statement, {**asked, "dataset": dataset_id})
    if not rows and dataset_id is not None:
        await must_exist(tx, dataset_id)
    return [_built(one) for one in rows]


def pause(failures: int) -> timedelta:
    """Returns for how long a period is kept back that failed so many times."""
    # 2^9 times five minutes are more than a day.
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(failures - 1, 9)))


async def _mine(tx: Transaction, id: int) -> Owned:
    """Returns a claim of the caller's, whose dataset is held from here on, so that nobody else changes it."""
    owned, account_id = await _one(tx, id)
    must_act(tx, owned.organisation_id, f"claim {id}")
    if account_id != tx.by.account_id and not tx.by.may("maintain", owned.organisation_id):
        raise Forbidden(f"claim {id} is another account's: only that one, or a maintainer, may change it")
    await hold(tx, owned.claim.dataset.id)
    return (await _one(tx, id))[0]


async def _one(tx: Transaction, id: int) -> tuple[Owned, int | None]:
    found = await row(tx, ONE, {"claim": id})
    if found is None or not tx.by.sees(found[-2]):
        raise NotFound(f"Claim {id} does not exist")
    return Owned(_built(found), found[-2]), found[-1]


def _named(periods: Sequence[Period]) -> list[Period]:
    """Returns periods in UTC; those of a body are of a stricter class, and equal to none of ours."""
    return [period(Period(p.start_date, p.end_date), f"releases[{at}].") for at, p in enumerate(periods)]


async def _settle(tx: Transaction, claim: Claim, told: Return, periods: Iterable[Period]) -> None:
    """Records periods of which the source says that there is nothing to load."""
    dataset = Dataset(id=claim.dataset.id)
    facts: Any = {"dataset": dataset, "state": told.outcome, "reason": told.reason}
    made = [DatasetRelease(start_date=p.start_date, end_date=p.end_date, **facts) for p in periods]
    await record_all(tx, made, How(claim=claim.id))


async def _fail(tx: Transaction, claim: Claim, told: Return, back: Sequence[ToLoad]) -> None:
    """Counts a failure of periods, and keeps each back for as long as it has failed often."""
    after: dict[timedelta, list[Period]] = {}
    for one in back:
        wait = pause(one.failures + 1) if told.retry_after is None else timedelta(seconds=told.retry_after)
        after.setdefault(wait, []).append(Period(one.start_date, one.end_date))
    asked = {"claim": claim.id, "dataset": claim.dataset.id, "error": told.error}
    for wait, periods in after.items():
        await tx.rows(FAILED, {**asked, "retry_at": tx.now + wait, "given": periods})


def _built(found: Sequence[Any]) -> Claim:
    *fields, dataset_id, name, _, _ = found
    return Claim(*[*fields, Dataset(id=dataset_id, name=name)])


def _check(told: Return) -> None:
    """Raises Invalid where what is told of the outcome does not fit it."""
    needed = {"failed": "error", "empty": "reason", "unobtainable": "reason"}.get(told.outcome)
    if needed and not getattr(told, needed):
        raise Invalid(f"what is given back as {told.outcome} needs its {needed}", {needed: "say why"})
    allowed = {"failed": {"error", "retry_after"}}.get(told.outcome, {needed})
    for name in ("error", "retry_after", "reason"):
        if getattr(told, name) is not None and name not in allowed:
            raise Invalid("the outcome says otherwise", {name: f"is not told of what is {told.outcome}"})


@cache
def _page(of_dataset: bool, live: bool, restricted: bool) -> Statement:
    return Statement(*(_listed(of_dataset, live, restricted, sqlite) for sqlite in (False, True)))
