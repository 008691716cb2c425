"""Where tables are kept: one interface, a file for each service, imported only when it is asked for.

A service is found by its name in the entry points of the group `observatory.storage`, so another package can
bring one. What it is given and what it answers are the same for all; `tests/storage` holds all to that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from ..errors import Invalid

# Rows, or a file of them: JSON, CSV or Parquet, told by its name.
Source = Path | Iterable[Mapping[str, Any]]


class Loaded(msgspec.Struct, frozen=True):
    """How many rows there are, and a digest that changes with any of them.

    It does not change with the order of the rows or columns, nor with columns that have no value at all.
    """

    row_count: int
    digest: str


class Storage(Protocol):
    """A service that stores tables. Addresses are in the form that `naming` describes for it.

    An address that ends in `$` and a date is that of a partition: some of the rows of one table, which
    have the date in its column `_partition`. A partition without rows is not there.
    All raise Invalid for a malformed address, and Unavailable where the service cannot do it now.
    """

    def load(self, address: str, source: Source) -> Loaded:
        """Makes the table, or the partition, hold the source and nothing else: all or, if it fails, nothing.

        Doing it twice is the same as doing it once. A table gets the columns that a partition is the first to
        have, and wider types where it must. Raises Invalid where the source cannot be read, has a column
        `_partition` or `_release`, or values that do not go with those of the other partitions.
        """

    def upsert(self, address: str, source: Source, keys: Sequence[str], as_of: datetime) -> Loaded:
        """Puts the rows of the source in place of those with the same keys, and adds those that are new.

        Returns what the source holds, so doing it twice is the same as doing it once. `as_of` is the time of
        the release that the source is, kept for each row in the column `_release`: a row that came with a
        later one stays, so that releases may be loaded in any order. A table gets columns and wider types as
        in `load`; a column that the source lacks is null in its rows. Raises Invalid, and changes nothing,
        where keys are null or there twice in the source, or it cannot be read or does not go with the table.
        """

    def exists(self, address: str) -> bool:
        """Tells whether there is such a table or partition."""

    def measure(self, address: str) -> Loaded:
        """Returns what is in a table or partition, reading all of it; raises NotFound where there is none."""

    def row_count(self, address: str) -> int:
        """Returns the number of rows in a table or partition; raises NotFound where there is none."""

    def shards(self, address: str) -> list[str]:
        """Returns the addresses of the shards of a table, by date."""

    def partitions(self, address: str) -> list[str]:
        """Returns the addresses of the partitions of a table, by date."""

    def drop(self, address: str) -> None:
        """Removes a table or partition; one that is not there may be removed too."""


def open_storage(service: str, folder: Path = Path()) -> Storage:
    """Returns the storage service of that name.

    The folder is where services that keep files look for relative addresses.
    Raises Invalid where nobody knows the service, or a package that it needs is not installed.
    """
    found = entry_points(group="observatory.storage")
    known = sorted(found.names)
    if service not in known:
        raise Invalid(
            f"nothing here knows how to store in {service!r}",
            {"service": f"one of {', '.join(known)}, or install the package that brings it"},
        )
    entry = found[service]
    try:
        opened = entry.load()
    except ModuleNotFoundError as error:
        package = entry.dist.name if entry.dist else "observatory-ledger"
        cure = f"pip install '{package}[{service}]'"
        raise Invalid(f"storing in {service} needs the package {error.name}", {"service": cure}) from error
    return cast(Storage, opened(folder))
