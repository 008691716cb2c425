"""DAG files ask the book while Airflow reads them, and keep their DAGs when it does not answer."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from observatory import Dataset, ObservatoryApi, Organisation, make_observatory_api
from observatory.airflow import parsing
from observatory.client import patience, snapshot

from .conftest import States

EACH_ORGANISATION = """
from airflow.sdk import DAG, task
from observatory import make_observatory_api

with make_observatory_api() as api:
    organisations = api.get_organisations()
for organisation in organisations:
    with DAG(f"of_{organisation.id}") as dag:
        task(task_id="nothing")(lambda: None)()
    globals()[dag.dag_id] = dag
"""
SPEC = ModuleSpec("file_with_dags", None)
STATS = "airflow.sdk._shared.observability.metrics.stats"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Forgets what a process knows, as if another one read the next file."""
    monkeypatch.setenv("OBSERVATORY_SNAPSHOTS", str(tmp_path / "snapshots"))

    def forget() -> None:
        snapshot._OF_PROCESS.clear()
        patience._OF_PROCESS.clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def dag_file(tmp_path: Path) -> Path:
    file = tmp_path / "dags" / "each_organisation.py"
    file.parent.mkdir()
    file.write_text(EACH_ORGANISATION)
    return file


def dags_of(file: Path) -> set[str]:
    bag = DagBag(dag_folder=str(file))
    assert bag.import_errors == {}
    return set(bag.dags)


def test_a_file_keeps_its_dags_when_the_book_is_gone(
    api: ObservatoryApi,
    dataset: Dataset,
    dag_file: Path,
    new_process: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server_url: str,
) -> None:
    api.post_organisation(Organisation(name="another"))
    assert dags_of(dag_file) == {"of_1", "of_2"}
    new_process()
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(f"{STATS}.gauge", lambda name, value: told.append((name, value)))
    monkeypatch.setattr(f"{STATS}.incr", lambda name: told.append((name, 1)))
    # The same address, at which nobody listens any more.
    monkeypatch.setattr("observatory.client.transport.Transport.catalogue", gone)
    assert dags_of(dag_file) == {"of_1", "of_2"}

    [warning] = [one for one in caplog.messages if "stands in" in one]
    assert server_url in warning
    assert [name for name, _ in told] == ["observatory.snapshot_age", "observatory.snapshot_fallbacks"]
    assert 0 <= told[0][1] < 60


def gone(*_: object) -> None:
    from observatory import Unavailable

    raise Unavailable("nobody listens")


def test_without_book_and_snapshot_a_file_has_one_clear_error(
    dag_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_URL", NOBODY)
    bag = DagBag(dag_folder=str(dag_file))
    [error] = bag.import_errors.values()
    assert "observatory snapshot DAG_FOLDER" in error
    assert NOBODY in error


def test_a_task_asks_the_book_by_the_object_that_its_file_made(
    api: ObservatoryApi, dataset: Dataset, run_dag: Callable[[DAG], States], dag_file: Path
) -> None:
    seen: list[tuple[str, bool]] = []
    told: dict[str, object] = {
        "__name__": "file_with_dags",
        "__spec__": SPEC,
        "seen": seen,
        "parsing": parsing,
    }
    exec(FILE_OF_A_TASK, told)  # ours
    dag = told["dag"]
    assert isinstance(dag, DAG)
    assert seen == [("the file", True)]
    assert run_dag(dag) == {"ask": "failed"}
    assert seen == [("the file", True), ("the task", False), ("its call-back", False)]


FILE_OF_A_TASK = """
from airflow.sdk import DAG, task

def note(what):
    seen.append((what, parsing.is_reading()))

def ask():
    note("the task")
    raise ValueError("so that it is called back")

with DAG("reads") as dag:
    task(ask, on_failure_callback=lambda context: note("its call-back"))()
note("the file")
"""


def test_a_file_may_ask_in_threads(api: ObservatoryApi) -> None:
    told: dict[str, object] = {
        "__name__": "file_with_dags",
        "__spec__": SPEC,
        "parsing": parsing,
        "threading": threading,
    }
    exec(IN_A_THREAD, told)  # ours
    assert told["found"] == [True]


IN_A_THREAD = """
found = []
thread = threading.Thread(target=lambda: found.append(parsing.is_reading()))
thread.start()
thread.join()
"""


def test_nothing_is_read_by_a_program_that_only_has_airflow() -> None:
    assert not parsing.is_reading()


@pytest.mark.parametrize("words", ["a DAG file of Airflow", "a plain program"])
def test_a_file_that_is_run_is_read_and_a_plain_program_is_not(words: str, tmp_path: Path) -> None:
    file = tmp_path / "run.py"
    file.write_text(f"from observatory import make_observatory_api\n# {words}\n{RUN}")
    if "plain" in words:  # which says neither of the two words
        file.write_text(RUN_PLAIN)
    found = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert found.stdout.splitlines()[-1] == str("plain" not in words)


RUN = """
import airflow.sdk
import observatory.airflow.parsing as p
print(p.is_reading())
"""
RUN_PLAIN = """
import importlib
name = "".join(reversed("wolfria"))
p = importlib.import_module(f"observatory.{name}.parsing")
print(p.is_reading())
"""


SALES = """
import json
found = []
for organisation in api.get_organisations(limit=1000):
    workflows = api.get_workflows(organisation_id=organisation.id, limit=1000)
    for workflow in workflows:
        tags = json.loads(workflow.tags)
        if "sales_partner" not in tags:
            continue

        datasets = api.get_datasets(workflow_id=workflow.id, limit=1000)
        for dataset in datasets:
            found.append((
                dataset.name,
                dataset.dataset_type.extras.get("sales_field"),
                dataset.service,
                dataset.address,
                dataset.dataset_type.table_type.type_id,
            ))
"""


def test_the_loop_over_sales_partners_is_the_same_while_a_file_is_read(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    plain: dict[str, object] = {"__name__": "file_with_dags", "__spec__": SPEC, "api": api}
    with make_observatory_api() as reading:
        read: dict[str, object] = {"__name__": "file_with_dags", "__spec__": SPEC, "api": reading}
        exec(SALES, plain)  # ours
        exec(SALES, read)
    assert read["found"] == plain["found"] == [("codes", None, "duckdb", "warehouse.duckdb:codes", "sharded")]
