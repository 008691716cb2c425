"""What is put into every field is looked for where it must never be.

An address is told to those who may read it, and a key to whoever made it: neither is in a log, a metric, an
error, the journal, the files of the database or those of a client. What any field says is in no log.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from observatory import ObservatoryApi
from observatory.ledger.tables import metadata

from .conftest import Caller, Served

MAIN = "from observatory.cli import main; main()"
DAY = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}


class Book:
    """A book with a canary in every field, and whoever asks for it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.admin = Caller(url)
        self.addresses: list[str] = []
        self.keys: list[str] = []
        self.said: list[str] = []  # canaries of fields that are not secret, but are nobody's in a log
        self.errors: list[str] = []
        self._callers = [self.admin]

    def close(self) -> None:
        for caller in self._callers:
            caller.http.close()

    def canary(self, kind: str = "said") -> str:
        made = f"canary-{uuid4().hex}"
        (self.addresses if kind == "address" else self.said).append(made)
        return made

    def ask(self, by: Caller, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        told = None if body is None else body if isinstance(body, str) else json.dumps(body)
        answer = by.send(method, path, told, **headers)
        if answer.status_code >= 400:
            self.errors.append(f"{answer.headers} {answer.text}")
        assert answer.status_code < 500, answer.text
        return answer

    def made(self, path: str, **fields: Any) -> int:
        answer = self.ask(self.admin, "POST", path, fields, idempotency_key=self.canary())
        assert answer.status_code in (200, 201), answer.text
        id: int = answer.json()["id"]
        return id

    def caller(self, *roles: str) -> Caller:
        """Returns somebody with these roles, whose key is a canary as well."""
        account = self.made("/accounts", name=self.canary(), grants=[{"role": role} for role in roles])
        answer = self.ask(self.admin, "POST", "/keys", {"account": {"id": account}})
        secret: str = answer.json()["secret"]
        self.keys.append(secret)
        self._callers.append(Caller(self.url, secret))
        return self._callers[-1]

    def fill(self) -> None:
        """Creates one of each record."""
        extras = {self.canary(): {"in": [self.canary()]}}
        owner = self.made("/organisations", name=self.canary(), extras=extras)
        kind = self.made("/workflow-types", type_id=self.canary(), name=self.canary())
        table = self.made("/table-types", type_id=self.canary(), name=self.canary(), granularity="day")
        sort = self.made(
            "/dataset-types",
            type_id=self.canary(),
            name=self.canary(),
            extras=extras,
            table_type={"id": table},
        )
        related = {"organisation": {"id": owner}, "workflow_type": {"id": kind}}
        tags = json.dumps([self.canary()])
        flow = self.made("/workflows", name=self.canary(), tags=tags, extras=extras, **related)
        related = {"workflow": {"id": flow}, "dataset_type": {"id": sort}}
        for _ in range(2):
            where = {"service": self.canary(), "address": self.canary("address")}
            dataset = self.made("/datasets", name=self.canary(), extras=extras, **where, **related)
        run = {field: self.canary() for field in ("dag_id", "run_id", "task_id", "url")}
        facts = {field: self.canary() for field in ("version_label", "digest", "reason")}
        told = {"dataset": {"id": dataset}, **DAY, "run": run, "extras": extras, **facts}
        self.made("/dataset-releases", **told)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file that the server writes its log into."""
    return tmp_path / "log"


@pytest.fixture
def book(
    served: Callable[..., Served], database_url: str, monkeypatch: pytest.MonkeyPatch, log: Path
) -> Iterator[Book]:
    monkeypatch.setenv("OBSERVATORY_LOG", "requests")
    ours = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)  # the server inherits it
        try:
            url = served(database_url).url
        finally:
            os.dup2(ours, 2)
            os.close(ours)
    book = Book(url)
    yield book
    book.close()


def drive(book: Book, by: Caller) -> list[str]:
    """Asks for everything there is, and for much that goes wrong; returns what was answered."""
    address = book.addresses[-1]
    document = by.send("GET", "/openapi.json").json()
    answers = []
    for path, methods in document["paths"].items():
        place = path.removeprefix("/v1") if path.startswith("/v1") else f"../..{path}"
        place = place.replace("{id}", "2" if "dataset" in path else "1")
        if "get" in methods and path.startswith("/v1"):
            answers.append(book.ask(by, "GET", place))
            tag = answers[-1].headers.get("ETag", '"none"')
            answers.append(book.ask(by, "GET", place, if_none_match=tag))
            answers.append(book.ask(by, "GET", f"{place}?address={address}&limit=x"))
            # The path and the names of fields are said back to whoever made them up, and noted nowhere.
            answers.append(book.ask(by, "GET", f"{place}/{book.canary()}"))
        for method in ("post", "patch"):
            if method in methods:
                bodies: list[Any] = [
                    {},
                    {"address": address},
                    {"address": [address]},
                    {book.canary(): 1},
                    f'{{"address": "{address}"',
                    {"name": address, "address": address + "\n"},
                ]
                # Accounts and keys are not to become others by it.
                if "accounts" in path or "keys" in path:
                    bodies = bodies[2:]
                answers += [book.ask(by, method.upper(), place, body) for body in bodies[1:]]
        if "delete" in methods:
            answers.append(book.ask(by, "DELETE", place, if_match='"99"'))
    one = {"workflow": {"id": 1}, "dataset_type": {"id": 1}, "service": "s", "address": address}
    name = by.send("GET", "/datasets/2").json().get("name", "none")
    answers.append(book.ask(by, "GET", f"/datasets?address={address}"))
    answers.append(book.ask(by, "POST", "/datasets", {"name": name, **one}))  # there is one already
    answers.append(book.ask(by, "PATCH", "/datasets/2", {"address": address, "version": 1}))
    answers.append(book.ask(by, "PATCH", "/datasets/2", {"extras": {}}, if_match='"99"'))
    answers.append(book.ask(by, "PATCH", "/datasets/2", {"extras": {"n": 1}}))
    answers.append(book.ask(by, "POST", "/dataset-releases", {"dataset": {"id": 2}, **DAY, "row_count": 7}))
    answers.append(book.ask(by, "POST", "/datasets/2/missing", {"available": [DAY]}))
    return [f"{answer.headers} {answer.text}" for answer in answers]


def kept(database_url: str) -> bytes:
    """Returns all that a database keeps: the bytes of the files, or every row of every table."""
    if database_url.startswith("sqlite"):
        file = Path(database_url.removeprefix("sqlite:///"))
        # Not the key ring, which is no part of it.
        return b"".join(part.read_bytes() for part in file.parent.glob(f"{file.name}*") if part.is_file())
    rows: list[str] = []
    with psycopg.connect(database_url) as connection:
        for table in metadata.sorted_tables:
            asked = f"SELECT kept::text FROM {table.name} AS kept"
            rows += [row for (row,) in connection.execute(asked.encode())]
    return "\n".join(rows).encode()


def found(canaries: list[str], text: str) -> list[str]:
    return [canary for canary in canaries if canary in text]


def secrets(book: Book) -> list[str]:
    """Returns the part of each key that nobody must know."""
    return [key.split("_")[2] for key in book.keys]


def test_what_is_told_to_the_book_is_nowhere_else(book: Book, database_url: str, log: Path) -> None:
    book.fill()
    blind = [book.caller("maintainer"), book.caller("admin", "address:write"), book.caller("reader")]
    reading = book.caller("reader", "address:read")
    for caller in blind:
        answered = drive(book, caller)
        assert found(book.addresses, " ".join(answered)) == []
        journal = caller.send("GET", "/journal?limit=1000").text
        assert found(book.addresses + secrets(book), journal) == []
    drive(book, reading)
    drive(book, book.admin)
    for key in book.keys:
        for wrong in (key[:-1] + "x", key.replace("_", "", 1), f"Basic {key}"):
            stranger = Caller(book.url, wrong)
            book.ask(stranger, "GET", "/me")
            stranger.http.close()
    metrics = book.admin.http.get(f"{book.url}/metrics").text
    logged = log.read_text()
    journal = book.admin.send("GET", "/journal?limit=1000").text

    assert "getDataset" in metrics
    assert "getDataset" in logged
    everything = [*book.addresses, *secrets(book), *book.said]
    assert found(everything, metrics) == []
    assert found(everything, logged) == []
    assert found([*book.addresses, *secrets(book)], journal) == []
    assert found([*book.addresses, *secrets(book)], " ".join(book.errors)) == []
    assert found([*book.addresses, *secrets(book)], kept(database_url).decode("latin-1")) == []
    # And it is there for whom it is.
    shown = reading.send("GET", "/datasets/2").json()["address"]
    assert shown in book.addresses


def test_whoever_may_not_read_addresses_has_none_in_its_files(book: Book, tmp_path: Path) -> None:
    book.fill()
    blind, reading = book.caller("maintainer"), book.caller("reader", "address:read")
    told = {}
    for name, caller in (("blind", blind), ("reading", reading)):
        home = tmp_path / name
        home.mkdir()
        key = str(caller.http.headers["Authorization"]).removeprefix("Bearer ")
        environment = {
            **os.environ,
            "OBSERVATORY_URL": book.url,
            "OBSERVATORY_API_KEY": key,
            "OBSERVATORY_CREDENTIALS": str(home / "credentials.json"),
            "HOME": str(home),
        }
        for command in (["export"], ["datasets", "list", "-o", "json"], ["datasets", "get", "2"]):
            done = subprocess.run(
                [sys.executable, "-c", MAIN, *command],
                env=environment,
                capture_output=True,
                text=True,
                cwd=home,
                check=False,
            )
            told[name, command[0], command[-1]] = done.stdout + done.stderr
            assert done.returncode == 0, done.stderr
        files = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file()).decode("latin-1")
        assert found(book.addresses + secrets(book), files) == []
    for (name, *command), text in told.items():
        assert bool(found(book.addresses, text)) == (name == "reading"), (name, command)
        assert found(secrets(book), text) == []


def test_no_error_of_the_client_shows_a_key(book: Book) -> None:
    book.caller("reader")
    wrong = book.keys[-1][:-1] + ("0" if book.keys[-1][-1] != "0" else "1")
    with ObservatoryApi(book.url, wrong) as api, pytest.raises(Exception, match="checksum") as raised:
        api.get_organisations()
    assert found(secrets(book), repr(raised.value) + str(raised.value) + repr(api)) == []
