"""The whole catalogue in one answer: each record once, as flat rows, whose relations are named by their ids.

It is read in steps, so that on PostgreSQL others have their turns on the event loop between them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select

from ..access import NOWHERE
from ..records import (
    PAGE,
    Contents,
    Dataset,
    DatasetType,
    Organisation,
    R,
    Record,
    TableType,
    Workflow,
    WorkflowType,
    is_given,
    relations,
    unset,
)
from . import filters, inputs
from .database import Transaction
from .reencrypt import place
from .rights import READ_ADDRESS
from .statements import Row, Statement, among
from .tables import TABLES, book, workflows

BOOK = Statement(select(book.c.id, book.c.catalogue))


async def book_id(tx: Transaction) -> str:
    """Returns the id of the book, which is always the same."""
    [[id, _]] = await tx.rows(BOOK, {})
    return str(id)


async def read(tx: Transaction, addresses: bool) -> Contents:
    """Returns all that the caller may see of the catalogue, with the addresses it may read if asked for."""
    [[id, position]] = await tx.rows(BOOK, {})
    contents = Contents(
        id,
        position,
        tx.by.within("read", READ_ADDRESS) != NOWHERE,
        await _all(tx, Organisation),
        await _all(tx, WorkflowType),
        await _all(tx, Workflow),
        await _all(tx, TableType),
        await _all(tx, DatasetType),
        [],
    )
    owners = {workflow.id: workflow.organisation.id for workflow in contents.workflows}
    after = 0
    while found := await _some(tx, Dataset, after):
        for dataset in found:
            may = addresses and tx.by.may(READ_ADDRESS, owners[dataset.workflow.id])
            dataset.address = tx.ring.unseal(dataset.address, place(dataset.id)) if may else unset
        contents.datasets += await inputs.shown(tx, found)
        after = found[-1].id
    return contents


def addressed(contents: Contents) -> list[Dataset]:
    """Returns the datasets whose address is told, each with the organisation that it belongs to."""
    nested = {workflow.id: workflow for workflow in contents.workflows}
    return [
        Dataset(id=dataset.id, address=dataset.address, workflow=nested[dataset.workflow.id])
        for dataset in contents.datasets
        if is_given(dataset.address)
    ]


async def _all(tx: Transaction, kind: type[R]) -> list[R]:
    found: list[R] = []
    while more := await _some(tx, kind, found[-1].id if found else 0):
        found += more
    return found


async def _some(tx: Transaction, kind: type[R], after: int) -> list[R]:
    """Returns the next records that the caller may see behind an id."""
    seen = tx.by.within("read")
    restricted = seen is not None and filters.owner(kind) is not None
    statement, build = _statement(kind, restricted)
    rows = await tx.rows(statement, {"after": after, "seen": sorted(seen or ())})
    return build(rows)


@cache
def _statement(kind: type[R], restricted: bool) -> tuple[Statement, Callable[[Sequence[Row]], list[R]]]:
    table, related = TABLES[kind], relations(kind)
    columns = [table.c[field] for field in kind.__struct_fields__ if field not in related]
    own = len(columns)
    columns += [table.c[f"{field}_id"] for field in related]

    def rows(sqlite: bool) -> Select[Any]:
        found = select(*columns).where(table.c.id > bindparam("after")).order_by(table.c.id).limit(PAGE)
        if restricted and kind is Dataset:
            found = found.join_from(table, workflows)
        return found.where(among(filters.owner(kind), "seen", sqlite)) if restricted else found

    def build(rows: Sequence[Row]) -> list[R]:
        named: list[dict[int, Record]] = [
            {row[at]: other(id=row[at]) for row in rows} for at, other in enumerate(related.values(), own)
        ]
        return [
            kind(*row[:own], *[by_id[id] for by_id, id in zip(named, row[own:], strict=True)]) for row in rows
        ]

    return Statement(rows(sqlite=False), rows(sqlite=True)), build
