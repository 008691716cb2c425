from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException

from observatory import Dataset, Invalid, ObservatoryApi, make_dag_id
from observatory.airflow import Release, SnapshotRelease, StreamRelease, Workflow

DAY = datetime(2021, 1, 2, tzinfo=UTC)
RunDag = Callable[[DAG], dict[str, str]]


class Plain(Workflow):
    """Notes what its tasks are called with."""

    def __init__(self, dag_id: str, workflow_id: int | None = None, **workflow: Any) -> None:
        super().__init__(dag_id, workflow_id, retries=0, **workflow)
        self.called: list[tuple[str, Any]] = []
        self.goes_on = True

    def make_release(self, **context: Any) -> Release | list[Release]:
        return SnapshotRelease(DAY, version_label=context["run_id"][:6])

    def decide(self, **context: Any) -> bool:
        self.called.append(("decide", context["dag"].dag_id))
        return self.goes_on

    def first(self, release: SnapshotRelease, **context: Any) -> None:
        self.called.append(("first", (release.release_date, context["ti"].task_id)))

    def second(self, release: SnapshotRelease, run_id: str, colour: str = "blue") -> None:
        self.called.append(("second", (release.version_label, bool(run_id), colour)))

    def forgetful(self) -> bool:
        return None  # type: ignore[return-value] # as callers do who forget to return


