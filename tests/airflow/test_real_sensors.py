"""Sensors and a watcher in a real Airflow, whose triggerer is killed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from observatory import Dataset, DatasetRelease
from observatory.airflow import dataset_asset

from .book import Book, add_partner
from .real import Airflow, until

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)
DAYS = 12
FILE = """
from pathlib import Path

from airflow.sdk import DAG, Asset, AssetWatcher, task

from observatory.airflow import DagRunSensor, DatasetReleaseSensor, ReleaseTrigger

URI = "{uri}"

with DAG("waiting", schedule=None):
    DatasetReleaseSensor.partial(task_id="wait", asset=URI).expand(period={periods})

with DAG("after", schedule=None):
    DagRunSensor(task_id="idle", dag_ids=["waiting"]) >> DagRunSensor(
        task_id="unknown", dag_ids=["nowhere"], unknown="ignore"
    )

with DAG("fails", schedule=None):
    DagRunSensor(task_id="unknown", dag_ids=["nowhere"])

sales = Asset(URI, watchers=[AssetWatcher(name="book", trigger=ReleaseTrigger(URI))])

with DAG("started", schedule=[sales]):

    @task
    def told(triggering_asset_events=None):
        print(triggering_asset_events)

    told()
"""


def record(book: Book, dataset: Dataset, *days: int) -> set[int]:
    starts = [JANUARY + day * DAY for day in days]
    releases = [DatasetRelease(dataset=dataset, start_date=one, end_date=one + DAY) for one in starts]
    return {one.id for one in book.api.post_dataset_releases(releases)}


def events(airflow: Airflow) -> list[int]:
    """Returns which releases the asset has events of, in their order."""
    found = airflow.call("GET", "assets/events?limit=100&order_by=timestamp")["asset_events"]
    return [one["extra"]["payload"]["release_id"] for one in found]


@pytest.mark.long
def test_sensors_fire_and_assets_have_events_though_the_triggerer_is_killed(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        dataset = add_partner(book.api, "Ann")
        starts = [JANUARY + day * DAY for day in range(DAYS)]
        periods = [f"{one:%Y-%m-%d}/{one + DAY:%Y-%m-%d}" for one in starts]
        text = FILE.format(uri=dataset_asset(dataset).uri, periods=json.dumps(periods))
        airflow = Airflow(book.environment)
        (airflow.dags_folder / "waiting.py").write_text(text)
        with airflow:
            airflow.has("waiting", "after", "fails", "started")
            run = airflow.trigger("waiting")
            until(
                lambda: list(airflow.states("waiting", run).values()).count("deferred") == DAYS,
                "all sensors wait",
                300,
            )
            after, fails = airflow.trigger("after"), airflow.trigger("fails")
            assert airflow.ended("fails", fails) == "failed"
            expected = record(book, dataset, 0)
            until(lambda: set(events(airflow)) == expected, "the first event", 60)
            until(lambda: airflow.states("waiting", run)["wait[0]"] == "success", "the first sensor", 60)

            airflow.kill("triggerer")
            expected |= record(book, dataset, 1, 2)
            airflow.start("triggerer")
            until(lambda: set(events(airflow)) == expected, "what came while it was away", 120)

            book.served.kill()
            until(lambda: airflow.tasks("after", after)["idle"]["state"] == "deferred", "it waits", 60)
            book.served.start()
            expected |= record(book, dataset, *range(3, DAYS))
            assert airflow.ended("waiting", run, 300) == "success"
            assert airflow.ended("after", after) == "success"
            until(lambda: set(events(airflow)) == expected, "all events", 60)
            assert sorted(events(airflow)) == sorted(expected)
            assert airflow.call("GET", "dags/started/dagRuns")["total_entries"] >= 1
