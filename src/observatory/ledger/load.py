"""A book from the text that `dump` wrote: all of it or nothing, into a database that has nothing to lose.

Every value stays as it is, so that the chain of seals over the journal stays true. Places in the journal are
numbers of transactions of the database that gave them; `horizon.keep_order` lets new ones follow them.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from sqlalchemy import Connection, LargeBinary, Table, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from ..errors import Conflict, Invalid, Unavailable
from .dump import FORMAT, About, End, Part
from .snapshot import current_version, path_of
from .soundness import check_on
from .tables import BIG, JSONS, MOMENT, book, journal, metadata, schema_version, table_types
from .upgrade import engine_of, head, hidden, upgrade

FURNISHED = (table_types.name, journal.name, book.name)  # in which migrations put something

Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")]
Value = str | bytes | int | None
T = TypeVar("T")


class Lines:
    """The lines of a dump, of which one is looked at at a time."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = iter(stream)
        self.number = 0
        self.line = b""
        self.advance()

    def advance(self) -> None:
        """Goes on to the next line, which behind the last one is empty."""
        try:
            self.line = next(self._stream, b"")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Invalid(f"the file is not whole: {error}") from error
        self.number += 1

    def rows(self) -> Iterator[bytes]:
        """Yields the lines that are rows, up to one that is none."""
        while self.line.startswith(b"["):
            yield self.line
            self.advance()

    def told(self, decoder: msgspec.json.Decoder[T], line: bytes) -> T:
        """Returns what a line says."""
        try:
            return decoder.decode(line)
        except msgspec.DecodeError as error:
            why = "the file ends too early" if not line else str(error)
            raise Invalid(f"line {self.number} is not as it was written: {why}") from None


def load(url: str, file: Path) -> dict[str, int]:
    """Puts a book into a database without one, or with an empty one, and returns the number of rows by table.

    Raises Conflict where something would be lost, Invalid where the file is not whole or its book not sound;
    nothing is changed then.
    """
    try:
        with closing(gzip.open(file) if file.suffix == ".gz" else file.open("rb")) as stream:
            lines = Lines(stream)
            about = lines.told(msgspec.json.Decoder(About), lines.line)
            if (about.observatory, about.schema) != (FORMAT, head()):
                cure = "import it with the version that wrote it, and upgrade that"
                raise Invalid(f"{file} is of schema {about.schema}, this code is of {head()}; {cure}")
            lines.advance()
            return _into(url, lines)
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror or error}") from error


def _into(url: str, lines: Lines) -> dict[str, int]:
    engine = engine_of(url)
    try:
        if not _has_book(url):
            upgrade(url)
        with engine.begin() as connection:
            current_version(connection, url)
            _empty(connection, url)
            counts = _load(connection, lines)
            _check(connection)
    except (DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
        told = getattr(error, "orig", error)
        raise Unavailable(f"{hidden(url)} does not take it, at line {lines.number}: {told}") from error
    finally:
        engine.dispose()
    return counts


def _has_book(url: str) -> bool:
    path = path_of(url)
    if path and not path.exists():
        return False
    engine = engine_of(url)
    try:
        with engine.begin() as connection:
            return inspect(connection).has_table(schema_version.name)
    finally:
        engine.dispose()


def _empty(connection: Connection, url: str) -> None:
    """Removes what migrations put into a book; raises Conflict where there is anything else."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(metadata.tables)
        connection.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
    for table in metadata.sorted_tables:
        there = select(func.count()).select_from(table)
        if table is journal:
            there = there.where(journal.c.actor != "upgrade")
        elif table.name in FURNISHED:
            continue
        if number := connection.execute(there).scalar_one():
            raise Conflict(
                f"the book at {hidden(url)} is not empty: {number} {table.name}; name a database without one"
            )
    with_triggers = _without_triggers(connection)
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    for statement in with_triggers:
        connection.exec_driver_sql(statement)


def _without_triggers(connection: Connection) -> list[str]:
    """Lets entries of the journal be removed, and returns the statements that forbid it again.

    Those are there that migrations wrote about what they put into the book, which is replaced.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE {journal.name} DISABLE TRIGGER USER")
        return [f"ALTER TABLE {journal.name} ENABLE TRIGGER USER"]
    triggers = connection.exec_driver_sql("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all()
    for name, _ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    return [sql for _, sql in triggers]


def _load(connection: Connection, lines: Lines) -> dict[str, int]:
    """Inserts the rows of all tables, and returns how many each has."""
    parts, end = msgspec.json.Decoder(Part), msgspec.json.Decoder(End)
    counts: dict[str, int] = {}
    while lines.line.startswith(b'{"table"'):
        part = lines.told(parts, lines.line)
        table = metadata.tables.get(part.table)
        if table is None or set(part.columns) != set(table.columns.keys()) or part.table in counts:
            raise Invalid(f"line {lines.number} is not as it was written: no such table {part.table}")
        lines.advance()
        counts[part.table] = _insert(connection, table, part.columns, lines)
        _go_on_behind(connection, table, part.given)
    told = lines.told(end, lines.line).counts
    lines.advance()
    if told != counts or counts.keys() != metadata.tables.keys() or lines.line:
        raise Invalid(f"the file is not whole: it has {counts} rows, and says that it has {told}")
    return counts


def _insert(connection: Connection, table: Table, columns: list[str], lines: Lines) -> int:
    """Inserts the rows that follow as is quickest on each database, and returns how many they are."""
    first = lines.number
    rows = _rows(table, columns, lines)
    names = ", ".join(columns)
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        places = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)
    return lines.number - first


def _rows(table: Table, columns: list[str], lines: Lines) -> Iterator[list[Value]]:
    """Yields rows as both databases take them: times and JSON as text."""
    decoder = msgspec.json.Decoder(tuple.__class_getitem__(tuple(_kind(table, name) for name in columns)))
    texts = [place for place, name in enumerate(columns) if table.c[name].type is JSONS]
    for line in lines.rows():
        row = list(lines.told(decoder, line))
        for place in texts:
            told = bytes(row[place]).decode()
            row[place] = None if told == "null" else told
        yield row


def _kind(table: Table, name: str) -> Any:
    """Returns the type that a value of a column has in the file."""
    column = table.c[name]
    if column.type is JSONS:
        return msgspec.Raw
    kind: Any = Time if column.type is MOMENT else int if column.type is BIG else str
    if isinstance(column.type, LargeBinary):
        kind = bytes
    return kind | None if column.nullable else kind


def _go_on_behind(connection: Connection, table: Table, given: int | None) -> None:
    """Sees to it that no id is given again that was given once, also if its row is gone."""
    if (column := table.autoincrement_column) is None:
        return
    greatest = max(given or 0, connection.execute(select(func.max(column))).scalar() or 0)
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
        if greatest:
            put = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
            connection.execute(put, {"name": table.name, "seq": greatest})
        return
    put = text("SELECT setval(pg_get_serial_sequence(:table, :column), :last, :is_given)")
    told = {"table": table.name, "column": column.name, "last": greatest or 1, "is_given": greatest > 0}
    connection.execute(put, told)


def _check(connection: Connection) -> None:
    """Raises Invalid where the book that was put in is not sound."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))  # it knows nothing yet of the tables it is asked about
    report = check_on(connection, head())
    if not report.is_sound:
        told = "; ".join(fault for faults in report.told.values() for fault in faults[:3])
        cure = "run `observatory database check --repair` where it comes from"
        raise Invalid(f"the book in the file is not sound, and nothing was changed: {told}; {cure}")
