"""Tables in DuckDB files, at addresses such as `data/mpc.duckdb:codes`.

A load is one transaction, so whoever is killed in it leaves what was there. DuckDB lets one process write at
a time, and none read meanwhile; who comes second waits a while. The partitions of a table are in one table,
`data/mpc.duckdb:codes$20260101` in `codes`.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import duckdb

from ..errors import Invalid, NotFound, Unavailable
from ..intervals import moment
from ..naming import FileTable, address_to_fields
from . import Loaded, Source, duckdb_tables
from .duckdb_tables import Connection, Place
from .rows import write_rows

T = TypeVar("T")

# All rows are looked at to find the types: those of the first 20,000 do not hold for all.
READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, sample_size=-1)",
    ".tsv": "read_csv(?, sample_size=-1)",
    ".json": "read_json(?, sample_size=-1)",
    ".jsonl": "read_json(?, sample_size=-1)",
    ".ndjson": "read_json(?, sample_size=-1)",
}
SHARD = re.compile(r"\d{4}|\d{6}|\d{8}|\d{10}")


class DuckDB:
    """The DuckDB files in a folder, or anywhere by absolute path; waits `patience` seconds for others."""

    def __init__(self, folder: Path = Path(), patience: float = 60) -> None:
        self._folder = folder
        self._patience = patience

    def load(self, address: str, source: Source) -> Loaded:
        """Makes the table, or the partition, hold the source and nothing else."""
        place = _place(address)
        replace = duckdb_tables.replace_partition if place.partition else duckdb_tables.replace_table
        return self._write(place, source, replace)

    def upsert(self, address: str, source: Source, keys: Sequence[str], as_of: datetime) -> Loaded:
        """Brings rows into the table in place of those with the same keys."""
        place = _whole(address)
        time = _time(as_of)

        def merge(connection: Connection, place: Place, reader: str, arguments: list[Any]) -> Loaded:
            return duckdb_tables.merge(connection, place, reader, arguments, keys, time)

        return self._write(place, source, merge)

    def exists(self, address: str) -> bool:
        """Tells whether there is such a table or partition."""
        place = _place(address)
        return bool(self._look(place, lambda connection: duckdb_tables.is_there(connection, place)))

    def measure(self, address: str) -> Loaded:
        """Returns what is in a table or partition, reading all of it."""
        return self._read(address, duckdb_tables.measured)

    def row_count(self, address: str) -> int:
        """Returns the number of rows in a table or partition."""
        return self._read(address, duckdb_tables.count)

    def shards(self, address: str) -> list[str]:
        """Returns the addresses of the shards of a table, by date."""
        place = _whole(address)
        names = self._look(place, lambda connection: duckdb_tables.tables(connection, place.schema)) or []
        suffixes = sorted(name.removeprefix(place.table) for name in names if name.startswith(place.table))
        return [address + suffix for suffix in suffixes if SHARD.fullmatch(suffix)]

    def partitions(self, address: str) -> list[str]:
        """Returns the addresses of the partitions of a table, by date."""
        place = _whole(address)
        found = self._look(place, lambda connection: duckdb_tables.partitions(connection, place)) or []
        return [f"{address}${text}" for text in found]

    def drop(self, address: str) -> None:
        """Removes a table or partition; one that is not there may be removed too."""
        place = _place(address)
        if (self._folder / place.path).exists():
            self._transaction(place, lambda connection: duckdb_tables.drop(connection, place))

    def _write(
        self, place: Place, source: Source, write: Callable[[Connection, Place, str, list[Any]], Loaded]
    ) -> Loaded:
        (self._folder / place.path).parent.mkdir(parents=True, exist_ok=True)
        with _readable(source) as (reader, arguments):
            try:
                return self._transaction(
                    place, lambda connection: write(connection, place, reader, arguments)
                )
            except (duckdb.DataError, duckdb.ProgrammingError) as error:
                said = {"source": str(error)}
                raise Invalid(f"{source} cannot be loaded into {place.name}", said) from error

    def _read(self, address: str, read: Callable[[Connection, str], T]) -> T:
        place = _place(address)

        def read_if_there(connection: Connection) -> T | None:
            is_there = duckdb_tables.is_there(connection, place)
            return read(connection, place.rows) if is_there else None

        found = self._look(place, read_if_there)
        if found is None:
            raise NotFound(f"there is no table {address}")
        return found

    def _look(self, place: Place, look: Callable[[Connection], T]) -> T | None:
        """Reads what is in a file, if there is one."""
        if not (self._folder / place.path).exists():
            return None
        return self._transaction(place, look, read_only=True)

    def _transaction(self, place: Place, work: Callable[[Connection], T], read_only: bool = False) -> T:
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


def _place(address: str) -> Place:
    fields = cast(FileTable, address_to_fields("duckdb", address))
    table, _, partition = fields.table.partition("$")
    return Place(fields.path, fields.schema, table, partition or None)


def _whole(address: str) -> Place:
    """Returns where a table is; a partition of one will not do."""
    place = _place(address)
    if place.partition:
        raise Invalid(f"{address} is one partition", {"address": f"give {address.rpartition('$')[0]}"})
    return place


def _time(as_of: datetime) -> datetime:
    try:
        return moment(as_of)
    except ValueError as error:
        raise Invalid("nobody knows which releases came later", {"as_of": str(error)}) from None
