"""A caller that sends what our client never would, and a look into the tables behind the server."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx2
import psycopg
import pytest

from observatory.ledger.tables import metadata

Contents = dict[str, list[tuple[Any, ...]]]


class Problem(NamedTuple):
    """What a problem says: its status and the fields it names."""

    status: int
    fields: set[str]
    text: str


class Caller:
    """Sends requests as they are told, and reads the problems that are answered."""

    def __init__(self, url: str) -> None:
        self.http = httpx2.Client(base_url=f"{url}/v1", timeout=60)

    def send(
        self, method: str, path: str, body: str | bytes | None = None, kind: str | None = "application/json"
    ) -> httpx2.Response:
        headers = {"Content-Type": kind} if kind and body is not None else {}
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogatepass")
        return self.http.request(method, path, content=body, headers=headers)

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
def contents(database_url: str) -> Callable[[], Contents]:
    """Reads all that is in the tables."""
    names = [table.name for table in metadata.sorted_tables]

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
