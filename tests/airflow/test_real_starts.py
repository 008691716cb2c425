"""Runs of telescopes however they are started, and DAGs that the releases start, in a real Airflow."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from observatory import Dataset

from .book import Book, add_partner
from .real import Airflow, until

pytestmark = pytest.mark.long

WAYS = ("Schedule", "Hand", "Asset", "Backfill", "Partitions")
DAG_FILE = """
from datetime import UTC, date, datetime
from pathlib import Path

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

from observatory import make_observatory_api
from observatory.airflow import SnapshotRelease, SnapshotTelescope, dataset_asset, period_of

HOME = Path({home!r})


class Days(SnapshotTelescope):
    def offered(self):
        return [SnapshotRelease(date(2026, 10, day)) for day in (1, 2, 3)]

    def fetch(self, release, folder):
        file = folder / "sales.csv"
        file.write_text("sold\\n" + "1\\n" * release.release_date.day)
        return file


SCHEDULES = {{
    "Schedule": "* * * * *",
    "Hand": None,
    "Asset": [Asset("s3://elsewhere/ready")],
    "Backfill": "@daily",
    "Partitions": None,
}}
found = make_observatory_api().get_datasets(name="sales")
datasets = {{one.workflow.organisation.name: one for one in found}}
for name, schedule in SCHEDULES.items():
    dataset = datasets[name]
    telescope = Days(
        f"load_{{name}}", "sales", dataset.workflow.id, folder=HOME, schedule=schedule, catchup=False,
        start_date=datetime(2026, 10, 1, tzinfo=UTC), is_paused_upon_creation=name == "Schedule",
        assets=[dataset_asset(dataset)],
    )
    globals()[telescope.dag_id] = telescope.make_dag()

with DAG("sums", schedule=PartitionedAssetTimetable(assets=dataset_asset(datasets["Partitions"]))) as sums:

    @task
    def add_up(dag_run=None):
        key = dag_run.partition_key
        with (HOME / "sums").open("a") as file:
            print(key, period_of(key).start_date.isoformat(), file=file)

    add_up()
"""


class Here:
    """An Airflow with a telescope for each way to start it, and the book that they keep."""

    def __init__(self, airflow: Airflow, book: Book, datasets: dict[str, Dataset], folder: Path) -> None:
        self.airflow, self.book, self.datasets, self.folder = airflow, book, datasets, folder

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.airflow.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]
        return found

    def ended(self, name: str, kind: str) -> list[dict[str, Any]]:
        """Waits until all runs of a telescope, of which there is one at least, have ended; returns them."""

        def are_done() -> list[dict[str, Any]]:
            found = [run for run in self.runs(f"load_{name}") if run["run_type"] == kind]
            return found if all(run["state"] in ("success", "failed") for run in found) else []

        return until(are_done, f"a run of load_{name} by {kind} has ended", 300)

    def has_each_once(self, name: str) -> None:
        found = self.book.api.get_dataset_releases(dataset_id=self.datasets[name].id, history=True)
        assert [(one.start_date.day, one.revision, one.row_count) for one in found] == [
            (n, 1, n) for n in (1, 2, 3)
        ]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("starts")
    with Book(folder) as book:
        datasets = {name: add_partner(book.api, name) for name in WAYS}
        airflow = Airflow(book.environment)
        (airflow.dags_folder / "starts.py").write_text(DAG_FILE.format(home=str(folder)))
        with airflow:
            airflow.has(*(f"load_{name}" for name in WAYS), "sums")
            yield Here(airflow, book, datasets, folder)


def test_a_run_by_schedule_loads_what_is_missing(here: Here) -> None:
    here.airflow.pause("load_Schedule", False)
    assert {run["state"] for run in here.ended("Schedule", "scheduled")} == {"success"}
    here.airflow.pause("load_Schedule")
    here.has_each_once("Schedule")


def test_a_run_by_hand_through_the_api_loads_what_is_missing(here: Here) -> None:
    run = here.airflow.trigger("load_Hand")
    assert here.airflow.ended("load_Hand", run) == "success"
    here.has_each_once("Hand")


def test_a_run_by_an_asset_loads_what_is_missing(here: Here) -> None:
    [asset] = here.airflow.call("GET", "assets?uri_pattern=elsewhere")["assets"]
    here.airflow.call("POST", "assets/events", {"asset_id": asset["id"], "extra": {}})
    assert [run["state"] for run in here.ended("Asset", "asset_triggered")] == ["success"]
    here.has_each_once("Asset")


def test_the_runs_of_a_backfill_load_each_release_once(here: Here) -> None:
    first = datetime(2026, 10, 1, tzinfo=UTC)
    asked = {
        "dag_id": "load_Backfill",
        "from_date": first.isoformat(),
        "to_date": (first + timedelta(2)).isoformat(),
    }
    here.airflow.call("POST", "backfills", asked | {"max_active_runs": 2, "reprocess_behavior": "none"})
    until(lambda: len(here.runs("load_Backfill")) >= 3, "the runs of the backfill are made")
    assert {run["state"] for run in here.ended("Backfill", "backfill")} == {"success"}
    here.has_each_once("Backfill")


def test_a_dag_that_is_scheduled_on_partitions_runs_once_for_each_release_with_its_period(here: Here) -> None:
    run = here.airflow.trigger("load_Partitions")
    assert here.airflow.ended("load_Partitions", run, 300) == "success"
    days = [f"2026-10-0{n} 2026-10-0{n}T00:00:00+00:00" for n in (1, 2, 3)]

    def told() -> list[str]:
        file = here.folder / "sums"
        return sorted(file.read_text().splitlines()) if file.exists() else []

    until(lambda: told() == days, f"the DAG on partitions has run for each release: {told()}", 300)
    # Each task has links to what it recorded.
    links = here.airflow.call(
        "GET", f"dags/load_Partitions/dagRuns/{run}/taskInstances/ingest/links?map_index=0"
    )
    assert links["extra_links"]["Dataset in the book"].endswith(
        f"/v1/datasets/{here.datasets['Partitions'].id}"
    )
