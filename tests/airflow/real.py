"""A real Airflow in processes of its own: API server, scheduler, DAG processor and triggerer."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from ..server.conftest import free_port
from .keeper import Keeper, kill

T = TypeVar("T")

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
ENDED = ("success", "failed")
LINES, WIDTH = 60, 400  # of each log in a report, and of a line of it


def until(ask: Callable[[], T], what: str, seconds: float = 180) -> T:
    """Asks again and again until the answer is true, and returns it; fails when the time is over."""
    end = time.monotonic() + seconds
    while True:
        # It may just be starting.
        with suppress(httpx2.TransportError):
            if answer := ask():
                return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)


class Airflow:
    """Runs the DAG files of `dags_folder` in a `with` statement, after which nothing of it is left.

    All its processes have the `environment` too. Its metadata database is in SQLite.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="real-airflow-"))
        self.dags_folder = self.home / "dags"
        self.dags_folder.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        # Those of the Airflow within this process are not for this one.
        inherited = {key: told for key, told in os.environ.items() if not key.startswith("AIRFLOW")}
        self.environment = inherited | _settings(self.home, self.url) | dict(environment)
        self._http = httpx2.Client(base_url=self.url, timeout=30)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._keeper = Keeper(self.home)

    def __enter__(self) -> "Airflow":
        try:
            self.run("db", "migrate")
            self.start()
            self._is_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            print(self.logs())  # shown with the failure
        self.close()

    def close(self) -> None:
        """Ends all its processes and removes its folder."""
        self._http.close()
        self._keeper.end()
        for process in self._processes.values():
            process.wait()

    def run(self, *command: str) -> None:
        """Runs a command of Airflow to its end."""
        done = subprocess.run(
            [*AIRFLOW, *command], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *components: str) -> None:
        """Starts components, all of them if none is named."""
        for component in components or COMPONENTS:
            with self._log(component).open("ab") as log:
                process = subprocess.Popen(
                    [*AIRFLOW, component],
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._processes[component] = process
            self._keeper.watch(process.pid)

    def kill(self, *components: str) -> None:
        """Kills components, all of them if none is named, with all that they run, as a lost machine does."""
        for component in components or COMPONENTS:
            process = self._processes.pop(component)
            kill(process.pid)
            process.wait()

    def wipe(self) -> None:
        """Begins anew with an empty metadata database: all it knew of runs is gone."""
        self.kill()
        self.run("db", "reset", "--yes")
        self.start()
        self._is_up()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Calls Airflow's API, such as `("GET", "dags/sales")`."""
        answer = self._http.request(method, f"/api/v2/{path}", json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def dags(self) -> dict[str, dict[str, Any]]:
        """Returns what is known of each DAG: `is_stale`, `last_parsed_time`, `has_import_errors`, …"""
        found = self.call("GET", "dags?exclude_stale=false&limit=100")["dags"]
        return {one["dag_id"]: one for one in found}

    def import_errors(self) -> dict[str, str]:
        """Returns the error of each DAG file that could not be read, by its name."""
        found = self.call("GET", "importErrors?limit=100")["import_errors"]
        return {Path(one["filename"]).name: one["stack_trace"] for one in found}

    def has(self, *dag_ids: str, seconds: float = 180) -> None:
        """Waits until there are these DAGs."""

        def are_there() -> bool:
            there = {dag_id for dag_id, dag in self.dags().items() if not dag["is_stale"]}
            return there >= set(dag_ids)

        until(are_there, f"the DAGs {dag_ids}", seconds)

    def parsed(self, dag_id: str, times: int = 2, seconds: float = 180) -> None:
        """Waits until the file of a DAG was read so many times more."""
        seen = set()

        def is_read() -> bool:
            seen.add(self.dags()[dag_id]["last_parsed_time"])
            return len(seen) > times

        until(is_read, f"{dag_id} read {times} times more", seconds)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Starts a run by hand and returns its id."""
        run = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """Returns the state of a run."""
        return str(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def ended(self, dag_id: str, run_id: str, seconds: float = 180) -> str:
        """Waits until a run has ended, and returns its state."""

        def end() -> str | None:
            return state if (state := self.state(dag_id, run_id)) in ENDED else None

        return until(end, f"the end of run {run_id} of {dag_id}", seconds) or ""

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Returns what is known of each task of a run by name, such as `ingest[0]` of a mapped one."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000"
        return {_named(one): one for one in self.call("GET", path)["task_instances"]}

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Returns the state of each task of a run."""
        return {name: str(task["state"]) for name, task in self.tasks(dag_id, run_id).items()}

    def clear(self, dag_id: str, run_id: str, *tasks: str | tuple[str, int]) -> None:
        """Clears tasks of a run, by name, or name and number, to run again; all of them if none is named."""
        told: dict[str, Any] = {"dry_run": False, "only_failed": False, "dag_run_id": run_id}
        if tasks:
            told["task_ids"] = tasks
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", told)

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pauses a DAG, or goes on with it."""
        self.call("PATCH", f"dags/{dag_id}?update_mask=is_paused", {"is_paused": paused})

    def logs(self) -> str:
        """Returns the last lines of each log, those of tasks too, for the report of a test that failed."""
        files = [self._log(one) for one in COMPONENTS]
        files += sorted((self.home / "logs").rglob("attempt=*.log"), key=lambda file: file.stat().st_mtime)[
            -6:
        ]
        return "\n".join(_end(file) for file in files if file.exists())

    def _log(self, component: str) -> Path:
        return self.home / f"{component}.log"

    def _is_up(self) -> None:
        def is_healthy() -> bool:
            told = self._http.get("/api/v2/monitor/health")
            return told.is_success and told.json()["scheduler"]["status"] == "healthy"

        for component, process in self._processes.items():
            assert process.poll() is None, _end(self._log(component))
        until(is_healthy, f"Airflow is up\n{self.logs()}")
        token = self._http.get("/auth/token").json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"


AIRFLOW = (sys.executable, "-m", "airflow")


def _settings(home: Path, url: str) -> dict[str, str]:
    """Returns the settings of an Airflow that looks at its files often, and gives up early what is dead."""
    told = {
        "CORE__DAGS_FOLDER": home / "dags",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__PARALLELISM": 4,
        "CORE__FERNET_KEY": "",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__DEFAULT_TASK_RETRY_DELAY": 5,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",  # seconds to wait for a lock
        "DATABASE__LOAD_DEFAULT_CONNECTIONS": False,
        "API__HOST": "127.0.0.1",
        "API__PORT": url.rpartition(":")[2],
        "API__WORKERS": 1,
        "API__BASE_URL": url,
        "API__SECRET_KEY": "s" * 32,
        "API_AUTH__JWT_SECRET": "j" * 64,
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
        "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
        "SCHEDULER__PARSING_CLEANUP_INTERVAL": 5,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 5,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
        "DAG_PROCESSOR__STALE_DAG_THRESHOLD": 10,
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    settings = {f"AIRFLOW__{name}": str(value) for name, value in told.items()}
    return settings | {"AIRFLOW_HOME": str(home), "NO_COLOR": "1"}


def _named(task: Mapping[str, Any]) -> str:
    return f"{task['task_id']}[{task['map_index']}]" if task["map_index"] >= 0 else str(task["task_id"])


def _end(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines()[-LINES:]
    return "\n".join([f"--- {file}", *(line[:WIDTH] for line in lines)])
