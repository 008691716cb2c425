"""What the server counts, of one process and of several, and that nothing of the book is in it."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from observatory.settings import Settings

from .conftest import Caller, Served, admin_key

Counts = dict[tuple[str, ...], float]
ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database has no part in it


def counts(url: str, name: str, *labels: str) -> Counts:
    """Returns the values of a metric by its labels."""
    answered = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {admin_key(url)}"})
    assert answered.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(answered.text)
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_by_operation_method_and_status(server_url: str, caller: Caller) -> None:
    for _ in range(3):
        caller.send("GET", "/table-types/1")
    caller.send("GET", "/table-types/99")
    caller.send("GET", "/table-types/1?x=y")
    caller.send("GET", "/no-such-path/secret")
    caller.send("PUT", "/table-types/1")
    told = counts(server_url, "observatory_requests_total", "operation", "method", "status")
    told = {labels: count for labels, count in told.items() if labels[0] not in ("isAlive", "getMetrics")}
    assert told == {
        ("getTableType", "GET", "200"): 3,
        ("getTableType", "GET", "404"): 1,
        ("getTableType", "GET", "422"): 1,
        ("unknown", "GET", "404"): 1,
        ("unknown", "PUT", "405"): 1,
    }
    took = counts(server_url, "observatory_request_seconds_count", "operation", "method")
    assert took["getTableType", "GET"] == 5
    whole = counts(server_url, "observatory_request_seconds_sum", "operation", "method")
    assert 0 < whole["getTableType", "GET"] < 5


def test_what_anybody_can_make_up_makes_no_counts(server_url: str, caller: Caller) -> None:
    for number in range(20):
        caller.send("GET", f"/made-up-{number}")
        caller.http.request("PROPFIND", f"/made-up-{number}")
    told = counts(server_url, "observatory_requests_total", "operation", "method")
    assert {labels for labels in told if labels[0] == "unknown"} == {
        ("unknown", "GET"),
        ("unknown", "unknown"),
    }


def test_nothing_of_the_book_is_in_what_is_counted(server_url: str, caller: Caller) -> None:
    caller.send("POST", "/organisations", '{"name": "Canary Press"}')
    caller.send("GET", "/organisations?name=Canary+Press")
    caller.send("GET", "/canary/4711-4711")
    key = admin_key(server_url)
    text = httpx2.get(f"{server_url}/metrics", headers={"Authorization": f"Bearer {key}"}).text
    assert "createOrganisation" in text
    assert not re.search("(?i)canary|4711-4711|obs_|127.0.0.1", text)


@ONE
def test_what_is_rejected_is_counted_by_its_reason(
    serve: Callable[[Settings], str], database_url: str
) -> None:
    url = serve(Settings(database_url=database_url, rate=1))
    for _ in range(5):
        httpx2.get(f"{url}/v1/table-types")
    assert counts(url, "observatory_rejected_total", "reason") == {("rate",): 3}
    told = counts(url, "observatory_requests_total", "operation", "status")
    assert told["unknown", "429"] == 3


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_connections_to_the_database_are_counted(server_url: str, caller: Caller) -> None:
    caller.send("GET", "/table-types")
    time.sleep(1.5)  # they are looked at once a second
    assert counts(server_url, "observatory_pool_connections")[()] >= 1
    assert counts(server_url, "observatory_pool_waiting") == {(): 0}


@ONE
def test_only_auditors_read_the_counts(serve: Callable[[Settings], str], database_url: str) -> None:
    url = serve(Settings(database_url=database_url))
    assert httpx2.get(f"{url}/metrics").status_code == 401


@ONE
def test_several_processes_are_counted_together_and_those_that_died_are_not_forgotten(
    served: Callable[..., Served], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = served(database_url, workers=2)
    headers = {"Authorization": f"Bearer {admin_key(server.url)}"}
    for _ in range(40):  # on a new connection each, which either of them takes
        assert httpx2.get(f"{server.url}/v1/table-types/1", headers=headers).status_code == 200

    def asked() -> float:
        time.sleep(1.5)  # each tells the others once a second
        return counts(server.url, "observatory_requests_total", "operation")[("getTableType",)]

    assert asked() == 40
    (folder,) = tmp_path.glob("observatory-metrics-*")
    pids = {int(file.stem.rpartition("_")[2]) for file in folder.glob("counter_*.db")}
    assert len(pids) == 2
    os.kill(min(pids), signal.SIGKILL)
    time.sleep(3)
    assert asked() == 40
    assert counts(server.url, "observatory_in_flight") == {(): 0.0}
    server.stop()
    assert list(tmp_path.glob("observatory-metrics-*")) == []
