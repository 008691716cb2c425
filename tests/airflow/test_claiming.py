"""Telescopes tell what the source offers, and claim what is missing, so that no two runs load it."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from observatory import Dataset, DatasetRelease, ObservatoryApi, ObservatoryError
from observatory.airflow import Empty, SnapshotRelease, Unobtainable
from observatory.storage import Loaded, Source
from observatory.storage.duckdb import DuckDB
from observatory.wants import Offer

from .codes import ALL_DONE, DAYS, NOTHING_LOADED, Codes, loaded

RunDag = Callable[[DAG], dict[str, str]]
RunAgain = Callable[[DAG, str], dict[str, str]]


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
    run = api.get_dataset_releases(dataset_id=dataset.id)[0].run
    assert run
    claims = api.get_claims(dataset_id=dataset.id)
    assert {one.holder for one in claims} == {f"{telescope.dag_id}, run {run.run_id}, try 1"}
    assert [(one.periods, bool(one.ended)) for one in claims] == [(1, True)] * 3


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
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert reasons(api, dataset) == dict.fromkeys([1, 7, 10], "offered")


def test_two_runs_at_once_load_each_release_once(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "observatory.airflow.telescopes")
    second, third = Codes("second", dataset, tmp_path), Codes("third", dataset, tmp_path, newest=4)
    others = [second, third]
    states: list[dict[str, str]] = []

    class First(Codes):
        def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
            # While the first one is at work, the others run from their beginning to their end.
            while others:
                states.append(run_dag(others.pop(0).make_dag()))
            return super().fetch(release, folder)

    first = First("first", dataset, tmp_path)
    ended = run_dag(first.make_dag())
    assert sorted(ended.values()) == ["skipped", "skipped", "success", "success"]
    assert states == [loaded("success", "success"), loaded("success")]
    assert (len(first.fetched), len(second.fetched), third.fetched) == (1, 2, [1])
    assert sorted(first.fetched + second.fetched) == [7, 10, 17]
    assert recorded(api, dataset) == [(1, 1), (7, 1), (10, 1), (17, 1)]
    assert len(api.get_dataset_releases(dataset_id=dataset.id, history=True)) == 4
    run_dag(Codes("fourth", dataset, tmp_path).make_dag())
    assert "nothing is missing" in caplog.messages[-1]


def test_what_another_run_holds_is_not_looked_at_again(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "observatory.airflow.telescopes")
    api.probe(dataset.id, [Offer(day, day) for day in DAYS])
    api.claim(dataset.id, 9, holder="somebody")
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED
    assert "3 missing, but none to load now: somebody loads it until" in caplog.messages[-1]


def test_a_release_that_failed_is_given_back_with_its_error_and_stops_no_other(
    api: ObservatoryApi,
    dataset: Dataset,
    telescope: Codes,
    run_dag: RunDag,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "observatory.airflow.telescopes")
    telescope.breaks_at = 10
    assert run_dag(telescope.make_dag()) == loaded("success", "failed", "success")
    assert recorded(api, dataset) == [(7, 1), (17, 1)]
    assert reasons(api, dataset) == {1: "offered", 10: "failed"}
    [failed] = api.get_missing(dataset_id=dataset.id, reasons=["failed"])
    assert (failed.note, failed.failures) == ("Unavailable: the source broke off", 1)
    assert api.get_claims(live=True) == []

    telescope.breaks_at = None
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED
    assert f"1 failed, tried again from {failed.retry_at:%Y-%m-%d %H:%M} UTC on" in caplog.messages[-1]


def test_a_task_that_failed_for_good_and_is_cleared_loads_its_release_at_once(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag, run_again: RunAgain
) -> None:
    telescope.breaks_at = 10
    dag = telescope.make_dag()
    assert run_dag(dag) == loaded("success", "failed", "success")
    telescope.breaks_at = None
    assert set(run_again(dag, "ingest").values()) == {"success"}
    assert recorded(api, dataset) == [(7, 1), (10, 1), (17, 1)]


def test_what_the_source_says_is_not_there_is_settled_so(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path
) -> None:
    class Gaps(Codes):
        def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
            match release.release_date.day:
                case 7:
                    raise Empty("a holiday")
                case 10:
                    raise Unobtainable("removed by its publisher")
            return super().fetch(release, folder)

    telescope = Gaps("gaps", dataset, tmp_path)
    assert run_dag(telescope.make_dag()) == loaded("skipped", "skipped", "success")
    told = [(one.state, one.reason) for one in api.get_dataset_releases(dataset_id=dataset.id)]
    assert told[:2] == [("empty", "a holiday"), ("unobtainable", "removed by its publisher")]
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED


@pytest.mark.parametrize(("order", "days"), [("oldest", [1, 7]), ("newest", [10, 17])])
def test_a_run_loads_so_many_and_the_next_goes_on(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path, order: Any, days: list[int]
) -> None:
    telescope = Codes("some", dataset, tmp_path, newest=None, per_run=2, order=order)
    assert run_dag(telescope.make_dag()) == loaded("success", "success")
    assert [day for day, _ in recorded(api, dataset)] == days
    assert run_dag(telescope.make_dag()) == loaded("success", "success")
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED


@pytest.mark.parametrize("told", [{"version_label": "v10.1"}, {"digest": "md5:2"}], ids=["label", "digest"])
def test_what_the_source_restates_is_loaded_as_a_revision_and_its_shard_replaced(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag, told: dict[str, str]
) -> None:
    telescope.restated = {10: {"digest": "md5:1"}}
    run_dag(telescope.make_dag())
    telescope.restated = {10: {"digest": "md5:1"} | told, 30: {}}
    assert reasons(api, dataset) == {1: "offered"}
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert sorted(telescope.fetched) == [7, 10, 10, 17]
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
    # They end well, as it was they who recorded.
    assert set(run_again(dag, "ingest").values()) == {"success"}
    assert sorted(telescope.fetched) == [7, 10, 17]
    # What is missing again since is loaded again, and nothing else.
    bad = api.get_dataset_releases(dataset_id=dataset.id)[1]
    api.put_dataset_release(DatasetRelease(id=bad.id, state="withdrawn", reason="found bad"))
    assert set(run_again(dag, "ingest").values()) == {"success"}
    assert sorted(telescope.fetched) == [7, 10, 10, 17]
    assert recorded(api, dataset) == [(7, 1), (10, 2), (17, 1)]


def test_a_task_whose_release_others_took_over_does_not_record_it(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, run_again: RunAgain, tmp_path: Path
) -> None:
    class Slow(Codes):
        def load(self, release: SnapshotRelease, source: Source) -> Loaded:
            if not others:
                # As if its machine had slept until its claim was over.
                [own] = api.get_claims(dataset_id=dataset.id, live=True)
                api.give_back_claim(own)
                others.append(api.claim(dataset.id, 9, holder="somebody", releases=[release.period]))
            return super().load(release, source)

    others: list[Any] = []
    telescope = Slow("slow", dataset, tmp_path, newest=1)
    assert run_dag(telescope.make_dag()) == loaded("failed")
    assert recorded(api, dataset) == []
    assert reasons(api, dataset)[17] == "claimed"
    # Whoever loads it now needs the download.
    assert len(list(tmp_path.glob("work/*/*.json"))) == 1
    assert run_again(telescope.make_dag(), "ingest") == {"ingest[0]": "skipped"}
    assert api.renew_claim(others[0].claim).releases


def test_the_runs_of_dags_with_long_names_are_told_apart(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path
) -> None:
    name = "d" * 249
    seen: list[str] = []

    class Long(Codes):
        def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
            seen.extend(one.holder for one in api.get_claims(dataset_id=dataset.id, live=True))
            return super().fetch(release, folder)

    for other in "ab":
        run_dag(Long(name + other, dataset, tmp_path, newest=1 if other == "a" else 2).make_dag())
    assert len(set(seen)) == 2
    assert all(len(holder) <= 250 for holder in seen)
