"""Sensors in runs of DAGs, as Airflow runs them: deferred, and resumed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, task

from observatory import Dataset, DatasetRelease, Invalid, ObservatoryApi
from observatory.airflow import DagRunSensor, DatasetReleaseSensor, dataset_asset
from observatory.wants import Offer

RunDag = Callable[[DAG], dict[str, str]]
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)


def record(api: ObservatoryApi, dataset: Dataset, day: int, **facts: Any) -> DatasetRelease:
    start = JANUARY + day * DAY
    facts = {"start_date": start, "end_date": start + DAY} | facts
    return api.post_dataset_release(DatasetRelease(dataset=dataset, **facts))


@contextmanager
def meanwhile(do: Callable[[], Any], seconds: float = 3) -> Iterator[None]:
    """Does something in a thread of its own, a while after the context began."""
    timer = threading.Timer(seconds, do)
    timer.start()
    yield
    timer.join()


def waiting(name: str, seen: list[Any], **sensor: Any) -> DAG:
    """Returns a DAG that waits, and keeps what the sensor returned."""
    with DAG(name, schedule=None) as dag:

        @task
        def keep(found: Any) -> None:
            seen.append(found)

        keep(DatasetReleaseSensor(task_id="wait", **sensor).output)
    return dag


def test_it_returns_the_releases_of_the_period_once_they_are_there(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    seen: list[Any] = []
    first = record(api, dataset, 0)
    dag = waiting("period", seen, asset=dataset_asset(dataset), period=("2026-01-01", JANUARY + 2 * DAY))
    with meanwhile(lambda: record(api, dataset, 1, state="empty", version_label="v2")):
        assert run_dag(dag) == {"wait": "success", "keep": "success"}
    [[one, other]] = seen
    assert (one["id"], one["state"]) == (first.id, "present")
    assert (other["start_date"], other["state"], other["version_label"]) == (
        "2026-01-02T00:00:00Z",
        "empty",
        "v2",
    )


def test_a_snapshot_is_its_own_moment(api: ObservatoryApi, dataset: Dataset, run_dag: RunDag) -> None:
    seen: list[Any] = []
    record(api, dataset, 0)
    dag = waiting("moment", seen, dataset_id="{{ params.id }}", period="{{ params.day }}", timeout=60)
    dag.params = {"id": dataset.id, "day": "2026-01-01"}  # type: ignore[assignment] # becomes ParamsDict
    with meanwhile(lambda: record(api, dataset, 0, end_date=JANUARY)):
        assert run_dag(dag)["wait"] == "success"
    assert [one["end_date"] for one in seen[0]] == ["2026-01-01T00:00:00Z"]


def test_up_to_a_time_nothing_is_missing_and_the_newest_reaches_it(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    seen: list[Any] = []
    api.probe(dataset.id, [Offer(JANUARY + day * DAY, JANUARY + (day + 1) * DAY) for day in range(4)])
    for day in (0, 2):
        record(api, dataset, day)
    dag = waiting("up_to", seen, dataset_id=dataset.id, up_to=JANUARY + 3 * DAY)
    with meanwhile(lambda: record(api, dataset, 1)):
        assert run_dag(dag)["wait"] == "success"
    assert [one["end_date"] for one in seen[0]] == ["2026-01-04T00:00:00Z"]


def test_what_was_withdrawn_is_waited_for_again(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    seen: list[Any] = []
    bad = record(api, dataset, 0)
    api.put_dataset_release(DatasetRelease(id=bad.id, state="withdrawn", reason="bad"))
    dag = waiting("again", seen, dataset_id=dataset.id, period="2026-01-01/2026-01-02")
    with meanwhile(lambda: record(api, dataset, 0)):
        assert run_dag(dag)["wait"] == "success"
    assert [one["revision"] for one in seen[0]] == [2]


@pytest.mark.parametrize("asked", [{"dataset_id": 999}, {"asset": "observatory://No/such/one"}])
def test_a_dataset_that_does_not_exist_fails_at_once(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, asked: dict[str, Any]
) -> None:
    begun = time.monotonic()
    dag = waiting(f"none_{len(asked)}_{'asset' in asked}", [], period="2026-01-01", retries=3, **asked)
    assert run_dag(dag)["wait"] == "failed"
    assert time.monotonic() - begun < 15


def test_a_template_that_gives_no_time_fails_at_once(dataset: Dataset, run_dag: RunDag) -> None:
    dag = waiting("no_time", [], dataset_id=dataset.id, period="{{ partition_key }}")
    assert run_dag(dag)["wait"] == "failed"


def test_the_time_is_over_also_for_a_soft_sensor(dataset: Dataset, run_dag: RunDag) -> None:
    dag = waiting("over", [], dataset_id=dataset.id, period="2026-01-01", timeout=0)
    assert run_dag(dag) == {"wait": "failed", "keep": "upstream_failed"}
    dag = waiting("soft", [], dataset_id=dataset.id, period="2026-01-01", timeout=0, soft_fail=True)
    assert run_dag(dag) == {"wait": "skipped", "keep": "skipped"}


def test_it_is_one_dataset_and_one_thing_that_is_waited_for() -> None:
    for wrong in (
        {"period": "2026-01-01"},
        {"dataset_id": 1},
        {"dataset_id": 1, "period": "a", "up_to": "b"},
    ):
        with pytest.raises(Invalid):
            DatasetReleaseSensor(task_id="wait", **wrong)


def test_sensors_can_be_mapped(api: ObservatoryApi, dataset: Dataset, run_dag: RunDag) -> None:
    for day in (0, 1):
        record(api, dataset, day)
    with DAG("mapped", schedule=None) as dag:
        DatasetReleaseSensor.partial(task_id="wait", dataset_id=dataset.id).expand(
            period=["2026-01-01/2026-01-02", "2026-01-02/2026-01-03"]
        )
    assert run_dag(dag) == {"wait[0]": "success", "wait[1]": "success"}


def monitoring(name: str, *dag_ids: str, **sensor: Any) -> DAG:
    with DAG(name, schedule=None) as dag:
        DagRunSensor(task_id="wait", dag_ids=dag_ids, **sensor)
    return dag


def test_dags_without_unfinished_runs_are_not_waited_for(run_dag: RunDag) -> None:
    with DAG("loaded", schedule=None) as dag:

        @task
        def load() -> None:
            pass

        load()
    assert run_dag(dag) == {"load": "success"}
    assert run_dag(monitoring("after", "loaded")) == {"wait": "success"}
    # A template gives one as text.
    with DAG("after_one", schedule=None) as dag:
        DagRunSensor(task_id="wait", dag_ids="{{ 'loaded' }}")
    assert run_dag(dag) == {"wait": "success"}


def test_unknown_dags_are_treated_as_told(run_dag: RunDag) -> None:
    assert run_dag(monitoring("strict", "no_such_dag")) == {"wait": "failed"}
    assert run_dag(monitoring("lax", "no_such_dag", unknown="ignore")) == {"wait": "success"}


def test_no_dag_waits_for_itself(run_dag: RunDag) -> None:
    assert run_dag(monitoring("itself", "itself")) == {"wait": "failed"}


def test_there_are_three_ways_to_treat_dags() -> None:
    with pytest.raises(Invalid, match="fail, ignore or wait"):
        monitoring("wrong", "a", paused="never")
