"""What the commands say of themselves, and how they end."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from observatory.cli.reference import reference

from .conftest import Type

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from observatory.cli import main; main()"]
HEAVY = {"litestar", "sqlalchemy", "airflow", "uvicorn", "psycopg", "alembic", "duckdb"}


def test_the_reference_says_what_the_help_says() -> None:
    # Where this fails: make docs
    assert (ROOT / "docs" / "reference" / "cli.md").read_text() == reference()


def test_the_exit_codes_are_in_the_help(anywhere: Type) -> None:
    said = anywhere("--help")
    assert said.code == 0
    codes = "2 when the command or a file is wrong, 3 when something is missing, late or stale."
    assert codes in " ".join(said.out.split())
    assert anywhere().err.startswith("Usage: observatory [OPTIONS] COMMAND")
    assert anywhere("--version").out == f"observatory {version('observatory-ledger')}\n"


def test_what_is_done_to_missing_periods_and_releases_has_commands_of_its_own(anywhere: Type) -> None:
    for name in ("missing", "status", "probe", "claim", "give-back", "withdraw", "revise", "adopt"):
        assert anywhere(name, "--help").out.startswith(f"Usage: observatory {name} ")


def test_the_commands_start_without_what_only_the_server_needs() -> None:
    said = "import sys, observatory.cli.app; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())


def test_a_book_that_is_not_there_is_told_in_a_line(anywhere: Type) -> None:
    said = anywhere("datasets", "list")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: http://127.0.0.1:9 did not answer")
    assert said.err.count("\n") == 1
    assert "write it as http://host:port" in anywhere("--url", "books.example.org", "datasets", "list").err


def test_the_options_come_before_the_environment(anywhere: Type, server_url: str) -> None:
    assert anywhere("datasets", "list").code == 1
    assert anywhere("--url", server_url, "datasets", "list").code == 0


def test_a_reader_who_has_enough_ends_it_quietly(server_url: str) -> None:
    env = {**os.environ, "OBSERVATORY_URL": server_url}
    with subprocess.Popen(
        [*COMMAND, "export"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_an_interruption_is_quiet() -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*COMMAND, "releases", "missing", "1"], stdin=theirs, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert b"end with Ctrl-D" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert (process.stderr.read(), process.wait()) == (b"", 130)
    os.close(ours)
    os.close(theirs)
