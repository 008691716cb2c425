"""The examples as Airflow reads them, beside a book with their catalogue."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import DAG

from observatory import ObservatoryApi

from ..airflow.conftest import airflow_database, api, database_url, run_dag

__all__ = ["airflow_database", "api", "database_url", "run_dag"]

EXAMPLES = Path(__file__).parents[2] / "examples"
OBSERVATORY = str(Path(sys.executable).with_name("observatory"))
RunExample = Callable[[str, str], dict[str, str]]


@pytest.fixture
def book(api: ObservatoryApi) -> ObservatoryApi:
    """The book that the examples are told to be in."""
    subprocess.run([OBSERVATORY, "apply", str(EXAMPLES / "catalogue.yaml"), "--yes"], check=True)
    return api


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples keep their data."""
    monkeypatch.setenv("OBSERVATORY_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def read_dags(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, DAG]]:
    """Returns the DAGs of a file, read as Airflow does."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def read(file: str) -> dict[str, DAG]:
        from airflow.dag_processing.dagbag import DagBag

        # They keep what the environment says when they are imported.
        sys.modules.pop("partners", None)
        bag = DagBag(str(EXAMPLES / file), bundle_path=EXAMPLES)
        assert bag.import_errors == {}
        return dict(bag.dags)

    return read


@pytest.fixture
def run_example(
    book: ObservatoryApi,
    data: Path,
    read_dags: Callable[[str], dict[str, DAG]],
    run_dag: Callable[[DAG], dict[str, str]],
) -> RunExample:
    """Runs a DAG of a file once and returns the states of its tasks; the file is read anew each time."""
    return lambda file, dag_id: run_dag(read_dags(file)[dag_id])
