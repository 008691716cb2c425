"""What was made from a release, and which releases are stale: made from one that is not current any more.

A release is stale while it is settled itself, and one that it was made from was withdrawn or superseded; or
while one that it was made from is stale. Retention, which removes data and keeps the fact, makes nothing
stale. It is found out when it is asked for: so it holds whichever of two comes first, what is withdrawn or
what is made from it.
"""

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

from ..intervals import Period
from ..records import SETTLED, DatasetRelease, DerivedRelease, Organisation, StaleRelease, Workflow
from . import catalogue, inputs
from .database import Transaction
from .holdings import must_exist
from .inputs import looked_up
from .releases import RELEASES, fetch, read
from .statements import Statement, Values, among
from .tables import BIG, dataset_releases, datasets, derivations, workflows

NOT_CURRENT = "state IN ('withdrawn', 'superseded')"  # as the index says it
OWNERS = {
    "dataset_id": datasets.c.id,
    "workflow_id": datasets.c.workflow_id,
    "organisation_id": workflows.c.organisation_id,
}


class Wanted(NamedTuple):
    """Of which stale releases there is to be a page: behind the one with the id `after`."""

    limit: int
    after: int = 0
    dataset_id: int | None = None
    workflow_id: int | None = None
    organisation_id: int | None = None


async def derived(tx: Transaction, id: int) -> list[DerivedRelease]:
    """Returns what was made from a release, and what was made from that, to any depth.

    What the caller may not see is left out. Raises NotFound where there is no such release.
    """
    await fetch(tx, id)
    depths = _depths(await tx.rows(BELOW, {"key": id}), id)
    if not depths:
        return []
    found = await inputs.shown(tx, await read(tx, THESE, {"ids": sorted(depths)}))
    stale = {one for [one] in await tx.rows(STALE_OF_THESE, {"ids": [release.id for release in found]})}
    made = [DerivedRelease(release, depths[release.id], release.id in stale) for release in found]
    return sorted(made, key=lambda one: (one.depth, one.release.id))


async def stale(tx: Transaction, wanted: Wanted) -> list[StaleRelease]:
    """Returns a page of the stale releases that the caller sees, by id.

    Raises NotFound where the dataset, workflow or organisation that is asked for does not exist.
    """
    found: list[StaleRelease] = []
    asked = tuple(name for name, value in wanted._asdict().items() if value is not None)
    seen = tx.by.within("read")
    statement = _page(asked, seen is not None)
    values: Values = wanted._asdict() | {"seen": sorted(seen or ())}
    left = wanted.limit
    while True:
        rows = await tx.rows(statement, values | {"limit": left})
        told = await _told(tx, {id: [int(one) for one in at_fault.split(",")] for id, at_fault in rows})
        found += told
        # What goes between the statements must not make a page look like the last one.
        if len(rows) < left or len(told) == len(rows):
            break
        left -= len(told)
        values["after"] = rows[-1][0]
    if not found:
        await _must_exist(tx, wanted)
    return found


async def stale_periods(tx: Transaction, dataset_id: int) -> list[Period]:
    """Returns the periods of a dataset whose release is stale, in their order."""
    return [Period(start, end) for start, end in await tx.rows(STALE_PERIODS, {"dataset": dataset_id})]


async def _told(tx: Transaction, at_fault: dict[int, list[int]]) -> list[StaleRelease]:
    """Returns stale releases with what is at fault, as far as the caller sees it."""
    ids = sorted(at_fault)
    found = await inputs.shown(tx, await read(tx, THESE, {"ids": ids})) if ids else []
    seen = await inputs.visible(tx, DatasetRelease, {one for ids in at_fault.values() for one in ids})
    told = {release.id: release for release in found}
    return [StaleRelease(told[id], sorted(seen & {*at_fault[id]})) for id in ids if id in told]


async def _must_exist(tx: Transaction, wanted: Wanted) -> None:
    if wanted.dataset_id is not None:
        await must_exist(tx, wanted.dataset_id)
    if wanted.workflow_id is not None:
        await catalogue.fetch(tx, Workflow, wanted.workflow_id)
    if wanted.organisation_id is not None:
        await catalogue.fetch(tx, Organisation, wanted.organisation_id)


