"""What typing a command does: the command's own code in this process, against a real server."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from observatory.cli.app import run


class Said(NamedTuple):
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str


Type = Callable[..., Said]


@pytest.fixture
def anywhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command where no book is named, and none can be reached by chance."""
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("OBSERVATORY_API_KEY", raising=False)

    def type_(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        return Said(code, *capsys.readouterr())

    return type_


@pytest.fixture
def observatory(anywhere: Type, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command against an empty book."""
    monkeypatch.setenv("OBSERVATORY_URL", server_url)
    return anywhere
