"""Tasks that are written by hand do what telescopes do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, task

from observatory import Dataset, Invalid, ObservatoryApi, Unavailable
from observatory.airflow import (
    Empty,
    SnapshotRelease,
    claimed_release,
    missing_releases,
    probe_source,
    record_release,
)
from observatory.wants import Offer

RunDag = Callable[[DAG], dict[str, str]]
DAYS = [datetime(2026, 10, day, tzinfo=UTC) for day in (1, 2, 3, 4)]


def ingesting(dataset: Dataset, name: str, load: Callable[[datetime], int], **asked: Any) -> DAG:
    """Returns a DAG that loads what is missing, as a user would write it."""
    with DAG(name, schedule=None) as dag:

        @task
        def look() -> None:
            probe_source(
                dataset.id, lambda: [SnapshotRelease(day, version_label=f"v{day:%d}") for day in DAYS]
            )

        @task
        def missing() -> list[dict[str, Any]]:
            return missing_releases(dataset.id, **asked)

        @task
        def ingest(release: dict[str, Any]) -> None:
            with claimed_release(dataset.id, release) as one:
                one.row_count = load(one.start_date)

        found = missing()
        look() >> found
        ingest.expand(release=found)
    return dag


def test_a_task_for_each_missing_release_claims_and_records_it(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    def load(day: datetime) -> int:
        assert [
            one.reason for one in api.get_missing(dataset_id=dataset.id, start_date=day, end_date=day)
        ] == ["claimed"]
        return day.day

    states = run_dag(ingesting(dataset, "by_hand", load, order="newest", limit=3))
    assert [state for name, state in states.items() if name.startswith("ingest")] == ["success"] * 3
    told = api.get_dataset_releases(dataset_id=dataset.id)
    assert [(one.start_date, one.row_count, one.version_label) for one in told] == [
        (day, day.day, f"v{day:%d}") for day in DAYS[1:]
    ]
    assert all(one.run and one.run.task_id == "ingest" and one.ingestion_start for one in told)
    assert api.get_claims(live=True) == []


def test_what_fails_is_given_back_and_what_is_empty_recorded_so(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    def load(day: datetime) -> int:
        match day.day:
            case 2:
                raise Unavailable("broke off")
            case 3:
                raise Empty("a holiday")
        return 0

    states = run_dag(ingesting(dataset, "failing", load))
    assert [states[f"ingest[{n}]"] for n in range(4)] == ["success", "failed", "skipped", "success"]
    assert [one.state for one in api.get_dataset_releases(dataset_id=dataset.id)] == [
        "present",
        "empty",
        "present",
    ]
    [left] = api.get_missing(dataset_id=dataset.id)
    assert (left.reason, left.start_date, left.note) == ("failed", DAYS[1], "Unavailable: broke off")


def test_a_release_is_recorded_once_however_often_its_task_runs(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, run_again: Callable[[DAG, str], dict[str, str]]
) -> None:
    with DAG("recording", schedule=None) as dag:

        @task
        def note() -> int:
            return record_release(dataset.id, DAYS[0].date(), DAYS[1], row_count=7)

        note()
    assert run_dag(dag) == {"note": "success"}
    assert run_again(dag, "note") == {"note": "success"}
    [one] = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert (one.start_date, one.end_date, one.row_count) == (DAYS[0], DAYS[1], 7)


def test_a_source_that_fails_is_told_so(api: ObservatoryApi, dataset: Dataset) -> None:
    api.probe(dataset.id, [Offer(day, day) for day in DAYS])

    def broken() -> list[SnapshotRelease]:
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError):
        probe_source(dataset.id, broken)
    [status] = api.get_statuses()
    assert (status.probe_outcome, status.probe_error) == ("failed", "TimeoutError: no answer")


def test_what_is_no_release_is_refused(api: ObservatoryApi, dataset: Dataset, run_dag: RunDag) -> None:
    refused: list[str] = []
    with DAG("refused", schedule=None) as dag:

        @task
        def ingest() -> None:
            for wrong in (
                {"start_date": "2026-01-01"},
                {"start_date": 1, "end_date": 2},
                (datetime(2026, 1, 1), DAYS[0]),
            ):
                with (
                    pytest.raises(Invalid, match="is no release") as told,
                    claimed_release(dataset.id, wrong),
                ):
                    pass
                refused.append(str(told.value))

        ingest()
    assert run_dag(dag) == {"ingest": "success"}
    assert len(refused) == 3


def test_periods_may_be_given_as_pairs(api: ObservatoryApi, dataset: Dataset, run_dag: RunDag) -> None:
    api.probe(dataset.id, [Offer(DAYS[0], DAYS[0] + timedelta(1))])
    with DAG("pairs", schedule=None) as dag:

        @task
        def ingest() -> None:
            with claimed_release(dataset.id, (DAYS[0].date(), DAYS[1].date())) as one:
                one.extras = {"by": "hand"}

        ingest()
    assert run_dag(dag) == {"ingest": "success"}
    assert [one.extras for one in api.get_dataset_releases(dataset_id=dataset.id)] == [{"by": "hand"}]
