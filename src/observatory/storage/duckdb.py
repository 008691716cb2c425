"""Tables in DuckDB files, at addresses such as `data/mpc.duckdb:codes`.

A load is one transaction, so whoever is killed in it leaves what was there. DuckDB lets one process write at
a time, and none read meanwhile; who comes second waits a while.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import duckdb

from ..errors import Invalid, NotFound, Unavailable
from ..naming import FileTable, address_to_fields
from . import Loaded, Source
from .rows import write_rows

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection

# All rows are looked at to find the types: those of the first 20,000 do not hold for all.
READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, sample_size=-1)",
    ".tsv": "read_csv(?, sample_size=-1)",
    ".json": "read_json(?, sample_size=-1)",
    ".jsonl": "read_json(?, sample_size=-1)",
    ".ndjson": "read_json(?, sample_size=-1)",
}
# A sum does not depend on the order of the rows, and unlike XOR it sees rows that are there twice.
# The halves are summed apart, because a sum of whole digests would not fit.
MEASURE = """
    SELECT count(*),
           coalesce(sum(md5_number_upper(to_json(t)::VARCHAR)::HUGEINT), 0),
           coalesce(sum(md5_number_lower(to_json(t)::VARCHAR)::HUGEINT), 0)
    FROM {table} t
"""
SHARD = re.compile(r"\d{4}|\d{6}|\d{8}|\d{10}")


class DuckDB:
    """The DuckDB files in a folder, or anywhere by absolute path; waits `patience` seconds for others."""

    def __init__(self, folder: Path = Path(), patience: float = 60) -> None:
        self._folder = folder
        self._patience = patience

    def load(self, address: str, source: Source) -> Loaded:
        """Makes the table hold the source and nothing else."""
        place = _place(address)
        (self._folder / place.path).parent.mkdir(parents=True, exist_ok=True)
        with _readable(source) as (reader, arguments):

            def replace(connection: Connection) -> Loaded:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(place.schema)}")
                table = _table(place)
                connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {reader}", arguments)
                return _measured(connection, place)

            try:
                return self._transaction(place, replace)
            except (duckdb.DataError, duckdb.ProgrammingError) as error:
                raise Invalid(f"{source} cannot be loaded into {address}", {"source": str(error)}) from error

    def exists(self, address: str) -> bool:
        """Tells whether there is such a table."""
        place = _place(address)
        return place.table in self._tables(place)

    def measure(self, address: str) -> Loaded:
        """Returns what is in a table, reading all of it."""
        return self._read(address, _measured)

    def row_count(self, address: str) -> int:
        """Returns the number of rows in a table."""
        return self._read(address, _count)

    def shards(self, address: str) -> list[str]:
        """Returns the addresses of the shards of a table, by date."""
        place = _place(address)
        names = [name for name in self._tables(place) if name.startswith(place.table)]
        suffixes = sorted(name.removeprefix(place.table) for name in names)
        return [address + suffix for suffix in suffixes if SHARD.fullmatch(suffix)]

    def drop(self, address: str) -> None:
        """Removes a table; one that is not there may be removed too."""
        place = _place(address)
        if (self._folder / place.path).exists():
            statement = f"DROP TABLE IF EXISTS {_table(place)}"
            self._transaction(place, lambda connection: connection.execute(statement))

    def _read(self, address: str, read: Callable[[Connection, FileTable], T]) -> T:
        place = _place(address)

        def read_if_there(connection: Connection) -> T:
            if place.table not in _names(connection, place):
                raise NotFound(f"there is no table {address}")
            return read(connection, place)

        if not (self._folder / place.path).exists():
            raise NotFound(f"there is no table {address}")
        return self._transaction(place, read_if_there, read_only=True)

    def _tables(self, place: FileTable) -> list[str]:
        if not (self._folder / place.path).exists():
            return []
        return self._transaction(place, lambda connection: _names(connection, place), read_only=True)

    def _transaction(self, place: FileTable, work: Callable[[Connection], T], read_only: bool = False) -> T:
        """Runs the work in a transaction of its own, again and again while somebody else has the file."""
        path = self._folder / place.path
        last = time.monotonic() + self._patience
        while True:
            try:
                with duckdb.connect(path, read_only=read_only) as connection:
                    # Times are told in the zone of the machine otherwise, and a digest would depend on it.
                    connection.execute("SET TimeZone = 'UTC'")
                    connection.begin()
                    answer = work(connection)
                    connection.commit()
                    return answer
            except duckdb.Error as error:
                if not _is_busy(error):
                    raise
                if time.monotonic() > last:
                    cure = "repeat it when they are done"
                    raise Unavailable(
                        f"{path} is in use by others for {self._patience} s; {cure}: {error}"
                    ) from error
            time.sleep(random.uniform(0.05, 0.2))


def _is_busy(error: duckdb.Error) -> bool:
    """Tells whether another process has the file, or another thread opens or closes it, or changes it."""
    if isinstance(error, duckdb.TransactionException | duckdb.ResourceInUseException):
        return True
    return "Could not set lock" in str(error) or "different configuration" in str(error)


@contextmanager
def _readable(source: Source) -> Iterator[tuple[str, list[Any]]]:
    """Gives the expression that reads a source in SQL, with its arguments."""
    if isinstance(source, Path):
        yield _reader(source), [str(source)]
        return
    with TemporaryDirectory(prefix="observatory-") as folder:
        path = Path(folder) / "rows.ndjson"
        columns = write_rows(source, path)
        yield "read_json(?, columns=?, format='newline_delimited')", [str(path), columns]


def _reader(source: Path) -> str:
    suffixes = [suffix for suffix in source.suffixes if suffix not in (".gz", ".zst")]
    reader = READERS.get(suffixes[-1] if suffixes else "")
    if reader is None:
        raise Invalid(
            f"{source} is in no format that DuckDB reads", {"source": f"one of {', '.join(READERS)}"}
        )
    if re.search(r"[*?\[]", str(source)):
        # It would read other files, or none.
        raise Invalid(f"DuckDB takes {source} for a pattern", {"source": "rename it without * ? ["})
    if not source.is_file():
        raise Invalid(f"there is no file {source}", {"source": "give one that exists"})
    return reader


def _place(address: str) -> FileTable:
    return cast(FileTable, address_to_fields("duckdb", address))


def _table(place: FileTable) -> str:
    return f"{_quoted(place.schema)}.{_quoted(place.table)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(connection: Connection, place: FileTable) -> list[str]:
    query = "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?"
    return [name for (name,) in connection.execute(query, [place.schema]).fetchall()]


def _count(connection: Connection, place: FileTable) -> int:
    return int(connection.table(_table(place)).count("*").fetchall()[0][0])


def _measured(connection: Connection, place: FileTable) -> Loaded:
    ((count, upper, lower),) = connection.execute(MEASURE.format(table=_table(place))).fetchall()
    return Loaded(count, f"rows:{upper % 2**64:016x}{lower % 2**64:016x}")
