"""What tasks and DAG files tell the book beside what they ask: who repeats what, and what a call is for."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Thread

import pytest
from airflow.sdk import DAG, task

from observatory import Dataset, DatasetRelease, ObservatoryApi, ObservatoryError, make_observatory_api
from observatory.airflow.releases import token_of
from observatory.records import Run

from .conftest import States

SPEC = ModuleSpec("file_with_dags", None)

TASK = Run(dag_id="sales", run_id="manual__1", task_id="record", map_index=2)


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str | None]]]:
    """A server that only notes what each call is for."""
    purposes: list[str | None] = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            purposes.append(self.headers["Observatory-Purpose"])
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listening)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", purposes
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_attempt_of_a_task_names_its_request_alike_and_no_other_task_does() -> None:
    others = [
        Run(dag_id="sales2", run_id="manual__1", task_id="record", map_index=2),
        Run(dag_id="sales", run_id="manual__2", task_id="record", map_index=2),
        Run(dag_id="sales", run_id="manual__1", task_id="load", map_index=2),
        Run(dag_id="sales", run_id="manual__1", task_id="record", map_index=3),
    ]

    assert token_of(TASK) == token_of(Run("sales", "manual__1", "record", 2, "http://elsewhere"))
    assert len({token_of(run) for run in [TASK, *others]}) == 5
    assert len(token_of(TASK)) < 250


def test_a_task_that_runs_again_records_what_was_withdrawn_since(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    january, february = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    release = DatasetRelease(dataset=dataset, start_date=january, end_date=february)
    [first] = api.post_dataset_releases([release], token=token_of(TASK))
    [again] = api.post_dataset_releases([release], token=token_of(TASK))
    api.put_dataset_release(DatasetRelease(id=first.id, state="withdrawn", reason="bad file"))
    [anew] = api.post_dataset_releases([release], token=token_of(TASK))

    assert again.id == first.id
    assert (anew.id != first.id, anew.revision) == (True, 2)


def test_only_what_is_asked_while_a_file_is_read_is_for_parsing(
    heard: tuple[str, list[str | None]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    run_dag: Callable[[DAG], States],
) -> None:
    url, purposes = heard
    monkeypatch.setenv("OBSERVATORY_URL", url)

    def ask() -> None:
        with make_observatory_api() as api, suppress(ObservatoryError):
            api.get_coverage(1)

    with DAG("asks") as dag:
        task(ask)()
    monkeypatch.setenv("OBSERVATORY_SNAPSHOTS", str(tmp_path / "snapshots"))
    # As a DAG file is read: its lines are run as a module.
    imported = {"__name__": "file_with_dags", "__spec__": SPEC, "ask": ask}
    exec("ask()", imported)  # ours
    exec("ask()", {"__name__": "program", "ask": ask})  # as a program that is told over a wire
    ask()
    run_dag(dag)

    assert purposes == ["parsing", None, None, None]
