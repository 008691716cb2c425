"""A caller that sends what our client never would, and a look into the tables behind the server."""

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx2
import psycopg
import pytest

from observatory import Account, Grant, Key, NewKey, ObservatoryApi
from observatory.client.saved import load, normal, place
from observatory.ledger.tables import metadata
from observatory.settings import read

As = Callable[[str], ObservatoryApi]
Contents = dict[str, list[tuple[Any, ...]]]


class Problem(NamedTuple):
    """What a problem says: its status and the fields it names."""

    status: int
    fields: set[str]
    text: str


def admin_key(url: str) -> str:
    """Returns the key that whoever started a server finds."""
    return load(place(read(os.environ))).servers[normal(url)]


class Caller:
    """Sends requests as they are told, with a key, and reads the problems that are answered.

    The key is that of the administrator who is let into the servers of tests, unless another one is given.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key or admin_key(url)}"}
        self.http = httpx2.Client(base_url=f"{url}/v1", timeout=60, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        kind: str | None = "application/json",
        **headers: str,
    ) -> httpx2.Response:
        """Sends a request; headers are given as `if_match="…"`."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if kind and body is not None:
            told["Content-Type"] = kind
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogatepass")
        return self.http.request(method, path, content=body, headers=told)

    def problem(
        self, method: str, path: str, body: str | bytes | None = None, kind: str | None = "application/json"
    ) -> Problem:
        """Returns the problem that is answered; whatever is wrong, it has one shape."""
        response = self.send(method, path, body, kind)
        assert response.headers["Content-Type"] == "application/problem+json", response.text
        told = json.loads(response.text)
        assert told.keys() <= {"title", "status", "detail", "fields"}, told
        assert told["status"] == response.status_code
        assert told["title"]
        assert told["detail"]
        return Problem(response.status_code, set(told.get("fields", {})), response.text)


@pytest.fixture
def caller(server_url: str) -> Iterator[Caller]:
    caller = Caller(server_url)
    yield caller
    caller.http.close()


@pytest.fixture
def as_(server_url: str) -> Iterator[As]:
    """Opens the book with a key, as often as it is asked to."""
    made: list[ObservatoryApi] = []

    def open_(key: str) -> ObservatoryApi:
        made.append(ObservatoryApi(server_url, key))
        return made[-1]

    yield open_
    for one in made:
        one.close()


def account(api: ObservatoryApi, name: str, *grants: Grant) -> Account:
    return api.post_account(Account(name=name, grants=list(grants)))


def key_for(api: ObservatoryApi, *grants: Grant, name: str = "ann") -> NewKey:
    return api.post_key(Key(account=account(api, name, *grants)))


@pytest.fixture
def contents(database_url: str) -> Callable[[], Contents]:
    """Reads all that is in the tables, but for keys, which note when they are used."""
    # When keys were used last, and seals of the journal, are written in the background.
    names = [table.name for table in metadata.sorted_tables if table.name not in ("keys", "seals")]

    def on_sqlite() -> Contents:
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        try:
            return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in names}
        finally:
            connection.close()

    def on_postgresql() -> Contents:
        with psycopg.connect(database_url) as connection:
            asked = {name: f"SELECT * FROM {name} ORDER BY 1".encode() for name in names}
            return {name: connection.execute(text).fetchall() for name, text in asked.items()}

    return on_sqlite if database_url.startswith("sqlite") else on_postgresql


def free_port() -> int:
    """Returns a port that nobody takes while a server is away.

    Those that the system gives out would not do: a client that calls a server which is gone may be given the
    very port it calls, and then talks to itself.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Served:
    """`observatory serve` in processes of its own, which can be killed and started again at one address."""

    def __init__(self, database_url: str, workers: int = 1) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-c", "from observatory.cli import main; main()", "serve"]
        self._command += [f"--port={self.port}", f"--workers={workers}", f"--database-url={database_url}"]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout
        said = self._process.stdout.readline()
        assert said == f"listening on {self.url}\n", said

    @property
    def pid(self) -> int:
        """The process that was started; with one worker, the one that answers."""
        assert self._process
        return self._process.pid

    def kill(self, *, first_only: bool = False) -> None:
        """Kills all its processes at once, or the one that was started, with no time to finish anything."""
        assert self._process
        (os.kill if first_only else os.killpg)(self._process.pid, signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        """Stops it as an operator does, and returns when it has finished."""
        if self._process:
            self._process.terminate()
            self._end()

    def ended(self) -> float:
        """Waits until it has ended by itself, and returns when that was."""
        self._end()
        return time.monotonic()

    def _end(self) -> None:
        assert self._process
        assert self._process.stdout
        self._process.wait(30)
        self._process.stdout.close()
        self._process = None


@pytest.fixture
def served() -> Iterator[Callable[..., Served]]:
    """Starts servers in processes of their own; they end with the test."""
    started: list[Served] = []

    def start(database_url: str, workers: int = 1) -> Served:
        started.append(Served(database_url, workers))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()
