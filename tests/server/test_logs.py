"""What the server writes down about requests: enough to find one, and nothing that is secret."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from observatory.server import logs

from .conftest import Caller, Served, admin_key

ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database has no part in it


def record(message: str, *, error: BaseException | None = None, **facts: object) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    made = logging.LogRecord("observatory", logging.WARNING, "file.py", 1, message, None, info)
    made.facts = facts
    return made


@pytest.mark.parametrize("form", [logs.JsonLines(), logs.TextLines()], ids=["json", "text"])
@pytest.mark.parametrize(
    "said",
    [
        "postgresql://me:canary@host/book cannot be reached",
        "postgresql://host/book?user=me&password=canary",
        "asked with Authorization: Bearer obs_17_canary_canary",
        'null value in column "name"\nDETAIL:  Failing row contains (7, canary, canary).',
    ],
)
def test_no_secret_is_written_whoever_says_it(form: logging.Formatter, said: str) -> None:
    for one in (record(said), record("it broke", error=RuntimeError(said))):
        line = form.format(one)
        assert "canary" not in line
        assert "…" in line


def test_a_line_of_json_is_one_object() -> None:
    line = logs.JsonLines().format(record("it\nbroke", error=ValueError("why"), status=500))
    told = json.loads(line)
    assert "\n" not in line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", told["time"])
    assert (told["level"], told["message"], told["status"]) == ("warning", "it\nbroke", 500)
    assert "ValueError: why" in told["exception"]


@pytest.mark.parametrize("sent", ["a", "4bf92f35-77b3/4da6=x", "~" * 64])
def test_a_sane_id_of_a_request_is_answered(caller: Caller, sent: str) -> None:
    answered = caller.http.get("/table-types/1", headers={"X-Request-ID": sent})
    assert answered.headers.get_list("X-Request-ID") == [sent]


@pytest.mark.parametrize("sent", ["", "with space", "~" * 65, "tab\there", "\xe9"])
def test_another_is_replaced(caller: Caller, sent: str) -> None:
    answered = caller.http.get("/table-types/1", headers={b"X-Request-ID": sent.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{13,64}", answered.headers["X-Request-ID"])


def test_every_answer_has_an_id_of_its_own_errors_too(caller: Caller, server_url: str) -> None:
    paths = ["/v1/table-types/1", "/v1/table-types/99", "/nowhere", "/livez", "/docs", "/v1/table-types?x=1"]
    ids = [caller.http.get(f"{server_url}{path}").headers["X-Request-ID"] for path in paths]
    ids.append(caller.send("POST", "/organisations", "{").headers["X-Request-ID"])
    assert len(set(ids)) == len(paths) + 1


def logged(
    database_url: str, log: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[str, str], None]
) -> list[str]:
    """Returns the lines that a server writes that logs requests, while it is asked."""
    monkeypatch.setenv("OBSERVATORY_LOG", "requests")
    command = [sys.executable, "-c", "from observatory.cli import main; main()", "serve", "--port=0"]
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, f"--database-url={database_url}"], stdout=subprocess.PIPE, stderr=file, text=True
        )
        with server:
            assert server.stdout
            url = server.stdout.readline().rpartition(" ")[2].strip()
            ask(url, admin_key(url))
            server.terminate()
    lines = log.read_text().splitlines()
    return [line for line in lines if "isAlive" not in line and "key of this book" not in line]


@ONE
def test_each_request_is_a_line_of_json_without_what_is_secret(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_LOG_FORMAT", "json")

    def ask(url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "mine"}
        body = {"name": "canary"}
        httpx2.post(f"{url}/v1/organisations", json=body, headers=headers)
        httpx2.get(f"{url}/v1/organisations?name=canary", headers=headers)
        httpx2.get(f"{url}/v1/canary/1", headers=headers)
        httpx2.get(f"{url}/v1/organisations", headers={"Authorization": "Bearer canary"})

    lines = logged(database_url, tmp_path / "log", monkeypatch, ask)
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(one["method"], one["operation"], one["status"]) for one in told] == [
        ("POST", "createOrganisation", 201),
        ("GET", "listOrganisations", 200),
        ("GET", "unknown", 404),
        ("GET", "listOrganisations", 401),
    ]
    assert [one.get("request_id") for one in told[:3]] == ["mine"] * 3
    assert [one.get("account") for one in told] == [1, 1, None, None]
    assert all(0 < one["ms"] < 5000 for one in told)
    assert "canary" not in str(lines)
    assert "Bearer" not in str(lines)


@ONE
def test_without_being_asked_for_requests_are_not_logged(
    served: Callable[..., Served], database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server = served(database_url)
    capfd.readouterr()
    httpx2.get(f"{server.url}/v1/organisations", headers={"Authorization": f"Bearer {admin_key(server.url)}"})
    httpx2.get(f"{server.url}/nowhere")
    server.stop()
    assert capfd.readouterr().err == ""
