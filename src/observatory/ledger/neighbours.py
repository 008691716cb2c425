"""The rows of what is missing that are next to others, and how many are between two: of many at a time."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from .missing_rows import NOW, W
from .statements import Statement, to_sqlite
from .tables import BIG, MOMENT, wanted

NUMBERS, MOMENTS = ("number", "dataset"), ("start", "end", "last_start", "last_end")


def given(places: Iterable[Sequence[Any]]) -> str:
    """Returns places, or pairs of them in one dataset, as the value `places` of a statement."""
    rows = [[number, *(to_sqlite(part) for part in place)] for number, place in enumerate(places)]
    names = NUMBERS + MOMENTS
    return msgspec.json.encode([dict(zip(names, row, strict=False)) for row in rows]).decode()


def _given(sqlite: bool) -> Any:
    value = bindparam("places", type_=Text)
    if sqlite:
        rows = func.json_each(value).table_valued("value", name="rows_")
        names = NUMBERS + MOMENTS
        parts = [rows.c.value.op("->>")(literal_column(f"'{name}'")).label(name) for name in names]
        return select(*parts).subquery("given")
    columns = [*(column(name, BIG) for name in NUMBERS), *(column(name, MOMENT) for name in MOMENTS)]
    rows = func.jsonb_to_recordset(cast(value, JSONB)).table_valued(*columns, name="given")
    return rows.render_derived(with_types=True)


def next_to(columns: Sequence[ColumnElement[Any]], before: bool) -> Statement:
    """Returns what reads columns of the row behind each place, or of the last before it that is missing."""

    def nearest(near: Any, places: Any, *found: Any) -> Select[Any]:
        order = (near.c.start_date, near.c.end_date)
        place = tuple_(places.c.start, places.c.end)
        row = select(*found).where(near.c.dataset_id == places.c.dataset, near.c.since.is_not(None)).limit(1)
        if before:
            missing = row.where(near.c.since <= NOW, tuple_(*order) < place)
            return missing.order_by(*(one.desc() for one in order))
        return row.where(tuple_(*order) > place).order_by(*order)

    places, places_on_sqlite = _given(sqlite=False), _given(sqlite=True)
    row = nearest(wanted, places, *columns).lateral("row_")
    near = wanted.alias("near")
    id = nearest(near, places_on_sqlite, literal_column("near.rowid")).scalar_subquery()
    return Statement(
        select(*row.c).select_from(places).join(row, true()),
        select(*columns).join_from(places_on_sqlite, wanted, literal_column("wanted.rowid") == id),
    )


def _counted(sqlite: bool) -> Select[Any]:
    places = _given(sqlite)
    row = tuple_(W.start_date, W.end_date)
    found = select(func.count()).where(
        W.dataset_id == places.c.dataset,
        W.since.is_not(None),
        row >= tuple_(places.c.start, places.c.end),
        row <= tuple_(places.c.last_start, places.c.last_end),
    )
    return select(places.c.number, found.scalar_subquery().label("periods"))


COUNTED = Statement(_counted(sqlite=False), _counted(sqlite=True))
