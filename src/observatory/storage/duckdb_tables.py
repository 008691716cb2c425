"""What is done to a table of DuckDB within a transaction: replacing, merging, measuring.

Two columns are ours, and no source may have them: `_partition` is the date of the partition that a row is
in, as the address tells it, and `_release` is the time of the release that brought a row.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import duckdb

from ..errors import Invalid
from . import Loaded

Connection = duckdb.DuckDBPyConnection

PARTITION, RELEASE = "_partition", "_release"
INCOMING = "temp._observatory_incoming"
# How readers that guess types are told them: CSV by `types`, JSON by `columns`.
TELL = {"read_csv(?, sample_size=-1)": "types", "read_json(?, sample_size=-1)": "columns"}
# A sum does not depend on the order of the rows, and unlike XOR it sees rows that are there twice.
# The halves are summed apart, because a sum of whole digests would not fit.
MEASURE = """
    SELECT count(*),
           coalesce(sum(md5_number_upper(to_json(t)::VARCHAR)::HUGEINT), 0),
           coalesce(sum(md5_number_lower(to_json(t)::VARCHAR)::HUGEINT), 0)
    FROM (SELECT {columns} FROM {rows}) t
"""


class Column(NamedTuple):
    """A column, with its type as DuckDB writes it."""

    name: str
    kind: str


class Place(NamedTuple):
    """Where a table is, or a partition of it."""

    path: str
    schema: str
    table: str
    partition: str | None

    @property
    def name(self) -> str:
        """The table, as SQL names it."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    @property
    def rows(self) -> str:
        """The rows of the table or partition, for a FROM; a partition's text is letters and digits."""
        return f"{self.name} WHERE {PARTITION} = '{self.partition}'" if self.partition else self.name


def replace_table(connection: Connection, place: Place, reader: str, arguments: list[Any]) -> Loaded:
    """Makes a table hold what the reader reads and nothing else."""
    create(connection, place, f"SELECT * FROM {reader}", arguments)
    _refuse_ours(_columns(connection, place.name))
    return measured(connection, place.name)


def replace_partition(connection: Connection, place: Place, reader: str, arguments: list[Any]) -> Loaded:
    """Makes a partition hold what the reader reads, and leaves the others as they are."""
    _bring(connection, place, reader, arguments)
    if place.table not in tables(connection, place.schema):
        create(connection, place, f"SELECT *, '' AS {PARTITION} FROM {INCOMING} LIMIT 0")
    elif PARTITION not in _columns(connection, place.name):
        cure = "drop it first, or store the partitions under another name"
        raise Invalid(f"the table {place.table} is there and has no partitions", {"address": cure})
    _take_turns(connection, place)
    connection.execute(f"DELETE FROM {place.rows}")
    _fit(connection, place)
    connection.execute(
        f"INSERT INTO {place.name} BY NAME SELECT *, '{place.partition}' AS {PARTITION} FROM {INCOMING}"
    )
    return measured(connection, place.rows)


def merge(
    connection: Connection,
    place: Place,
    reader: str,
    arguments: list[Any],
    keys: Sequence[str],
    as_of: datetime,
) -> Loaded:
    """Puts the rows that the reader reads in place of those with the same keys, unless these are of later."""
    columns = _bring(connection, place, reader, arguments)
    _check_keys(connection, keys, columns)
    if place.table not in tables(connection, place.schema):
        create(connection, place, f"SELECT *, NULL::TIMESTAMPTZ AS {RELEASE} FROM {INCOMING} LIMIT 0")
    elif PARTITION in (there := _columns(connection, place.name)):
        cure = "load its partitions, or store this under another name"
        raise Invalid(f"the table {place.table} is one of partitions", {"address": cure})
    elif RELEASE not in there:
        connection.execute(f"ALTER TABLE {place.name} ADD COLUMN {RELEASE} TIMESTAMPTZ")
    _take_turns(connection, place)
    _fit(connection, place)
    same = " AND ".join(f"t.{quoted(key)} = i.{quoted(key)}" for key in keys)
    time = f"TIMESTAMPTZ '{as_of.isoformat()}'"
    earlier = f"coalesce(t.{RELEASE} <= {time}, true)"
    connection.execute(f"DELETE FROM {place.name} t USING {INCOMING} i WHERE {same} AND {earlier}")
    # What is left of the same keys came with a later release.
    connection.execute(
        f"INSERT INTO {place.name} BY NAME "
        f"SELECT i.*, {time} AS {RELEASE} FROM {INCOMING} i ANTI JOIN {place.name} t ON {same}"
    )
    return measured(connection, INCOMING)


