"""A real Airflow on SQLite, beside a real server of the book."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Airflow reads its settings when it is first imported. Each process has one of its own, also where what
# started it had one.
HOME = Path(tempfile.mkdtemp(prefix="airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
(HOME / "dags").mkdir(exist_ok=True)
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
    "NO_COLOR": "1",
}

from airflow.sdk import DAG  # noqa: E402

from observatory import Dataset, DatasetType, ObservatoryApi, Workflow  # noqa: E402
from observatory.ledger import upgrade  # noqa: E402

from .codes import Codes  # noqa: E402

# The states of the tasks of a run, by task id, with the number in brackets where it is mapped.
States = dict[str, str]


def named(task: Any) -> str:
    return f"{task.task_id}[{task.map_index}]" if task.map_index >= 0 else str(task.task_id)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    import airflow.utils.db

    airflow.utils.db.initdb()


@pytest.fixture
def run_dag(airflow_database: None) -> Callable[[DAG], States]:
    """Runs a DAG once, as Airflow does."""

    def run(dag: DAG) -> States:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        # `dag.test` wants a DAG that a bundle knows.
        bundles = DagBundlesManager()  # type: ignore[no-untyped-call] # untyped in Airflow
        bundles.sync_bundles_to_db()
        bag = DagBag(dag_folder=os.devnull)
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        done: Any = dag.test()
        return {named(task): str(task.state) for task in done.get_task_instances()}

    return run


@pytest.fixture
def run_again(airflow_database: None) -> Callable[[DAG, str], States]:
    """Runs tasks of the last run of a DAG again, from one of them on, as when somebody clears it."""

    def run(dag: DAG, first: str) -> States:
        from airflow.models.dagrun import DagRun
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session

        cleared = {first} | dag.get_task(first).get_flat_relative_ids(upstream=False)
        [done] = DagRun.find(dag_id=dag.dag_id)[-1:]
        tasks: Any = sorted(done.get_task_instances(), key=lambda ti: (ti.task_id != first, ti.map_index))
        tasks = [ti for ti in tasks if ti.task_id in cleared]
        for ti in tasks:
            with create_session() as session:
                again: Any = session.merge(ti)
                again.try_number, again.state = again.try_number + 1, "scheduled"
            _run_task(ti=again, task=dag.get_task(ti.task_id))
        states = {named(ti): str(ti.state) for ti in done.get_task_instances()}
        return {named(ti): states[named(ti)] for ti in tasks}

    return run


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The book on SQLite only: what is tested here does not see the difference."""
    url = f"sqlite:///{tmp_path}/book.db"
    upgrade(url)
    return url


@pytest.fixture
def api(api: ObservatoryApi, server_url: str, monkeypatch: pytest.MonkeyPatch) -> ObservatoryApi:
    """The book, which tasks find by the environment."""
    monkeypatch.setenv("OBSERVATORY_URL", server_url)
    return api


@pytest.fixture
def dataset(api: ObservatoryApi, workflow: Workflow) -> Dataset:
    """A sharded dataset in DuckDB."""
    sharded = api.get_table_type(type_id="sharded")
    kind = api.post_dataset_type(DatasetType(type_id="codes", name="Codes", table_type=sharded))
    codes = Dataset(name="codes", workflow=workflow, dataset_type=kind)
    codes.service, codes.address = "duckdb", "warehouse.duckdb:codes"
    return api.post_dataset(codes)


@pytest.fixture
def telescope(dataset: Dataset, tmp_path: Path, request: pytest.FixtureRequest) -> Codes:
    return Codes(request.node.name.partition("[")[0], dataset, tmp_path)
