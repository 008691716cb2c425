"""What is stale, told as missing: releases to be made again, since what they were made from is another now.

They are behind all else that is missing, in the same order.
"""

from functools import cache
from typing import Any

from sqlalchemy import Select, Text, bindparam, cast, distinct, func, literal_column, or_, select, tuple_

from ..records import Dataset, DatasetRelease
from ..wants import Missing, MissingRun
from . import inputs
from .database import Transaction
from .derived import OWNERS, of_stale
from .edges import BEGINS
from .filters import has_tag
from .missing_rows import Asked, Place, Shape, behind, shape_of, values_of
from .missing_runs import Run, as_told, grow
from .spots import Spot
from .statements import Statement, Values, among
from .tables import MOMENT, dataset_releases, datasets, workflows


async def count(tx: Transaction, asked: Asked) -> int:
    """Returns how many releases are stale of what is asked for."""
    [[number]] = await tx.rows(_counting(shape_of(tx, asked)), values_of(tx, asked))
    return int(number)


async def periods_of(
    tx: Transaction, asked: Asked, limit: int, after: Place | None
) -> tuple[list[Missing], Place | None]:
    """Returns the stale periods behind a place, and behind which place there are more, if there are.

    The note of one names the releases at fault, as far as the caller sees them.
    """
    rows = await _rows(tx, asked, limit + 1, after)
    found = []
    for dataset, name, start, end, since, at_fault in rows[:limit]:
        ids = {int(id) for id in at_fault.split(",")}
        seen = sorted(await inputs.visible(tx, DatasetRelease, ids))
        note = f"made from {', '.join(map(str, seen))}" if seen else None
        found.append(Missing(Dataset(id=dataset, name=name), start, end, "stale", since, note))
    return found, _place(rows[limit - 1]) if len(rows) > limit else None


async def runs_of(
    tx: Transaction, asked: Asked, limit: int, after: Place | None
) -> tuple[list[MissingRun], Place | None]:
    """Returns the same as runs of periods that touch; each snapshot is one of its own."""
    runs: list[Run] = []
    place, is_last = after, False
    while not is_last and len(runs) <= limit:
        rows = await _rows(tx, asked, 2 * limit + 2, place)
        grow(runs, [_spot(row) for row in rows], is_whole=True)
        is_last = len(rows) < 2 * limit + 2
        place = _place(rows[-1]) if rows else place
    page = runs[:limit]
    more = page[-1].last.place._replace(stale=True) if len(runs) > limit else None
    return await as_told(tx, page), more


async def _rows(tx: Transaction, asked: Asked, limit: int, after: Place | None) -> Any:
    shape = shape_of(tx, asked)._replace(behind=after is not None)
    values: Values = {**values_of(tx, asked), **behind(after), "limit": limit}
    return await tx.rows(_paging(shape), values)


def _spot(row: Any) -> Spot:
    dataset, _, start, end, since, _ = row
    return Spot(dataset, start, end, BEGINS, "stale", None, since, False)


def _place(row: Any) -> Place:
    return Place(row[0], row[2], row[3], stale=True)


def _narrowed(shape: Shape, sqlite: bool) -> tuple[Any, Any, Any, list[Any]]:
    """Returns the stale releases, the tables that they are joined with, their rows, and the conditions."""
    stale, source, found = of_stale(sqlite)
    source = source.join(datasets, datasets.c.id == found.c.dataset_id).join(workflows)
    asked = {
        "dataset_id": (shape.of_dataset, "dataset"),
        "workflow_id": (shape.of_workflow, "workflow"),
        "organisation_id": (shape.of_organisation, "organisation"),
    }
    conditions = [OWNERS[name] == bindparam(value) for name, (is_asked, value) in asked.items() if is_asked]
    if shape.tagged:
        conditions.append(has_tag(workflows.c.tags, bindparam("tag")))
    if shape.in_span:
        start, end = bindparam("span_start", type_=MOMENT), bindparam("span_end", type_=MOMENT)
        conditions.append(found.c.start_date < end)
        conditions.append(or_(found.c.end_date > start, found.c.start_date >= start))
    if shape.restricted:
        conditions.append(among(workflows.c.organisation_id, "seen", sqlite))
    return stale, source, found, conditions


@cache
def _counting(shape: Shape) -> Statement:
    def statement(sqlite: bool) -> Select[Any]:
        stale, source, _, conditions = _narrowed(shape, sqlite)
        number = func.count(distinct(stale.c.release_id)).label("number")
        return select(number).select_from(source).where(*conditions)

    return Statement(statement(sqlite=False), statement(sqlite=True))


@cache
def _paging(shape: Shape) -> Statement:
    def statement(sqlite: bool) -> Select[Any]:
        stale, source, found, conditions = _narrowed(shape, sqlite)
        lost = dataset_releases.alias("at_fault")
        listed = func.group_concat if sqlite else func.string_agg
        period = (found.c.dataset_id, found.c.start_date, found.c.end_date)
        rows = select(
            found.c.dataset_id,
            datasets.c.name,
            found.c.start_date,
            found.c.end_date,
            func.min(lost.c.modified).label("since"),
            listed(cast(lost.c.id, Text), literal_column("','")).label("ids"),
        ).select_from(source.join(lost, lost.c.id == stale.c.input_id))
        if shape.behind:
            after = (bindparam("after_start", type_=MOMENT), bindparam("after_end", type_=MOMENT))
            conditions.append(tuple_(*period) > tuple_(bindparam("after_dataset"), *after))
        rows = rows.where(*conditions).group_by(*period, datasets.c.name)
        return rows.order_by(*period).limit(bindparam("limit"))

    return Statement(statement(sqlite=False), statement(sqlite=True))
