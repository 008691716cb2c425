"""What `observatory serve` refuses before it makes or opens anything."""

from pathlib import Path

import pytest

from .conftest import Type


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, where a book would be made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_is_none_is_refused(
    anywhere: Type, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    said = anywhere("serve", f"--port={port}")
    assert said.code == 2
    assert "--port" in said.err
    assert "Input should be" in said.err

    monkeypatch.setenv("OBSERVATORY_PORT", port)
    said = anywhere("serve")
    assert said.code == 1
    assert "OBSERVATORY_PORT: must be 0 to 65535" in said.err
    assert list(empty_folder.iterdir()) == []


def test_no_processes_are_refused(anywhere: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    assert anywhere("serve", "--workers=0").code == 2
    monkeypatch.setenv("OBSERVATORY_WORKERS", "0")
    assert "OBSERVATORY_WORKERS: must be 1 or more" in anywhere("serve").err


@pytest.mark.parametrize("command", ["serve", "database upgrade"])
def test_a_file_that_is_no_database_is_named(anywhere: Type, empty_folder: Path, command: str) -> None:
    file = empty_folder / "notes.txt"
    file.write_text("This is no database, however long it is. " * 100)
    said = anywhere(*command.split(), "--database-url=sqlite:///notes.txt")
    assert (said.code, said.err) == (1, "error: sqlite:///notes.txt cannot be used: file is not a database\n")


@pytest.mark.parametrize("command", ["serve", "database upgrade"])
def test_a_book_in_memory_is_refused(anywhere: Type, command: str) -> None:
    said = anywhere(*command.split(), "--database-url=sqlite:///:memory:")
    assert said.code == 1
    assert "database_url: name a file" in said.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@127.0.0.1:9/book", "postgresql://me:…@127.0.0.1:9/book"),
        ("postgresql://me@127.0.0.1:9/book", "postgresql://me@127.0.0.1:9/book"),
        ("postgresql://127.0.0.1:9/book", "postgresql://127.0.0.1:9/book"),
        ("postgresql://me@127.0.0.1:9/b?password=secret", "postgresql://me@127.0.0.1:9/b?password=…"),
    ],
)
def test_of_an_address_only_the_password_is_hidden(anywhere: Type, url: str, shown: str) -> None:
    said = anywhere("database", "upgrade", f"--database-url={url}")
    assert said.code == 1
    assert f"{shown} cannot be used" in said.err
    assert "secret" not in said.err
