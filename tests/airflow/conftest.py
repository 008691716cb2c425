"""A real Airflow on SQLite, and a real server of the book beside it."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Airflow reads its settings when it is first imported.
HOME = Path(os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-")))
(HOME / "dags").mkdir(exist_ok=True)
os.environ |= {
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
    "NO_COLOR": "1",
}

from airflow.sdk import DAG  # noqa: E402

from observatory import (  # noqa: E402
    Dataset,
    DatasetType,
    ObservatoryApi,
    Organisation,
    Workflow,
    WorkflowType,
)

# The states of the tasks of a run, by task id.
States = dict[str, str]


@pytest.fixture(scope="session")
def airflow_database() -> None:
    import airflow.utils.db

    airflow.utils.db.initdb()


@pytest.fixture
def run_dag(airflow_database: None) -> Callable[[DAG], States]:
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
        return {task.task_id: str(task.state) for task in done.get_task_instances()}

    return run


@pytest.fixture(scope="session")
def book_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import uvicorn

    from observatory.ledger import upgrade
    from observatory.server.app import create_app
    from observatory.settings import Settings

    database_url = f"sqlite:///{tmp_path_factory.mktemp('book')}/book.db"
    upgrade(database_url)
    # Without naming the protocol, the socket would wait 40 ms for more to send.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    app = create_app(Settings(database_url=database_url))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def api(book_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObservatoryApi]:
    monkeypatch.setenv("OBSERVATORY_URL", book_url)
    with ObservatoryApi(book_url) as api:
        yield api


@pytest.fixture
def dataset(api: ObservatoryApi, request: pytest.FixtureRequest) -> Dataset:
    """A sharded dataset in DuckDB, of a workflow that is named after the test."""
    name = request.node.name[:200]
    (sharded,) = [kind for kind in api.get_table_types() if kind.type_id == "sharded"]
    organisation = api.post_organisation(Organisation(name=name))
    workflow_type = api.post_workflow_type(WorkflowType(type_id=name, name=name))
    kind = api.post_dataset_type(DatasetType(type_id=name, name=name, table_type=sharded))
    workflow = api.post_workflow(Workflow(name=name, organisation=organisation, workflow_type=workflow_type))
    return api.post_dataset(
        Dataset(
            name=f"data of {name}",
            service="duckdb",
            address="warehouse.duckdb:codes",
            workflow=workflow,
            dataset_type=kind,
        )
    )
