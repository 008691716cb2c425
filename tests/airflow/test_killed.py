"""Runs in processes of their own, each with its own Airflow: they race, and are killed."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest
from airflow.sdk import DAG

from observatory import Dataset, ObservatoryApi
from observatory.storage.duckdb import DuckDB

from .codes import Codes, loaded
from .conftest import HOME

RunDag = Callable[[DAG], dict[str, str]]
RUN = """
import os, sys
from pathlib import Path
from time import sleep

from tests.airflow.codes import Codes
from observatory import make_observatory_api

folder, dataset_id, name, seconds, dies = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]

class Racing(Codes):
    def offered(self):
        (folder / f"{name}.ready").touch()
        while not (folder / "go").exists():
            sleep(0.01)
        return super().offered()

    def fetch(self, release, to):
        with (folder / "fetched").open("a") as log:
            print(release.release_date.day, file=log)
        return super().fetch(release, to)

    def add_new_dataset_releases(self, release, claim=None, **context):
        if dies == "yes":
            os.kill(os.getpid(), 9)
        return super().add_new_dataset_releases(release, claim, **context)

with make_observatory_api() as api:
    dag = Racing("racing", api.get_dataset(dataset_id), folder, claim_seconds=int(seconds)).make_dag()

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

DagBundlesManager().sync_bundles_to_db()
bag = DagBag(dag_folder=os.devnull)
bag.bag_dag(dag)
sync_bag_to_db(bag, "dags-folder", None)
print(dag.test().state)
"""


@pytest.fixture
def start(airflow_database: None, dataset: Dataset, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts a run of a telescope in a process with a name."""

    def start(name: str, seconds: int = 60, *, dies: bool = False) -> subprocess.Popen[bytes]:
        home = tmp_path / name
        home.mkdir()
        # A copy of the file alone would not have what was written last.
        with closing(sqlite3.connect(HOME / "airflow.db")) as airflow:
            airflow.execute("VACUUM INTO ?", [f"{home}/airflow.db"])
        environment = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        }
        told = [str(tmp_path), str(dataset.id), name, str(seconds), "yes" if dies else "no"]
        output = (home / "output").open("wb")
        command = [sys.executable, "-c", RUN, *told]
        with output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    return start


def fetched(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "fetched").read_text().split()))


@pytest.mark.long
def test_runs_that_look_at_the_source_at_the_same_moment_load_each_release_once(
    api: ObservatoryApi, dataset: Dataset, tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    runs = [start("one"), start("two")]
    while len(list(tmp_path.glob("*.ready"))) < len(runs):
        assert all(run.poll() is None for run in runs)
        sleep(0.05)
    (tmp_path / "go").touch()
    assert [run.wait(300) for run in runs] == [0, 0]
    assert fetched(tmp_path) == [7, 10, 17]
    releases = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert [(one.start_date.day, one.revision, one.row_count) for one in releases] == [
        (7, 1, 7),
        (10, 1, 10),
        (17, 1, 17),
    ]
    assert len(api.get_claims(dataset_id=dataset.id)) == 3


@pytest.mark.long
def test_what_a_run_had_loaded_that_was_killed_before_it_recorded_is_another_runs_when_its_claim_is_over(
    api: ObservatoryApi,
    dataset: Dataset,
    tmp_path: Path,
    start: Callable[..., subprocess.Popen[bytes]],
    run_dag: RunDag,
) -> None:
    (tmp_path / "go").touch()
    killed = start("killed", 20, dies=True)
    assert killed.wait(300) == -signal.SIGKILL
    [loaded_already] = DuckDB(tmp_path).shards(dataset.address)
    assert api.get_dataset_releases(dataset_id=dataset.id) == []
    # With the same id, as it is the same DAG.
    next_run = Codes("racing", dataset, tmp_path)
    assert run_dag(next_run.make_dag()) == loaded("success", "success")
    while api.get_claims(dataset_id=dataset.id, live=True):
        sleep(0.2)
    assert run_dag(next_run.make_dag()) == loaded("success")
    # It goes on with what the other one had downloaded.
    assert fetched(tmp_path) == [int(loaded_already[-2:])]
    assert sorted(fetched(tmp_path) + next_run.fetched) == [7, 10, 17]
    releases = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert [(one.start_date.day, one.revision) for one in releases] == [(7, 1), (10, 1), (17, 1)]
    assert [one.start_date.day for one in api.get_missing(dataset_id=dataset.id)] == [1]
