"""What typing a command does: the command's own code in this process, against a real server."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from observatory.cli.app import run

PRESS = """
organisations:
  - {name: Curtin Press, extras: {contact: press@example.org, since: 2021-01-31}}
workflow_types:
  - {type_id: sales, name: Sales}
dataset_types:
  - {type_id: book_sales, name: Book sales, table_type: sharded}
workflows:
  - {name: sales, organisation: Curtin Press, workflow_type: sales, tags: [books]}
datasets:
  - name: books
    workflow: Curtin Press/sales
    dataset_type: book_sales
    service: bigquery
    address: a.b.c
"""


class Said(NamedTuple):
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str


Type = Callable[..., Said]


class Terminal(io.TextIOWrapper):
    """A terminal at which somebody has typed an answer already."""

    def isatty(self) -> bool:
        return True


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs on SQLite only what does not care for the database, which is all but catalogues."""
    if "database_url" in metafunc.fixturenames and "test_apply" not in metafunc.module.__name__:
        on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
        metafunc.definition.add_marker(on_sqlite)


@pytest.fixture
def anywhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command where no book can be reached; `stdin` is piped into it, `answer` is typed at it."""
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("OBSERVATORY_API_KEY", raising=False)
    # Nobody waits for the pauses between attempts.
    monkeypatch.setattr("observatory.client.transport.time.sleep", lambda seconds: None)

    def type_(*arguments: str, stdin: str = "", answer: str | None = None) -> Said:
        given = io.BytesIO((stdin if answer is None else answer).encode())
        monkeypatch.setattr(sys, "stdin", (io.TextIOWrapper if answer is None else Terminal)(given))
        capsys.readouterr()
        code = run(arguments)
        return Said(code, *capsys.readouterr())

    return type_


@pytest.fixture
def observatory(anywhere: Type, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command against an empty book."""
    monkeypatch.setenv("OBSERVATORY_URL", server_url)
    return anywhere


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A file with one of each record."""
    file = tmp_path / "catalogue.yaml"
    file.write_text(PRESS)
    return file
