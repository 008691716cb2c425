"""A dataset while its releases change: whoever records into it holds it, and the others wait.

Its coverage is one thing, which follows from all of its releases.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import BigInteger, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from ..errors import NotFound
from ..records import Dataset
from .database import Transaction, row
from .statements import InsertMany, Statement
from .tables import datasets, holdings

HOLD = Statement(
    select(datasets.c.name, holdings.c.longest)
    .join_from(holdings, datasets)
    .where(holdings.c.dataset_id == bindparam("dataset"))
    # The dataset first, as whoever deletes it does: so the two never wait for each other crosswise.
    .with_for_update(key_share=True, of=[datasets, holdings])
)
BEGIN = InsertMany(holdings, ["dataset_id", "longest"], key=["dataset_id"])
NAME = Statement(select(datasets.c.name).where(datasets.c.id == bindparam("dataset")))
# Of several datasets: an array on PostgreSQL, a JSON list on SQLite.
_AMONG = func.json_each(bindparam("ids", type_=Text)).table_valued("value")
_NAMES = select(datasets.c.id, datasets.c.name)
NAMES = Statement(
    _NAMES.where(datasets.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))),
    _NAMES.where(datasets.c.id.in_(select(_AMONG.c.value))),
)


class Held(NamedTuple):
    """A dataset that nobody else records into until the transaction ends."""

    name: str
    longest: int  # the length of its longest period, in microseconds


async def hold(tx: Transaction, dataset_id: int) -> Held:
    """Waits until nobody else records into a dataset; raises NotFound where there is none."""
    if (found := await row(tx, HOLD, {"dataset": dataset_id})) is None:
        await must_exist(tx, dataset_id)
        await tx.insert(BEGIN, [(dataset_id, 0)])
        [found] = await tx.rows(HOLD, {"dataset": dataset_id})
    return Held(*found)


async def must_exist(tx: Transaction, dataset_id: int) -> Dataset:
    """Returns a dataset by id and name; raises NotFound where there is none."""
    if (found := await row(tx, NAME, {"dataset": dataset_id})) is None:
        raise NotFound(f"Dataset {dataset_id} does not exist")
    return Dataset(id=dataset_id, name=found[0])


async def named(tx: Transaction, ids: Iterable[int]) -> dict[int, Dataset]:
    """Returns datasets by id and name only: the whole of one in each of its releases helps nobody."""
    rows = await tx.rows(NAMES, {"ids": sorted(ids)})
    return {id: Dataset(id=id, name=name) for id, name in rows}
