"""Telescopes tell what the source offers, and claim what is missing, so that no two runs load it."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from airflow.sdk import DAG

from observatory import Conflict, Dataset, DatasetRelease, Invalid, ObservatoryApi, ObservatoryError, Period
from observatory.airflow import SnapshotRelease
from observatory.airflow.claims import claim, give_up
from observatory.records import Run
from observatory.storage.duckdb import DuckDB
from observatory.wants import Offer

from .codes import ALL_DONE, DAYS, Codes

RunDag = Callable[[DAG], dict[str, str]]
RunAgain = Callable[[DAG, str], dict[str, str]]
AFTER_SETUP = {name: state for name, state in ALL_DONE.items() if name != "find_missing_releases"}
NOTHING_LOADED = dict.fromkeys(AFTER_SETUP, "skipped") | {"find_missing_releases": "success"}


def recorded(api: ObservatoryApi, dataset: Dataset) -> list[tuple[int, int]]:
    """Returns the days of the releases in the book, and their revisions."""
    return [(one.start_date.day, one.revision) for one in api.get_dataset_releases(dataset_id=dataset.id)]


def reasons(api: ObservatoryApi, dataset: Dataset) -> dict[int, str]:
    return {one.start_date.day: one.reason for one in api.get_missing(dataset_id=dataset.id)}


def test_the_book_is_told_all_that_the_source_offers_and_the_newest_of_it_is_claimed(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    assert run_dag(telescope.make_dag()) == ALL_DONE
    told = [
        (one.start_date, one.version_label, one.published, one.size) for one in api.get_offers(dataset.id)
    ]
    assert told == [(day, f"v{day:%d}", day, day.day) for day in DAYS]
    assert reasons(api, dataset) == {1: "offered"}
    [claimed] = api.get_claims(dataset_id=dataset.id)
    run = api.get_dataset_releases(dataset_id=dataset.id)[0].run
    assert run
    assert claimed.holder == f"{telescope.dag_id}, run {run.run_id}, try 1"
    assert (claimed.periods, bool(claimed.ended)) == (3, True)


@pytest.mark.parametrize(
    ("days", "error"),
    [
        ([], "Unavailable: the source offers nothing at all"),
        (None, "TypeError: "),
        (DAYS[:1], "Shrunk: this would withdraw 3 of 4 offers"),
    ],
    ids=["nothing", "error", "too little"],
)
def test_a_source_that_cannot_be_looked_at_is_told_so_and_nothing_is_gone_by_that(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, days: Any, error: str
) -> None:
    api.probe(dataset.id, [Offer(day, day) for day in DAYS])
    telescope.api, telescope.days = api, days
    with pytest.raises((ObservatoryError, TypeError)):
        telescope.find_missing_releases()
    [status] = api.get_statuses()
    assert status.probe_outcome == "failed"
    assert str(status.probe_error).startswith(error)
    assert [one.gone for one in api.get_offers(dataset.id)] == [None] * 4
    assert reasons(api, dataset) == dict.fromkeys([1, 7, 10, 17], "offered")
    assert api.get_dataset_releases(dataset_id=dataset.id, history=True) == []


def test_of_a_source_of_which_only_a_part_is_told_nothing_is_gone(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    api.probe(dataset.id, [Offer(day, day) for day in DAYS])
    telescope.sees_all, telescope.days = False, DAYS[3:]
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert reasons(api, dataset) == dict.fromkeys([1, 7, 10], "offered")


def test_two_runs_at_once_load_each_release_once(
    api: ObservatoryApi,
    dataset: Dataset,
    telescope: Codes,
    run_dag: RunDag,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "observatory.airflow.telescopes")
    others = [Codes("second", dataset, tmp_path), Codes("third", dataset, tmp_path, newest=4)]
    states: list[dict[str, str]] = []

    class First(Codes):
        def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
            # While the first one is at work, the others run from their beginning to their end.
            while others:
                states.append(run_dag(others.pop(0).make_dag()))
            return super().fetch(release, folder)

    second, third = others
    first = First("first", dataset, tmp_path)
    assert run_dag(first.make_dag()) == ALL_DONE
    assert states == [NOTHING_LOADED, ALL_DONE]
    assert (first.fetched, second.fetched, third.fetched) == ([7, 10, 17], [], [1])
    assert recorded(api, dataset) == [(1, 1), (7, 1), (10, 1), (17, 1)]
    assert len(api.get_dataset_releases(dataset_id=dataset.id, history=True)) == 4
    assert any("3 missing, but none to load now: first, run manual" in said for said in caplog.messages)
    run_dag(Codes("fourth", dataset, tmp_path).make_dag())
    assert "nothing is missing" in caplog.messages[-1]


def test_a_download_that_failed_is_given_back_with_its_error_and_the_next_run_takes_the_others(
    api: ObservatoryApi,
    dataset: Dataset,
    telescope: Codes,
    run_dag: RunDag,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "observatory.airflow.telescopes")
    telescope.breaks_at = 10
    assert run_dag(telescope.make_dag())["download"] == "failed"
    assert recorded(api, dataset) == []
    assert reasons(api, dataset) == {1: "offered", 7: "offered", 10: "failed", 17: "offered"}
    [failed] = api.get_missing(dataset_id=dataset.id, reasons=["failed"])
    assert (failed.note, failed.failures) == ("Unavailable: the source broke off", 1)
    assert api.get_claims(live=True) == []

    telescope.breaks_at = None
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert recorded(api, dataset) == [(7, 1), (17, 1)]
    assert telescope.fetched == [7, 17]
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED
    assert f"1 failed, tried again from {failed.retry_at:%Y-%m-%d %H:%M} UTC on" in caplog.messages[-1]


def test_a_task_that_is_tried_again_takes_up_the_claim_of_its_run(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path
) -> None:
    class Shaky(Codes):
        def find_missing_releases(self, **context: Any) -> bool:
            found = super().find_missing_releases(**context)
            if context["ti"].try_number == 1:
                raise Conflict("the machine is going down")
            return found

        def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
            self.breaks_at = None if 10 in self.fetched else 17
            self.fetched += [10] if release.release_date.day == 17 and self.breaks_at else []
            return super().fetch(release, folder)

    failed: list[str] = []
    arguments: dict[str, Any] = {"retry_delay": 0, "on_failure_callback": failed.append}
    telescope = Shaky("shaky", dataset, tmp_path, retries=1, default_args=arguments)
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert recorded(api, dataset) == [(7, 1), (10, 1), (17, 1)]
    assert len(api.get_claims(dataset_id=dataset.id)) == 1
    assert failed == []


@pytest.mark.parametrize("told", [{"version_label": "v10.1"}, {"digest": "md5:2"}], ids=["label", "digest"])
def test_what_the_source_restates_is_loaded_as_a_revision_and_its_shard_replaced(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag, told: dict[str, str]
) -> None:
    telescope.restated = {10: {"digest": "md5:1"}}
    run_dag(telescope.make_dag())
    telescope.restated = {10: {"digest": "md5:1"} | told, 30: {}}
    assert reasons(api, dataset) == {1: "offered"}
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert telescope.fetched == [7, 10, 17, 10]
    assert recorded(api, dataset) == [(7, 1), (10, 2), (17, 1)]
    release = api.get_dataset_releases(dataset_id=dataset.id)[1]
    assert DuckDB(telescope.folder).row_count(dataset.address + "20261010") == release.row_count == 12
    before = api.get_dataset_releases(dataset_id=dataset.id, history=True)[1]
    assert (before.state, before.row_count) == ("superseded", 11)
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED


def test_what_was_withdrawn_and_is_not_offered_any_more_is_left_to_others(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    lost = datetime(2026, 10, 12, tzinfo=UTC)
    made = api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=lost, end_date=lost))
    api.put_dataset_release(DatasetRelease(id=made.id, state="withdrawn", reason="found bad"))
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert recorded(api, dataset) == [(7, 1), (10, 1), (17, 1)]
    assert reasons(api, dataset) == {1: "offered", 12: "withdrawn"}


def test_tasks_that_are_cleared_after_their_run_load_nothing_twice(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag, run_again: RunAgain
) -> None:
    dag = telescope.make_dag()
    run_dag(dag)
    assert run_again(dag, "download") == AFTER_SETUP
    assert telescope.fetched == [7, 10, 17]
    # What is missing again since is not loaded by a claim that is over, nor passed over in silence.
    bad = api.get_dataset_releases(dataset_id=dataset.id)[1]
    api.put_dataset_release(DatasetRelease(id=bad.id, state="withdrawn", reason="found bad"))
    assert run_again(dag, "load") == {"load": "failed"}
    assert recorded(api, dataset) == [(7, 1), (17, 1)]
    # From its first task on, it is as another run.
    assert run_again(dag, "find_missing_releases") == ALL_DONE
    assert telescope.fetched == [7, 10, 17, 10]
    assert recorded(api, dataset) == [(7, 1), (10, 2), (17, 1)]


def test_a_task_whose_claim_others_took_over_leaves_it_to_them(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, run_again: RunAgain, tmp_path: Path
) -> None:
    class Slow(Codes):
        def load(self, releases: list[SnapshotRelease], **context: Any) -> None:
            sleep(1.1)  # as a machine that slept, so that nothing was renewed
            taken.extend(api.claim(dataset.id, 9, holder="somebody").releases)
            super().load(releases, **context)

    taken: list[Any] = []
    telescope = Slow("slow", dataset, tmp_path, claim_seconds=1)
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert [one.failures for one in taken] == [0, 1, 1, 1]
    assert recorded(api, dataset) == []
    assert DuckDB(tmp_path).shards(dataset.address) == []
    # Those who load it now need the downloads.
    assert len(list(tmp_path.glob("downloads/*/*.json"))) == 3


def test_a_task_gives_back_only_the_releases_that_it_was_given(api: ObservatoryApi, dataset: Dataset) -> None:
    run = Run(dag_id="d" * 250, run_id="r" * 250, task_id="load")
    api.probe(dataset.id, [Offer(day, day) for day in DAYS])
    releases = [SnapshotRelease(day) for day in DAYS]
    id, mine = claim(api, dataset.id, releases, run, 1, 900)
    assert id
    again, _ = claim(api, dataset.id, releases, run, 2, 900)
    assert (again, len(mine)) == (id, 4)
    give_up(api, id, releases[1:3], releases[2:3], Invalid("bad file", {}))
    assert reasons(api, dataset) == {1: "claimed", 7: "offered", 10: "failed", 17: "claimed"}
    assert api.renew_claim(id).releases == [Period(day, day) for day in (DAYS[0], DAYS[3])]
