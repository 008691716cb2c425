"""A telescope on a source that tests tell what to offer."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from observatory import Dataset, Invalid, Unavailable
from observatory.airflow import SnapshotRelease, SnapshotTelescope

DAYS = [datetime(2026, 10, day, tzinfo=UTC) for day in (1, 7, 10, 17)]
NOTHING_LOADED = {"find_missing_releases": "success", "ingest": "skipped"}


def loaded(*states: str) -> dict[str, str]:
    """Returns the states of a run that loads releases, a task for each."""
    return {"find_missing_releases": "success"} | {f"ingest[{n}]": state for n, state in enumerate(states)}


ALL_DONE = loaded("success", "success", "success")


class Codes(SnapshotTelescope):
    """A source whose snapshots have as many rows as the day has in its date."""

    def __init__(self, dag_id: str, dataset: Dataset, folder: Path, **telescope: Any) -> None:
        arguments = {"retries": 0, "newest": 3} | telescope
        super().__init__(dag_id, dataset.name, dataset.workflow.id, folder=folder, **arguments)
        self.days = DAYS
        self.restated: dict[int, dict[str, Any]] = {}
        self.fetched: list[int] = []
        self.damaged = False
        self.breaks_at: int | None = None

    def offered(self) -> list[SnapshotRelease]:
        told: list[SnapshotRelease] = []
        for day in reversed(self.days):
            facts: dict[str, Any] = {"version_label": f"v{day:%d}", "published": day, "size": day.day}
            told.append(SnapshotRelease(day, **facts | self.restated.get(day.day, {})))
        return told

    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        day = release.release_date.day
        if day == self.breaks_at:
            raise Unavailable("the source broke off")
        self.fetched.append(day)
        file = folder / "codes.csv"
        rows = day + len(self.restated)
        file.write_text("code\n" + "".join(f"{number:03}\n" for number in range(rows)))
        return file

    def verify(self, release: SnapshotRelease, file: Path) -> None:
        if self.damaged:
            raise Invalid("damaged", {"checksum": "download it again"})
