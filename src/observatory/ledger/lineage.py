"""Which dataset of the book others mean: by the path of its names, or by where it is stored."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from ..access import NOWHERE
from ..errors import NotFound
from ..records import Dataset
from . import catalogue, datasets
from .database import Transaction, row
from .rights import READ_ADDRESS
from .statements import Statement
from .tables import datasets as table
from .tables import organisations, workflows

BY_PATH = Statement(
    select(table.c.id)
    .join_from(table, workflows)
    .join(organisations)
    .where(organisations.c.name == bindparam("organisation"))
    .where(workflows.c.name == bindparam("workflow"), table.c.name == bindparam("dataset"))
)
NONE = "no dataset of the book is called so, or is stored there as far as this account may know"


class Place(NamedTuple):
    """Where a dataset may be: a service and an address, or the names of organisation, workflow and dataset.

    `suffix` is the date that was at the end of the address, as in the name of a shard.
    """

    service: str = ""
    address: str = ""
    suffix: str = ""
    path: tuple[str, str, str] | None = None


class Found(NamedTuple):
    """A dataset, and the place at which it was found."""

    dataset: Dataset
    place: Place


async def find(tx: Transaction, wanted: Sequence[Sequence[Place]]) -> list[Found | str]:
    """Returns the dataset that is at the first of several places where there is one, or why there is none.

    By an address only those are found whose address the caller may read.
    """
    return [await _first(tx, places) for places in wanted]


async def _first(tx: Transaction, places: Sequence[Place]) -> Found | str:
    for place in places:
        found = await _at_path(tx, *place.path) if place.path else await _at_address(tx, place)
        if len(found) > 1:
            return "several datasets are stored there: name it as observatory://organisation/workflow/dataset"
        if found:
            return Found(found[0], place)
    return NONE


async def _at_path(tx: Transaction, organisation: str, workflow: str, dataset: str) -> list[Dataset]:
    asked = {"organisation": organisation, "workflow": workflow, "dataset": dataset}
    if (found := await row(tx, BY_PATH, asked)) is None:
        return []
    try:
        return [await catalogue.fetch(tx, Dataset, found[0])]
    except NotFound:  # It is another organisation's.
        return []


async def _at_address(tx: Transaction, place: Place) -> list[Dataset]:
    if tx.by.within(READ_ADDRESS) == NOWHERE:
        return []
    asked = {"service": place.service, "address": place.address}
    return await datasets.listed(tx, Dataset, 2, 0, asked)
