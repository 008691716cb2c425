"""Where tables are kept: one interface, a file for each service, imported only when it is asked for.

A service is found by its name in the entry points of the group `observatory.storage`, so another package can
bring one. What it is given and what it answers are the same for all; `tests/storage` holds all to that.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from ..errors import Invalid

# Rows, or a file of them: JSON, CSV or Parquet, told by its name.
Source = Path | Iterable[Mapping[str, Any]]


class Loaded(msgspec.Struct, frozen=True):
    """What is in a table: how many rows, and a digest that changes with any of them, not with their order."""

    row_count: int
    digest: str


class Storage(Protocol):
    """A service that stores tables. Addresses are in the form that `naming` describes for it.

    All raise Invalid for a malformed address, and Unavailable where the service cannot do it now.
    """

    def load(self, address: str, source: Source) -> Loaded:
        """Makes the table hold the source and nothing else: all of it or, if anything fails, what it held.

        Doing it twice is the same as doing it once. Raises Invalid where the source cannot be read.
        """

    def exists(self, address: str) -> bool:
        """Tells whether there is such a table."""

    def measure(self, address: str) -> Loaded:
        """Returns what is in a table, reading all of it; raises NotFound where there is none."""

    def row_count(self, address: str) -> int:
        """Returns the number of rows in a table; raises NotFound where there is none."""

    def shards(self, address: str) -> list[str]:
        """Returns the addresses of the shards of a table, by date."""

    def drop(self, address: str) -> None:
        """Removes a table; one that is not there may be removed too."""


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
