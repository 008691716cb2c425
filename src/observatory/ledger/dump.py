"""A whole book as text, for the same book in another database: every row of every table, with its id.

The file is JSON lines, compressed if its name ends in .gz. First a line about the file; then for each table a
line that names it, its columns and the last id that it gave, and a line for each row; at last a line that
counts them, so that a cut file is noticed. Times are in UTC with microseconds, bytes are base64, JSON is JSON
in one form of the many that mean the same: keys in order, and whole numbers without an exponent.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, Text, cast, literal_column, select, text

from ..errors import Unavailable
from .files import aside, put
from .snapshot import current_version, snapshot, streamed
from .tables import JSONS, MOMENT, metadata

FORMAT = 1
LINES = 1000  # that are written at a time
COMPRESSION = 6  # of 9: the last three take thrice the time for a hundredth of the size
GIVEN_ON_SQLITE = "SELECT seq FROM sqlite_sequence WHERE name = :name"


class About(msgspec.Struct):
    """The first line: what the file is."""

    observatory: int  # the version of the format
    schema: str
    database: str
    time: datetime


class Part(msgspec.Struct):
    """The line before the rows of a table."""

    table: str
    columns: list[str]
    given: int | None = None  # the last id that was given to a row, which may be gone; none is given twice


class End(msgspec.Struct):
    """The last line: how many rows each table has."""

    counts: dict[str, int]


def dump(url: str, file: Path, now: datetime) -> dict[str, int]:
    """Writes all of a book to a file that only its owner can read, and returns the number of rows by table.

    Servers go on meanwhile; what is written is of one moment. Raises Unavailable where there is no book, or
    one of another version, or the file cannot be written.
    """
    counts: dict[str, int] = {}
    with snapshot(url) as connection, aside(file) as whole:
        version = current_version(connection, url)
        about = About(FORMAT, version, connection.dialect.name, now)
        try:
            with _writing(whole, file.suffix == ".gz") as stream:
                stream.write(msgspec.json.encode(about) + b"\n")
                for table in metadata.sorted_tables:
                    counts[str(table.name)] = _write(connection, table, stream)
                stream.write(msgspec.json.encode(End(counts)) + b"\n")
        except OSError as error:
            raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
        put(whole, file)
    return counts


def in_one_form(json_text: str) -> bytes:
    """Returns JSON as both databases tell it: PostgreSQL has an order of keys and of numbers of its own."""
    if json_text == "{}":
        return b"{}"
    value = json.loads(json_text, parse_float=_number)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _number(written: str) -> int | float:
    exact = Decimal(written)
    exponent = exact.as_tuple().exponent
    # PostgreSQL tells 1e20 as a whole number, and knows no zero below zero.
    return int(exact) if isinstance(exponent, int) and exponent >= 0 else float(exact) + 0.0


@contextmanager
def _writing(file: Path, compressed: bool) -> Iterator[BinaryIO]:
    with file.open("wb") as plain:
        if not compressed:
            yield plain
            return
        with gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=COMPRESSION, filename="") as stream:
            yield stream  # type: ignore[misc] # it is one in all that is done here


def _write(connection: Connection, table: Table, stream: BinaryIO) -> int:
    """Writes the rows of a table in the order of their keys, and returns how many there are."""
    names = [str(column.name) for column in table.c]  # of plain text: SQLAlchemy has a class of its own
    part = Part(str(table.name), names, _given(connection, table))
    stream.write(msgspec.json.encode(part) + b"\n")
    on_sqlite = connection.dialect.name == "sqlite"
    told = [cast(c, Text) if c.type is JSONS and not on_sqlite else c for c in table.c]
    makers = _makers(table, on_sqlite)
    rows = streamed(connection, select(*told).order_by(*table.primary_key))
    encoder = msgspec.json.Encoder()
    written = 0
    while some := list(islice(rows, LINES)):
        stream.write(encoder.encode_lines([_made(row, makers) for row in some]))
        written += len(some)
    return written


def _makers(table: Table, on_sqlite: bool) -> list[tuple[int, Callable[[Any], Any]]]:
    """Returns which values of a row are written otherwise than they are read, and what makes them so."""
    makers: list[tuple[int, Callable[[Any], Any]]] = []
    for place, column in enumerate(table.c):
        if column.type is JSONS:
            makers.append((place, lambda value: msgspec.Raw(in_one_form(value))))
        elif column.type is MOMENT and not on_sqlite:
            makers.append((place, lambda value: value.astimezone(UTC).isoformat(timespec="microseconds")))
    return makers


def _made(row: tuple[Any, ...], makers: list[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    made = list(row)
    for place, make in makers:
        if (value := made[place]) is not None:
            made[place] = make(value)
    return made


def _given(connection: Connection, table: Table) -> int | None:
    """Returns the last id that a table gave, or nothing where it gives none or has given none."""
    if (column := table.autoincrement_column) is None:
        return None
    if connection.dialect.name == "sqlite":
        return connection.execute(text(GIVEN_ON_SQLITE), {"name": table.name}).scalar()
    names = {"table": table.name, "column": column.name}
    asked = text("SELECT pg_get_serial_sequence(:table, :column)")
    sequence = connection.execute(asked, names).scalar_one()
    last: ColumnElement[int] = literal_column("CASE WHEN is_called THEN last_value END")
    return connection.execute(select(last).select_from(text(sequence))).scalar()
