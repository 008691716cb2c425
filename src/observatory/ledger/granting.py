"""Granting: who claims takes what is missing and free, and waits for nobody.

It locks rows of periods, and passes over those that others have locked, who are taking or recording them. It
then waits for nothing else, so nobody who waits for it, as whoever records just then, is waited for.
"""

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from ..errors import Invalid, NotFound
from ..intervals import EVER, Period, merge
from ..leases import Claiming, Granted, Order, ToLoad
from ..records import Claim, Dataset, is_given
from ..rules import period
from . import fences, journal
from .coverage import reaching
from .database import Transaction, row
from .fences import COLUMNS, RUNS, Owned
from .missing_rows import NOW, why
from .rights import must_act
from .statements import GIVEN, GIVEN_ON_SQLITE, Statement, Values, among
from .tables import MOMENT, claims, datasets, holdings, wanted, workflows

# In the order of the fields of ToLoad.
FACTS = ("start_date", "end_date", "version_label", "published", "size", "digest", "extras")
TO_LOAD = [*(wanted.c[name] for name in FACTS), why().label("why"), wanted.c.failures, wanted.c.error]
# Said so that only the index of the claims serves it, and not one of all that is claimed.
HELD = and_(
    wanted.c.claim_id == bindparam("claim"),
    func.coalesce(wanted.c.claimed_until.is_not(None), literal_column("false")),
)


def of_given(given: FromClause) -> ColumnElement[bool]:
    """Returns the condition that a row is that of a given period of the dataset."""
    # A list that is looked up in the index: of a join, SQLite goes through all of the dataset for each.
    among_given = tuple_(wanted.c.start_date, wanted.c.end_date).in_(
        select(given.c.start_date, given.c.end_date)
    )
    return and_(wanted.c.dataset_id == bindparam("dataset"), among_given)


def _grant(given: FromClause) -> Update:
    w = wanted.c
    ran_out = w.claimed_until.is_not(None)
    holder = select(claims.c.holder).where(claims.c.id == w.claim_id).scalar_subquery()
    error = literal_column("'the claim of '", Text) + holder + literal_column("' ran out'", Text)
    return (
        update(wanted)
        .where(of_given(given))
        .values(
            claim_id=bindparam("claim"),
            claimed_until=bindparam("until", type_=MOMENT),
            failures=w.failures + case((ran_out, literal_column("1")), else_=literal_column("0")),
            error=case((ran_out, error), else_=w.error),
        )
    )


# The dataset stays until the claim is there; nobody else waits for that.
LOOK = Statement(
    select(datasets.c.name, workflows.c.organisation_id, holdings.c.widest)
    .join_from(datasets, workflows)
    .outerjoin(holdings, holdings.c.dataset_id == datasets.c.id)
    .where(datasets.c.id == bindparam("dataset"))
    .with_for_update(read=True, key_share=True, of=datasets)
)
BEGIN = Statement(
    insert(claims)
    .values({c.name: bindparam(c.name) for c in claims.c if c.name != "id"})
    .returning(claims.c.id)
)
GRANT = Statement(_grant(GIVEN), _grant(GIVEN_ON_SQLITE))
# Read by itself, since SQLite 3.40 takes columns that are NULL for something in what an UPDATE returns.
_OF_CLAIM = select(*TO_LOAD).where(HELD).order_by(wanted.c.start_date, wanted.c.end_date)
OF_CLAIM, LOCKED = Statement(_OF_CLAIM), Statement(_OF_CLAIM.with_for_update())


async def claim(tx: Transaction, told: Claiming) -> Granted:
    """Grants some of the missing periods of a dataset, as far as there are any that nobody holds."""
    dataset_id = told.dataset.id
    if not is_given(dataset_id):
        raise Invalid("a claim is on the periods of a dataset", {"dataset.id": "is required"})
    _normal(told)
    span = _span(told)
    found = await row(tx, LOOK, {"dataset": dataset_id})
    if found is None or not tx.by.sees(found[1]):
        raise NotFound(f"Dataset {dataset_id} does not exist")
    name, organisation_id, widest = found
    must_act(tx, organisation_id, f"dataset {name!r}")
    free = await _free(tx, told, span, widest) if widest is not None else []
    if not free:
        return Granted(None, [])
    await tx.plan_once()
    until = tx.now + timedelta(seconds=told.seconds)
    made = Claim(created=tx.now, modified=tx.now, version=1, until=until, ended=None, periods=len(free))
    made.holder, made.dataset = told.holder or tx.by.account, Dataset(id=dataset_id, name=name)
    values = {c.name: getattr(made, c.name) for c in COLUMNS if c.name != "id"}
    owner = {"dataset_id": dataset_id, "account_id": tx.by.account_id}
    [[made.id]] = await tx.rows(BEGIN, values | owner)
    asked = {"claim": made.id, "until": until, "now": tx.now, "dataset": dataset_id, "given": free}
    await tx.rows(GRANT, asked)
    runs = merge(free)[:RUNS]
    await journal.write(tx, [fences.noted("create", Owned(made, organisation_id), runs=runs)])
    return Granted(made, await held(tx, made.id))