def create(connection: Connection, place: Place, query: str, arguments: Sequence[Any] = ()) -> None:
    """Creates a table, in place of the one that is there, with the answer to a query."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(place.schema)}")
    connection.execute(f"CREATE OR REPLACE TABLE {place.name} AS {query}", arguments)


def drop(connection: Connection, place: Place) -> None:
    """Removes a table or a partition, if it is there."""
    if place.partition is None:
        connection.execute(f"DROP TABLE IF EXISTS {place.name}")
    elif partitions(connection, place):
        connection.execute(f"DELETE FROM {place.rows}")


def tables(connection: Connection, schema: str) -> list[str]:
    """Returns the names of the tables in a schema."""
    query = "SELECT table_name FROM duckdb_tables() WHERE schema_name = ? AND NOT temporary"
    return [name for (name,) in connection.execute(query, [schema]).fetchall()]


def partitions(connection: Connection, place: Place) -> list[str]:
    """Returns the dates of the partitions of a table that have rows, in their order."""
    if place.table not in tables(connection, place.schema) or PARTITION not in _columns(
        connection, place.name
    ):
        return []
    query = f"SELECT DISTINCT {PARTITION} FROM {place.name} ORDER BY ALL"
    return [text for (text,) in connection.execute(query).fetchall()]


def is_there(connection: Connection, place: Place) -> bool:
    """Tells whether there is such a table, or such a partition with rows in it."""
    if place.partition is None:
        return place.table in tables(connection, place.schema)
    return place.partition in partitions(connection, place)


def count(connection: Connection, rows: str) -> int:
    """Returns how many rows there are."""
    ((found,),) = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()
    return int(found)


def measured(connection: Connection, rows: str) -> Loaded:
    """Returns how many rows there are and their digest.

    A column without any value counts as one that is not there: what another release brings into the table
    must not change the digest of this one.
    """
    names = _columns(connection, rows).keys() - {PARTITION, RELEASE}
    filled = _filled(connection, rows, sorted(names))
    query = MEASURE.format(
        columns=", ".join(f"{quoted(name)} AS {quoted(name)}" for name in filled) or "NULL", rows=rows
    )
    ((found, upper, lower),) = connection.execute(query).fetchall()
    return Loaded(found, f"rows:{upper % 2**64:016x}{lower % 2**64:016x}")


def quoted(name: str) -> str:
    """Returns a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _bring(connection: Connection, place: Place, reader: str, arguments: list[Any]) -> dict[str, Column]:
    """Reads a source into a table of its own, and returns its columns.

    What is text in the table stays text, though a reader takes it for numbers or dates: in this release, all
    codes may look like those.
    """
    read = f"CREATE OR REPLACE TEMP TABLE {INCOMING.partition('.')[2]} AS SELECT * FROM "
    connection.execute(read + reader, arguments)
    columns = _columns(connection, INCOMING)
    if reader in TELL and place.table in tables(connection, place.schema):
        there = _columns(connection, place.name)
        text = {name for name in columns if name in there and there[name].kind == "VARCHAR"}
        if any(columns[name].kind != "VARCHAR" for name in text):
            types = {one.name: "VARCHAR" if name in text else one.kind for name, one in columns.items()}
            connection.execute(f"{read}{reader[:-1]}, {TELL[reader]}=?)", [*arguments, types])
            columns = _columns(connection, INCOMING)
    _refuse_ours(columns)
    return columns


