"""A telescope for each organisation in the book, and a sum over all that are partners.

The sources are folders of files by date in SOURCES, one for each organisation; other files there say what is
to go wrong.
"""

import json
import os
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from observatory import Dataset, make_dag_id, make_observatory_api
from observatory.airflow import SnapshotRelease, SnapshotTelescope, Workflow

SOURCES, FOLDER = Path(os.environ["SOURCES"]), Path(os.environ["WAREHOUSE"])
# How a telescope catches up, such as {"per_run": 100, "order": "newest"}.
CATCH_UP = json.loads(os.environ.get("CATCH_UP", "{}"))


class Sales(SnapshotTelescope):
    """Loads the days of a partner."""

    def __init__(self, dag_id: str, partner: str, dataset: Dataset) -> None:
        super().__init__(
            dag_id,
            dataset.name,
            dataset.workflow.id,
            folder=FOLDER,
            claim_seconds=60,
            max_active_runs=2,
            **CATCH_UP,
        )
        self.source = SOURCES / partner

    def offered(self) -> list[SnapshotRelease]:
        """Returns a release for each file; waits while the source is closed."""
        while (self.source / "closed").exists():
            time.sleep(0.1)
        days = [datetime.fromisoformat(f"{file.stem}T00:00:00+00:00") for file in self.source.glob("*.csv")]
        return [SnapshotRelease(release_date=day) for day in days]

    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        """Copies a file, and notes it; fails for as long as there is one that says so."""
        day = f"{release.release_date:%Y-%m-%d}"
        if (self.source / f"{day}.broken").exists():
            raise ConnectionError(f"{day} broke off")
        with (self.source / "fetched").open("a") as log:
            log.write(f"{day}\n")
        return Path(shutil.copy(self.source / f"{day}.csv", folder))

    def add_new_dataset_releases(self, release: Any, *args: Any, **context: Any) -> list[int]:
        """Records what was loaded; waits before that, or is killed once, where a file says so."""
        day = f"{release.release_date:%Y-%m-%d}"
        (self.source / f"{day}.loaded").touch()
        while (self.source / f"{day}.held").exists():
            time.sleep(0.1)
        if (deadly := self.source / f"{day}.deadly").exists():
            deadly.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().add_new_dataset_releases(release, *args, **context)


class Sums(Workflow):
    """Adds up the rows of all partners."""

    def __init__(self, partners: list[Dataset]) -> None:
        super().__init__("sums")
        self.partners = [partner.id for partner in partners]
        self.add_setup_task(self.add_up)

    def add_up(self) -> bool:
        """Tells how many rows there are of each partner, by the book."""
        for id in self.partners:
            print(id, sum(one.row_count or 0 for one in self.api.get_dataset_releases(dataset_id=id)))
        return True


api = make_observatory_api()
partners = []
for organisation in api.get_organisations(limit=1000):
    for workflow in api.get_workflows(organisation_id=organisation.id, limit=1000):
        if "sales_partner" not in json.loads(workflow.tags):
            continue
        for dataset in api.get_datasets(workflow_id=workflow.id, limit=1000):
            partners.append(dataset)
            dag_id = make_dag_id("sales", organisation.name)
            globals()[dag_id] = Sales(dag_id, organisation.name, dataset).make_dag()

sums = Sums(partners)
globals()[sums.dag_id] = sums.make_dag()
