"""Rows of Python values as a file that a database reads, with the types that the values have.

Databases guess the types of text, and guess differently from day to day: here the values decide.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..errors import Invalid

ENCODER = msgspec.json.Encoder()


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> dict[str, str]:
    """Writes rows as JSON, one a line, and returns the columns with their types in SQL.

    A value that is missing in a row is null; a column that is nowhere filled is text.
    Raises Invalid for no rows at all, and for a column with values that do not go together.
    """
    columns: dict[str, str | None] = {}
    with path.open("wb") as file:
        for number, row in enumerate(rows, 1):
            for name, value in row.items():
                columns[name] = _wider(columns.get(name), _sql_type(value), f"row {number}, column {name}")
            file.write(ENCODER.encode(row) + b"\n")
    if not columns:
        raise Invalid("there are no rows to load, so nobody knows the columns", {"source": "give rows"})
    return {name: kind or "VARCHAR" for name, kind in columns.items()}


def _sql_type(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT" if -(2**63) <= value < 2**63 else "HUGEINT"
        case float():
            return "DOUBLE"
        case datetime():
            return "TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP"
        case date():
            return "DATE"
        case dict() | list() | tuple():
            return "JSON"
        case _:
            return "VARCHAR"


def _wider(one: str | None, other: str | None, where: str) -> str | None:
    """Returns the type that holds the values of both."""
    if one is None or other is None or one == other:
        return one or other
    for widest in ("DOUBLE", "HUGEINT"):
        if {one, other} <= {widest, "HUGEINT", "BIGINT"}:
            return widest
    raise Invalid(f"{where} holds {other}, the rows before it {one}", {"source": "give values of one type"})