async def held(tx: Transaction, id: int, statement: Statement = OF_CLAIM) -> list[ToLoad]:
    """Returns what a claim holds, in order; with LOCKED, nobody takes it over until the transaction ends."""
    return [ToLoad(*one) for one in await tx.rows(statement, {"claim": id, "now": tx.now})]


async def _free(tx: Transaction, told: Claiming, span: Period | None, widest: int) -> list[Period]:
    """Returns the periods to grant, which are locked from here on."""
    asked: Values = {"dataset": told.dataset.id, "now": tx.now, "limit": told.limit}
    asked["reasons"] = list(told.reasons or [])
    if span:
        asked |= {"reach": reaching(span, widest), "start": span.start_date}
        asked["end"] = span.until
    if told.releases is not None:
        asked["given"] = told.releases
    found: list[Period] = []
    for has_run_out in (False, True):
        which = (span is not None, told.reasons is not None, told.releases is not None)
        statement = _pick(told.order, *which, has_run_out)
        found += [Period(start, end) for start, end in await tx.rows(statement, asked)]
    return sorted(found, reverse=told.order != "oldest")[: told.limit]


def _normal(told: Claiming) -> None:
    """Makes the times of the periods that are asked for UTC; raises Invalid for what is none."""
    if told.releases is not None:
        told.releases = [period(one, f"releases[{at}].") for at, one in enumerate(told.releases)]


def _span(told: Claiming) -> Period | None:
    if told.start_date is None and told.end_date is None:
        return None
    return period(Period(told.start_date or EVER.start_date, told.end_date or EVER.end_date))


@cache
def _pick(order: Order, in_span: bool, for_reasons: bool, given: bool, has_run_out: bool) -> Statement:
    told = (order, in_span, for_reasons, given, has_run_out)
    return Statement(_free_ones(*told, sqlite=False), _free_ones(*told, sqlite=True))


def _free_ones(
    order: Order, in_span: bool, for_reasons: bool, given: bool, has_run_out: bool, sqlite: bool
) -> Select[Any]:
    """Returns what nobody holds: either what no claim is on, or that of claims that ran out.

    Each is looked up in an index of its own, so that what others hold is not even looked at.
    """
    w = wanted.c
    # With the sign, SQLite reads them in their order, and not all that are missing to sort them.
    since = literal_column("+wanted.since", MOMENT) if sqlite else w.since
    found = select(w.start_date, w.end_date).where(
        w.dataset_id == bindparam("dataset"),
        w.since.is_not(None),
        since <= NOW,
        w.claimed_until <= NOW if has_run_out else w.claimed_until.is_(None),
    )
    if in_span:
        start: ColumnElement[datetime] = bindparam("start", type_=MOMENT)
        found = found.where(w.start_date >= bindparam("reach"), w.start_date < bindparam("end"))
        found = found.where(or_(w.end_date > start, w.start_date >= start))
    if for_reasons:
        found = found.where(among(why(), "reasons", sqlite))
    if given:
        # Who names what failed a short while ago has seen to it, as whoever clears a task has.
        found = found.where(of_given(GIVEN_ON_SQLITE if sqlite else GIVEN))
    else:
        found = found.where(or_(w.retry_at.is_(None), w.retry_at <= NOW))
    places = (w.start_date, w.end_date)
    found = found.order_by(*(places if order == "oldest" else (place.desc() for place in places)))
    # What somebody else is taking at this moment is passed over, and not waited for.
    return found.limit(bindparam("limit")).with_for_update(skip_locked=True)