def edges(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def test_tasks_run_one_after_the_other_with_the_release_and_the_context(run_dag: RunDag) -> None:
    workflow = Plain("plain")
    workflow.add_setup_task(workflow.decide)
    workflow.add_task_chain([workflow.first, workflow.second])
    workflow.add_task(workflow.second, task_id="third", op_kwargs={"colour": "red"})
    dag = workflow.make_dag()
    assert edges(dag) == {"decide": {"first"}, "first": {"second"}, "second": {"third"}, "third": set()}
    assert set(run_dag(dag).values()) == {"success"}
    assert workflow.called == [
        ("decide", "plain"),
        ("first", (DAY, "first")),
        ("second", ("manual", True, "blue")),
        ("second", ("manual", True, "red")),
    ]


def test_a_setup_task_that_says_no_skips_all_that_follow(run_dag: RunDag) -> None:
    workflow = Plain("says_no")
    workflow.goes_on = False
    workflow.add_setup_task_chain([workflow.decide])
    workflow.add_task_chain([workflow.first, workflow.second])
    states = run_dag(workflow.make_dag())
    assert states == {"decide": "success", "first": "skipped", "second": "skipped"}
    assert workflow.called == [("decide", "says_no")]


def test_a_setup_task_that_forgets_to_return_fails_instead_of_skipping_all(run_dag: RunDag) -> None:
    workflow = Plain("forgetful")
    workflow.add_setup_task(workflow.forgetful)
    workflow.add_task(workflow.first)
    assert run_dag(workflow.make_dag()) == {"forgetful": "failed", "first": "upstream_failed"}


def test_parallel_tasks_stand_beside_each_other_between_what_is_before_and_after() -> None:
    workflow = Plain("parallel")
    workflow.add_setup_task(workflow.decide)
    with workflow.parallel_tasks():
        for name in ("a", "b", "c"):
            workflow.add_task(workflow.first, task_id=name)
    with workflow.parallel_tasks():
        workflow.add_operator(EmptyOperator(task_id="d"))
        workflow.add_setup_task(workflow.decide, task_id="e")
    with workflow.parallel_tasks():
        pass
    workflow.add_task(workflow.second)
    assert edges(workflow.make_dag()) == {
        "decide": {"a", "b", "c"},
        "a": {"d", "e"},
        "b": {"d", "e"},
        "c": {"d", "e"},
        "d": {"second"},
        "e": {"second"},
        "second": set(),
    }


def test_an_operator_of_any_kind_is_part_of_the_dag(run_dag: RunDag) -> None:
    workflow = Plain("operators")
    workflow.add_operator(EmptyOperator(task_id="before"))
    workflow.add_task(workflow.first)
    dag = workflow.make_dag()
    assert set(dag.task_group.children) == {"before", "first"}
    assert set(run_dag(dag).values()) == {"success"}


def test_operators_of_a_chain_follow_each_other() -> None:
    workflow = Plain("chain")
    workflow.add_task(workflow.first)
    workflow.add_operator_chain([EmptyOperator(task_id="one"), EmptyOperator(task_id="two")])
    assert edges(workflow.make_dag()) == {"first": {"one"}, "one": {"two"}, "two": set()}


def test_a_release_that_ends_before_it_starts_is_refused_where_it_is_made() -> None:
    with pytest.raises(Invalid, match="end_date: must not be before start_date"):
        StreamRelease(DAY, date(2021, 1, 1))  # type: ignore[arg-type] # a date is its midnight


def test_a_dag_is_made_once_with_what_the_caller_said_of_it() -> None:
    workflow = Plain("made", schedule="@daily", tags=["sales"], default_args={"owner": "sales"}, catchup=True)
    workflow.add_task(workflow.first)
    dag = workflow.make_dag()
    assert dag is workflow.make_dag()
    assert (dag.dag_id, dag.tags, dag.catchup, dag.max_active_runs) == ("made", {"sales"}, True, 1)
    assert (dag.get_task("first").owner, dag.get_task("first").retries) == ("sales", 0)
    with pytest.raises(Invalid, match="made already"):
        workflow.add_task(workflow.second)


def test_a_task_without_a_name_must_be_given_one() -> None:
    workflow = Plain("nameless")
    with pytest.raises(Invalid, match="task_id: give it"):
        workflow.add_task(lambda release: None, task_id=None)


def test_a_workflow_that_makes_no_release_is_told_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Workflow\.make_release"):
        Workflow("none").make_release()


@pytest.mark.parametrize("name", ["Curtin Press", "大学", "😀", "x" * 10_000, ""])
def test_airflow_accepts_the_dag_ids_that_are_made_of_names(name: str) -> None:
    workflow = Plain(make_dag_id("onix", name))
    assert workflow.make_dag().dag_id == workflow.dag_id


def test_dependencies_that_airflow_does_not_have_are_all_named(
    run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_THERE", "1")
    monkeypatch.setenv("AIRFLOW_CONN_THERE", "http://there")
    workflow = Plain("complete", airflow_vars=["there"], airflow_conns=["there"])
    workflow.add_setup_task(workflow.check_dependencies)
    assert run_dag(workflow.make_dag()) == {"check_dependencies": "success"}

    workflow = Plain("incomplete", airflow_vars=["there", "gone"], airflow_conns=["there", "away"])
    with pytest.raises(AirflowFailException, match="variable gone, connection away"):
        workflow.check_dependencies()


def test_dependencies_include_the_workflow_in_the_book(api: ObservatoryApi, dataset: Dataset) -> None:
    workflow = Plain("depending", dataset.workflow.id)
    workflow.api = api
    assert workflow.check_dependencies()
    workflow.workflow_id = 999
    with pytest.raises(AirflowFailException, match="Workflow 999 does not exist; give the id"):
        workflow.check_dependencies()
    # With nothing to record, it would fail after all the work.
    api.delete_dataset(dataset.id)
    workflow.workflow_id = dataset.workflow.id
    with pytest.raises(AirflowFailException, match=f"add one to workflow {dataset.workflow.id}"):
        workflow.check_dependencies()


def test_a_mapped_task_runs_once_for_each_item_and_one_that_fails_stops_no_other(run_dag: RunDag) -> None:
    class Mapping(Plain):
        def parts(self) -> list[dict[str, Any]]:
            return [{"number": number, "of": 3} for number in range(3 if self.goes_on else 0)]

        def work(self, number: int, of: int, run_id: str) -> None:
            if number == 1:
                raise Invalid("no")
            self.called.append((run_id[:6], number))

    workflow = Mapping("mapping")
    workflow.add_setup_task(workflow.parts)
    workflow.add_mapped_task(
        workflow.work, over="parts", task_id="each", map_index_template="{{ task.op_kwargs['number'] }}"
    )
    dag = workflow.make_dag()
    states = run_dag(dag)
    assert states == {"parts": "success", "each[0]": "success", "each[1]": "failed", "each[2]": "success"}
    assert sorted(workflow.called) == [("manual", 0), ("manual", 2)]
    workflow.goes_on = False
    assert run_dag(dag) == {"parts": "success", "each": "skipped"}


@pytest.mark.parametrize("kind", [Path, ObjectStoragePath])
def test_each_release_has_a_work_folder_that_cleanup_removes(
    run_dag: RunDag, tmp_path: Path, kind: type[Path] | type[ObjectStoragePath]
) -> None:
    # A file system that is mounted is one of the object stores that Airflow knows.
    folder = kind(tmp_path if kind is Path else f"file://{tmp_path}")

    class Working(Plain):
        def make_release(self, **context: Any) -> list[Release]:
            return [
                SnapshotRelease(DAY),
                SnapshotRelease(DAY + timedelta(microseconds=1)),
                StreamRelease(start_date=DAY, end_date=datetime(2021, 2, 1, tzinfo=UTC)),
            ]

        def work(self, releases: list[Release]) -> None:
            for release in releases:
                self.work_folder(release).mkdir(parents=True)

    workflow = Working("working", folder=folder)
    workflow.add_task(workflow.work)
    dag = workflow.make_dag()
    assert run_dag(dag) == {"work": "success"}
    names = sorted(folder.name for folder in (tmp_path / "work" / "working").iterdir())
    assert names == ["20210102T000000", "20210102T000000-20210201T000000", "20210102T000000.000001"]
    workflow = Working("working", folder=folder)
    workflow.add_task(workflow.cleanup)
    assert run_dag(workflow.make_dag()) == {"cleanup": "success"}
    assert list((tmp_path / "work" / "working").iterdir()) == []


def test_the_text_of_a_dag_is_that_of_its_class() -> None:
    class Told(Workflow):
        """Loads this.

        And that.
        """

    class Silent(Workflow):
        pass

    assert Told("told").make_dag().doc_md == "Loads this.\n\nAnd that."
    assert Told("told", doc_md="Other", tags=["one"]).make_dag().doc_md == "Other"
    assert Told("told", tags=["one"]).make_dag().tags == {"one"}
    assert Silent("silent").make_dag().doc_md is None


def test_new_releases_are_recorded_for_each_dataset_with_the_run_that_brought_them(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    other = api.post_dataset(
        Dataset(
            name="other",
            service="elasticsearch",
            address="codes",
            workflow=dataset.workflow,
            dataset_type=dataset.dataset_type,
        )
    )
    workflow = Plain("recording", dataset.workflow.id)
    workflow.add_task(workflow.add_new_dataset_releases)
    assert set(run_dag(workflow.make_dag()).values()) == {"success"}

    for recorded_for in (dataset, other):
        (release,) = api.get_dataset_releases(10, recorded_for.id)
        assert release.start_date == release.end_date == DAY
        assert release.version_label == "manual"
        assert release.run is not None
        assert (release.run.dag_id, release.run.task_id) == ("recording", "add_new_dataset_releases")
        assert release.run.run_id is not None
        assert release.run.run_id.startswith("manual")
        assert release.run.map_index is None
        assert "/dags/recording/runs/" in str(release.run.url)

    # Another run of the same data records nothing twice.
    assert set(run_dag(workflow.make_dag()).values()) == {"success"}
    assert len(api.get_dataset_releases(10, dataset.id)) == 1


def test_several_releases_of_one_run_are_recorded_with_their_periods(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    class Stream(Plain):
        def make_release(self, **context: Any) -> Release | list[Release]:
            months = [datetime(2021, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
            return [
                StreamRelease(months[0], months[1], row_count=7),
                StreamRelease(months[1], months[2], row_count=8),
            ]

    workflow = Stream("stream", dataset.workflow.id)
    workflow.add_task(workflow.add_new_dataset_releases)
    assert set(run_dag(workflow.make_dag()).values()) == {"success"}
    releases = api.get_dataset_releases(10, dataset.id)
    assert [(one.start_date.month, one.end_date.month, one.row_count) for one in releases] == [
        (1, 2, 7),
        (2, 3, 8),
    ]


def test_facts_that_a_task_finds_out_are_known_to_those_after_it_and_recorded(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag
) -> None:
    seen: list[Any] = []

    class Finding(Plain):
        def make_release(self, **context: Any) -> Release | list[Release]:
            return [SnapshotRelease(DAY), SnapshotRelease(DAY.replace(day=3), row_count=1)]

        def zeroth(self, releases: list[SnapshotRelease]) -> None:
            releases[0].row_count, releases[0].digest = 4, "sha256:1"
            releases[0].extras["rejected"] = 2

        def beside(self, releases: list[SnapshotRelease]) -> None:
            seen.append(releases[0].row_count)
            releases[0].published = datetime(2021, 1, 5, tzinfo=UTC)

        def correct(self, releases: list[SnapshotRelease]) -> None:
            seen.append(releases[0].row_count)
            releases[0].row_count = 5

    workflow = Finding("finding", dataset.workflow.id)
    # Their names are in another order than they are.
    with workflow.parallel_tasks():
        workflow.add_task(workflow.zeroth)
        workflow.add_task(workflow.beside)
    workflow.add_operator(EmptyOperator(task_id="between"))
    workflow.add_task(workflow.correct)
    workflow.add_task(workflow.add_new_dataset_releases)
    assert set(run_dag(workflow.make_dag()).values()) == {"success"}

    assert seen == [None, 4]
    found, untouched = api.get_dataset_releases(dataset_id=dataset.id)
    assert (found.row_count, found.digest, found.extras) == (5, "sha256:1", {"rejected": 2})
    assert found.published == datetime(2021, 1, 5, tzinfo=UTC)
    assert (untouched.row_count, untouched.digest, untouched.extras) == (1, None, {})


def test_what_a_task_sets_before_it_fails_is_not_carried(run_dag: RunDag) -> None:
    seen: list[Any] = []

    class Failing(Plain):
        def fails(self, release: SnapshotRelease) -> None:
            release.row_count = 5
            raise ValueError

        def looks(self, release: SnapshotRelease) -> None:
            seen.append(release.row_count)

    workflow = Failing("failing")
    workflow.add_task(workflow.fails)
    workflow.add_task(workflow.looks, trigger_rule="all_done")
    assert run_dag(workflow.make_dag()) == {"fails": "failed", "looks": "success"}
    assert seen == [None]


@pytest.mark.parametrize(("field", "value"), [("row_count", "5"), ("extras", {"rows": object()})])
def test_a_fact_that_cannot_be_recorded_fails_the_task_that_sets_it(
    run_dag: RunDag, field: str, value: Any
) -> None:
    class Wrong(Plain):
        def sets(self, release: SnapshotRelease) -> None:
            setattr(release, field, value)

    workflow = Wrong(f"wrong_{field}")
    workflow.add_task(workflow.sets)
    workflow.add_task(workflow.first)
    assert run_dag(workflow.make_dag()) == {"sets": "failed", "first": "upstream_failed"}


def test_a_workflow_without_datasets_does_not_pretend_to_have_recorded_anything(api: ObservatoryApi) -> None:
    with pytest.raises(Invalid, match="workflow_id"):
        Plain("no_id").datasets()


def test_a_release_takes_dates_and_refuses_times_without_a_zone() -> None:
    assert SnapshotRelease(date(2021, 1, 2)).release_date == DAY  # type: ignore[arg-type] # becomes a time
    with pytest.raises(Invalid, match=r"release_date.*no time zone"):
        SnapshotRelease(datetime(2021, 1, 2))
    with pytest.raises(Invalid, match=r"published.*no time zone"):
        SnapshotRelease(DAY, published=datetime(2021, 1, 2))