def _columns(connection: Connection, rows: str) -> dict[str, Column]:
    """Returns the columns by name in lower case, because for DuckDB the case does not matter."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
    return {name.lower(): Column(name, kind) for name, kind, *_ in described}


def _filled(connection: Connection, rows: str, names: Sequence[str]) -> list[str]:
    """Returns those of the columns that have a value anywhere."""
    counts = "".join(f", count({quoted(name)})" for name in names)
    ((_, *found),) = connection.execute(f"SELECT count(*){counts} FROM {rows}").fetchall()
    return [name for name, values in zip(names, found, strict=True) if values]


def _refuse_ours(columns: dict[str, Column]) -> None:
    if ours := {PARTITION, RELEASE} & columns.keys():
        cure = "give the columns other names"
        raise Invalid(f"{', '.join(sorted(ours))} is a column of Observatory's own", {"source": cure})


def _check_keys(connection: Connection, keys: Sequence[str], columns: dict[str, Column]) -> None:
    if unknown := [key for key in keys if key.lower() not in columns] or not keys:
        cure = f"one or more of {', '.join(column.name for column in columns.values())}"
        raise Invalid(f"rows cannot be told apart by {unknown if keys else 'nothing'}", {"keys": cure})
    names = ", ".join(quoted(key) for key in keys)
    missing = " OR ".join(f"{quoted(key)} IS NULL" for key in keys)
    query = (
        f"SELECT {names} FROM {INCOMING} GROUP BY ALL HAVING count(*) > 1 OR {missing} ORDER BY ALL LIMIT 4"
    )
    if wrong := connection.execute(query).fetchall():
        shown = ["/".join("null" if value is None else str(value) for value in row) for row in wrong[:3]]
        told = ", ".join(shown) + (", …" if wrong[3:] else "")
        raise Invalid(
            f"rows have keys that are null or there twice: {told}",
            {"keys": "give columns that tell all rows apart"},
        )


def _take_turns(connection: Connection, place: Place) -> None:
    """Makes a transaction fail, and be repeated, where another one changes the table at the same time.

    Two that only add rows would both succeed, and a row would be there twice. They do not, where both say
    something about the table itself; what is said of it stays as it is.
    """
    query = "SELECT comment FROM duckdb_tables() WHERE schema_name = ? AND table_name = ? AND NOT temporary"
    ((comment,),) = connection.execute(query, [place.schema, place.table]).fetchall()
    said = "NULL" if comment is None else "'" + comment.replace("'", "''") + "'"
    connection.execute(f"COMMENT ON TABLE {place.name} IS {said}")


def _fit(connection: Connection, place: Place) -> None:
    """Gives a table the columns that came, and types that hold what is there and what came."""
    old, new = _columns(connection, place.name), _columns(connection, INCOMING)
    for column in [new[name] for name in new if name not in old]:
        connection.execute(f"ALTER TABLE {place.name} ADD COLUMN {quoted(column.name)} {column.kind}")
    differing = [name for name in new if name in old and new[name].kind != old[name].kind]
    for name in _filled(connection, INCOMING, differing):
        is_empty = not _filled(connection, place.name, [name])
        kind = new[name].kind if is_empty else _wider(connection, old[name], new[name])
        if kind != old[name].kind:
            connection.execute(f"ALTER TABLE {place.name} ALTER COLUMN {quoted(name)} TYPE {kind}")


def _wider(connection: Connection, old: Column, new: Column) -> str:
    """Returns the type that holds values of both; text is not one that holds numbers or times as they are."""
    with suppress(duckdb.BinderException):
        query = f"SELECT typeof([NULL::{old.kind}, NULL::{new.kind}])"
        ((kind,),) = connection.execute(query).fetchall()
        if kind != "VARCHAR[]":
            return str(kind).removesuffix("[]")
    cure = f"give values of type {old.kind}, or drop the table and load all of it again"
    raise Invalid(f"column {old.name} holds {new.kind}, the rows before it {old.kind}", {"source": cure})
