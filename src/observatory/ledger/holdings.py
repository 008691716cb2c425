"""A dataset while its releases change: whoever records into it holds it, and the others wait.

Its coverage is one thing, which follows from all of its releases.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Boolean, ColumnElement, Select, and_, bindparam, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from ..errors import NotFound
from ..records import Dataset, Status
from .database import Transaction, row
from .rights import must_act
from .statements import InsertMany, Statement, Values, among
from .tables import datasets, holdings, workflows

# What is kept of it: see tables.py.
KEPT = ("longest", "widest", "status", "newest", "late_since", "next_look")


def acting(sqlite: bool = False) -> ColumnElement[bool]:
    """Returns the condition that the caller may act on a dataset; its values are those of `holding`."""
    theirs = among(workflows.c.organisation_id, "acting", sqlite)
    return and_(datasets.c.id == bindparam("dataset"), or_(bindparam("everywhere", type_=Boolean), theirs))


def _hold(*only: ColumnElement[bool]) -> ReturningUpdate[Any]:
    found = select(datasets.c.id, datasets.c.name, workflows.c.organisation_id).join(workflows)
    # The dataset first, as whoever deletes it does: so the two never wait for each other crosswise.
    locked = found.where(acting()).with_for_update(key_share=True, of=datasets).subquery("locked")
    counted = update(holdings).values(changes=holdings.c.changes + 1)
    counted = counted.where(holdings.c.dataset_id == locked.c.id, *only)
    return counted.returning(locked.c.name, *(holdings.c[name] for name in KEPT), locked.c.organisation_id)


def _hold_on_sqlite() -> Select[Any]:
    """Returns what only looks: whoever writes there is alone."""
    kept = [holdings.c[name] for name in KEPT]
    found = select(datasets.c.name, *kept, workflows.c.organisation_id)
    return found.join_from(holdings, datasets).join(workflows).where(acting(sqlite=True))


# Of a dataset of which nothing is wanted, little follows when a release is recorded.
UNWATCHED = holdings.c.widest.is_(None)
HOLD = Statement(_hold(), _hold_on_sqlite())
HOLD_UNWATCHED = Statement(_hold(UNWATCHED), _hold_on_sqlite().where(UNWATCHED))
BEGIN = InsertMany(holdings, ["dataset_id", "longest"], key=["dataset_id"])
_NAMES = select(datasets.c.id, datasets.c.name, workflows.c.organisation_id).join(workflows)
NAME = Statement(_NAMES.where(datasets.c.id == bindparam("dataset")))
NAMES = Statement(
    _NAMES.where(among(datasets.c.id, "ids", sqlite=False)),
    _NAMES.where(among(datasets.c.id, "ids", sqlite=True)),
)


class Held(NamedTuple):
    """A dataset that nobody else records into until the transaction ends."""

    name: str
    longest: int  # the length of its longest period, in microseconds
    widest: int | None  # that of the longest that is wanted
    status: Status
    newest: datetime | None
    late_since: datetime | None
    next_look: datetime | None
    organisation_id: int


def holding(tx: Transaction, dataset_id: int) -> Values:
    """Returns the values of HOLD, which finds no dataset in which the caller may not act."""
    acting = tx.by.within(tx.by.right)
    return {"dataset": dataset_id, "everywhere": acting is None, "acting": sorted(acting or ())}


async def hold(tx: Transaction, dataset_id: int) -> Held:
    """Waits until nobody else records into a dataset.

    Raises NotFound where there is none, Forbidden where the caller may only read it.
    """
    asked = holding(tx, dataset_id)
    if (found := await row(tx, HOLD, asked)) is None:
        dataset, organisation_id = await _named(tx, dataset_id)
        must_act(tx, organisation_id, f"dataset {dataset.name!r}")
        await tx.insert(BEGIN, [(dataset_id, 0)])
        [found] = await tx.rows(HOLD, asked)
    await tx.plan_once()
    return Held(*found)


async def must_exist(tx: Transaction, dataset_id: int) -> Dataset:
    """Returns a dataset by id and name; raises NotFound where there is none."""
    return (await _named(tx, dataset_id))[0]


async def named(tx: Transaction, ids: Iterable[int]) -> dict[int, Dataset]:
    """Returns datasets by id and name only: the whole of one in each of its releases helps nobody."""
    rows = await tx.rows(NAMES, {"ids": sorted(ids)})
    return {id: Dataset(id=id, name=name) for id, name, organisation in rows if tx.by.sees(organisation)}


async def _named(tx: Transaction, dataset_id: int) -> tuple[Dataset, int]:
    """Returns a dataset by id and name, and whose it is."""
    found = await row(tx, NAME, {"dataset": dataset_id})
    if found is None or not tx.by.sees(found[2]):
        raise NotFound(f"Dataset {dataset_id} does not exist")
    return Dataset(id=dataset_id, name=found[1]), found[2]
