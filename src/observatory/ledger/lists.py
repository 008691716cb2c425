"""Releases in their order: by dataset, period and revision; and which of the available ones are missing."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from ..errors import Invalid
from ..intervals import EVER, Period
from ..records import SETTLED, DatasetRelease, State
from ..rules import period
from . import inputs
from .coverage import among, reaching
from .database import Transaction, row
from .holdings import must_exist
from .releases import RELEASES, read
from .statements import GIVEN, GIVEN_ON_SQLITE, Statement, Values
from .statements import among as among_given
from .tables import book, datasets, holdings, journal, workflows
from .tables import dataset_releases as table

ORDER = (table.c.dataset_id, table.c.start_date, table.c.end_date, table.c.revision)
LONGEST = Statement(select(holdings.c.longest).where(holdings.c.dataset_id == bindparam("dataset")))


_LAST = (
    select(journal.c.sequence)
    .where(journal.c.dataset_id == datasets.c.id, journal.c.action != literal_column("'read'"))
    .where(journal.c.kind == literal_column("'DatasetRelease'"))
    .order_by(journal.c.sequence.desc())
    .limit(1)
)
_LASTS = (
    select(
        datasets.c.id,
        func.coalesce(_LAST.scalar_subquery(), 0),
        workflows.c.organisation_id,
        book.c.catalogue,
    )
    .join_from(datasets, workflows)
    .join(book, book.c.id.is_not(None))
)
LASTS = Statement(
    _LASTS.where(among_given(datasets.c.id, "ids", sqlite=False)),
    _LASTS.where(among_given(datasets.c.id, "ids", sqlite=True)),
)


class Changed(NamedTuple):
    """The number of the last entry about a dataset's releases, whose dataset it is, and Known's catalogue."""

    number: int
    organisation_id: int
    catalogue: int


class Place(NamedTuple):
    """The place of a release in the order: a list goes on behind it, also when it is gone."""

    dataset: int
    start: datetime
    end: datetime
    revision: int


class Wanted(NamedTuple):
    """What a list of releases is asked for: by default the settled ones of all datasets."""

    dataset: int | None = None
    span: Period | None = None
    state: State | None = None
    history: bool = False
    limit: int = 100
    after: Place | None = None


async def listed(tx: Transaction, wanted: Wanted) -> list[DatasetRelease]:
    """Returns a page of releases; raises NotFound where the dataset does not exist."""
    values = await values_of(tx, wanted)
    states = (wanted.state,) if wanted.state else None if wanted.history else SETTLED
    seen = tx.by.within("read")
    # Of one dataset all is seen or nothing, which reading its name tells.
    restricted = seen is not None and wanted.dataset is None
    values["seen"] = sorted(seen or ())
    statement = _page(
        states, wanted.dataset is not None, wanted.span is not None, wanted.after is not None, restricted
    )
    found = await read(tx, statement, values)
    if not found and wanted.dataset is not None:
        # An empty list for a dataset that does not exist would read as "all is missing".
        await must_exist(tx, wanted.dataset)
    return await inputs.shown(tx, found)


async def values_of(tx: Transaction, wanted: Wanted) -> Values:
    """Returns the values of a statement that is `narrowed`."""
    values: Values = {"limit": wanted.limit}
    if wanted.dataset is not None:
        values["dataset"] = wanted.dataset
    if wanted.span:
        values |= {"since": wanted.span.start_date, "until": wanted.span.until}
        values["reach"] = await _reach(tx, wanted)
    if wanted.after:
        values |= {f"after_{name}": value for name, value in wanted.after._asdict().items()}
    return values


async def missing(tx: Transaction, dataset_id: int, available: Sequence[Period]) -> list[DatasetRelease]:
    """Returns the available periods that are not settled, once each and in order, ready to be recorded."""
    dataset = await must_exist(tx, dataset_id)
    try:
        given = [period(one) for one in available]
    except Invalid:
        # Said again with its place, which it would be dear to write out for each of them.
        given = [period(one, f"available[{at}].") for at, one in enumerate(available)]
    rows = await tx.rows(MISSING, {"dataset": dataset_id, "given": given}) if given else []
    return [DatasetRelease(start_date=start, end_date=end, dataset=dataset) for start, end in rows]


async def last_changes(tx: Transaction, dataset_ids: Sequence[int]) -> dict[int, Changed]:
    """Returns of datasets which entry about their releases is the last, whoever may see it.

    Those who change them do it one after another, so no earlier number can follow. It could follow one about
    the dataset itself, whose changes are counted with those of the catalogue.
    """
    return {id: Changed(*of) for id, *of in await tx.rows(LASTS, {"ids": dataset_ids})}


def place_of(release: DatasetRelease) -> Place:
    """Returns the place of a release in the order."""
    return Place(release.dataset.id, release.start_date, release.end_date, release.revision)


async def _reach(tx: Transaction, wanted: Wanted) -> datetime:
    """Returns the earliest start of what can touch the span: with it the index is read from there."""
    assert wanted.span is not None
    if wanted.dataset is None:
        return EVER.start_date
    found = await row(tx, LONGEST, {"dataset": wanted.dataset})
    return reaching(wanted.span, found[0] if found else 0)


def narrowed(rows: Select[Any], of_dataset: bool, in_span: bool, behind: bool) -> Select[Any]:
    """Returns the rows that are of a dataset, touch a span, and are behind a place."""
    start, end = table.c.start_date, table.c.end_date
    if of_dataset:
        rows = rows.where(table.c.dataset_id == bindparam("dataset"))
    if in_span:
        rows = rows.where(start >= bindparam("reach"), start < bindparam("until"))
        rows = rows.where(or_(end > bindparam("since"), start >= bindparam("since")))
    if behind:
        # With one dataset its id is left out of the comparison: the index then serves the rest of it.
        place = [
            bindparam(f"after_{name}", type_=c.type) for name, c in zip(Place._fields, ORDER, strict=True)
        ]
        skip = 1 if of_dataset else 0
        rows = rows.where(tuple_(*ORDER[skip:]) > tuple_(*place[skip:]))
    return rows


@cache
def _page(
    states: tuple[State, ...] | None, of_dataset: bool, in_span: bool, behind: bool, restricted: bool
) -> Statement:
    rows: Select[Any] = RELEASES.order_by(*ORDER).limit(bindparam("limit"))
    if states:
        rows = rows.where(among(states))
    rows = narrowed(rows, of_dataset, in_span, behind)
    if not restricted:
        return Statement(rows)
    return Statement(rows.where(_seen(sqlite=False)), rows.where(_seen(sqlite=True)))


def _seen(sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition that a release is of an organisation that the caller may see."""
    theirs = select(datasets.c.id).join(workflows)
    return table.c.dataset_id.in_(theirs.where(among_given(workflows.c.organisation_id, "seen", sqlite)))


def _missing(given: FromClause) -> Select[tuple[datetime, datetime]]:
    settled = exists().where(
        table.c.dataset_id == bindparam("dataset"),
        table.c.start_date == given.c.start_date,
        table.c.end_date == given.c.end_date,
        among(SETTLED),
    )
    period = (given.c.start_date, given.c.end_date)
    return select(*period).where(~settled).distinct().order_by(*period)


MISSING = Statement(_missing(GIVEN), _missing(GIVEN_ON_SQLITE))