def _depths(made: Any, id: int) -> dict[int, int]:
    """Returns how far each release is from the first one, by the shortest way."""
    users: dict[int, list[int]] = {}
    for input_id, release_id in made:
        users.setdefault(input_id, []).append(release_id)
    depths = {id: 0}
    level = [id]
    while level:
        following = sorted({user for one in level for user in users.get(one, ())} - depths.keys())
        depths |= dict.fromkeys(following, depths[level[0]] + 1)
        level = following
    del depths[id]
    return depths


def _below(sqlite: bool) -> Select[tuple[int, int]]:
    """Returns which release was made from which, of the one of the key and all that was made from it."""
    below = select(bindparam("key", type_=BIG).label("id")).cte("below", recursive=True)
    made = select(derivations.c.input_id, derivations.c.release_id)
    source, found = looked_up(below, below.c.id, made, derivations.c.input_id, sqlite)
    # Each once, so that it comes to an end also where somebody had closed a circle by hand.
    below = below.union(select(found.c.release_id).select_from(source))
    source, found = looked_up(below, below.c.id, made, derivations.c.input_id, sqlite)
    return select(found.c.input_id, found.c.release_id).select_from(source)


def _is_settled(release: FromClause) -> ColumnElement[bool]:
    return release.c.state.in_([literal_column(f"'{state}'") for state in SETTLED])


def _stale(sqlite: bool) -> CTE:
    """Returns the stale releases, each with the nearest inputs that are not current any more.

    From these it goes on only through what is settled, and thus stale: history is not followed.
    """
    lost, user = dataset_releases.alias("lost"), dataset_releases.alias("made")
    made = select(derivations.c.release_id, derivations.c.input_id)
    made = made.join(user, user.c.id == derivations.c.release_id).where(_is_settled(user))
    source, found = looked_up(lost, lost.c.id, made, derivations.c.input_id, sqlite)
    first = select(found.c.release_id, lost.c.id.label("input_id")).select_from(source)
    stale = first.where(literal_column(f"lost.{NOT_CURRENT}")).cte("stale", recursive=True)
    source, found = looked_up(stale, stale.c.release_id, made, derivations.c.input_id, sqlite)
    return stale.union(select(found.c.release_id, stale.c.input_id).select_from(source))


def _these(sqlite: bool) -> Select[Any]:
    return RELEASES.where(among(dataset_releases.c.id, "ids", sqlite)).order_by(dataset_releases.c.id)


def _stale_of_these(sqlite: bool) -> Select[tuple[int]]:
    found = _stale(sqlite)
    return select(found.c.release_id).where(among(found.c.release_id, "ids", sqlite)).distinct()


def of_stale(sqlite: bool) -> tuple[CTE, FromClause, FromClause]:
    """Returns the stale releases, the same joined with their rows, and these."""
    stale, releases = _stale(sqlite), dataset_releases.c
    rows = select(releases.id, releases.dataset_id, releases.start_date, releases.end_date)
    return stale, *looked_up(stale, stale.c.release_id, rows, releases.id, sqlite)


def _stale_periods(sqlite: bool) -> Select[Any]:
    _, source, found = of_stale(sqlite)
    period = (found.c.start_date, found.c.end_date)
    rows = select(*period).select_from(source).where(found.c.dataset_id == bindparam("dataset"))
    return rows.distinct().order_by(*period)


@cache
def _page(asked: tuple[str, ...], restricted: bool) -> Statement:
    def rows(sqlite: bool) -> Select[Any]:
        stale, source, found = of_stale(sqlite)
        listed = func.group_concat if sqlite else func.string_agg
        at_fault = listed(cast(stale.c.input_id, Text), literal_column("','"))
        page = select(stale.c.release_id, at_fault).select_from(
            source.join(datasets, datasets.c.id == found.c.dataset_id).join(workflows)
        )
        page = page.where(stale.c.release_id > bindparam("after"))
        page = page.where(*(column == bindparam(name) for name, column in OWNERS.items() if name in asked))
        if restricted:
            page = page.where(among(workflows.c.organisation_id, "seen", sqlite))
        page = page.group_by(stale.c.release_id).order_by(stale.c.release_id)
        return page.limit(bindparam("limit"))

    return Statement(rows(sqlite=False), rows(sqlite=True))


BELOW = Statement(_below(sqlite=False), _below(sqlite=True))
THESE = Statement(_these(sqlite=False), _these(sqlite=True))
STALE_OF_THESE = Statement(_stale_of_these(sqlite=False), _stale_of_these(sqlite=True))
STALE_PERIODS = Statement(_stale_periods(sqlite=False), _stale_periods(sqlite=True))
