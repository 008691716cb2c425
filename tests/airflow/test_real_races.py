"""Tasks that are killed, tried again, cleared, raced, and that fail, in a real Airflow: one release each."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from .partners import Partners, partners
from .real import until

NAMES = ("Killed", "Retried", "Cleared", "Raced", "Failed")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partners]:
    """Partners for each test, of one Airflow."""
    with partners(tmp_path_factory.mktemp("races"), *NAMES) as made:
        yield made


def test_a_task_that_is_killed_between_load_and_record_is_tried_again_and_records_once(
    here: Partners,
) -> None:
    here.publish("Killed", 1, 2, 3)
    here.tell("Killed", "deadly", 2)
    run = here.airflow.trigger("sales_Killed")
    assert here.airflow.ended("sales_Killed", run) == "success"
    tries = [here.airflow.tasks("sales_Killed", run)[f"ingest[{n}]"]["try_number"] for n in range(3)]
    assert tries == [1, 2, 1]
    here.has_each_once("Killed", 1, 2, 3)
    assert here.fetched("Killed") == [1, 2, 3]  # what was downloaded whole is not downloaded again


def test_a_task_that_is_tried_again_records_once(here: Partners) -> None:
    here.publish("Retried", 1, 2)
    here.tell("Retried", "broken", 1)
    run = here.airflow.trigger("sales_Retried")

    def is_to_be_tried_again() -> bool:
        return here.airflow.states("sales_Retried", run).get("ingest[0]") == "up_for_retry"

    until(is_to_be_tried_again, "the task has failed once")
    here.end("Retried", "broken", 1)
    assert here.airflow.ended("sales_Retried", run) == "success"
    here.has_each_once("Retried", 1, 2)


def test_tasks_that_are_cleared_later_load_nothing_twice_but_what_was_withdrawn(here: Partners) -> None:
    here.publish("Cleared", 1, 2)
    first = here.airflow.trigger("sales_Cleared")
    assert here.airflow.ended("sales_Cleared", first) == "success"
    here.publish("Cleared", 3)
    assert set(here.run("Cleared").values()) == {"success"}

    here.airflow.clear("sales_Cleared", first, "ingest")
    assert here.airflow.ended("sales_Cleared", first) == "success"
    assert set(here.airflow.states("sales_Cleared", first).values()) == {"success"}
    here.has_each_once("Cleared", 1, 2, 3)
    here.airflow.clear("sales_Cleared", first)
    assert here.airflow.ended("sales_Cleared", first) == "success"
    here.has_each_once("Cleared", 1, 2, 3)
    assert here.fetched("Cleared") == [1, 2, 3]

    dataset_id, day_1 = here.datasets["Cleared"].id, datetime(2026, 10, 1, tzinfo=UTC)
    here.book.api.withdraw_releases(dataset_id, day_1, day_1, "it was cut off")
    here.airflow.clear("sales_Cleared", first)
    assert here.airflow.ended("sales_Cleared", first) == "success"
    found = here.book.api.get_dataset_releases(dataset_id=dataset_id)
    assert [(one.start_date.day, one.revision) for one in found] == [(1, 2), (2, 1), (3, 1)]


def test_two_runs_that_race_for_the_same_releases_load_each_once(here: Partners) -> None:
    days = range(1, 7)
    here.publish("Raced", *days)
    here.tell("Raced", "closed")
    runs = [here.airflow.trigger("sales_Raced") for _ in range(2)]

    def look_both() -> bool:
        states = [here.airflow.states("sales_Raced", run) for run in runs]
        return all(one["find_missing_releases"] == "running" for one in states)

    until(look_both, "both runs look for what is missing")
    here.end("Raced", "closed")
    assert [here.airflow.ended("sales_Raced", run) for run in runs] == ["success", "success"]
    here.has_each_once("Raced", *days)
    assert here.fetched("Raced") == list(days)


def test_a_mapped_task_that_fails_for_good_stops_no_other_and_is_loaded_once_it_can_be(
    here: Partners,
) -> None:
    here.publish("Failed", 1, 2, 3)
    here.tell("Failed", "broken", 2)
    run = here.airflow.trigger("sales_Failed")
    assert here.airflow.ended("sales_Failed", run) == "failed"
    assert [here.airflow.states("sales_Failed", run)[f"ingest[{n}]"] for n in range(3)] == [
        "success",
        "failed",
        "success",
    ]
    here.has_each_once("Failed", 1, 3)
    [missing] = here.book.api.get_missing(dataset_id=here.datasets["Failed"].id)
    assert (missing.reason, missing.start_date.day) == ("failed", 2)
    assert "2026-10-02 broke off" in (missing.note or "")

    here.end("Failed", "broken", 2)
    here.airflow.clear("sales_Failed", run, ("ingest", 1))
    assert here.airflow.ended("sales_Failed", run) == "success"
    here.has_each_once("Failed", 1, 2, 3)
