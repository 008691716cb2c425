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
