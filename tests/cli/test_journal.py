"""What `observatory journal` shows to people and to programs, and how it ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from observatory import Dataset, ObservatoryApi
from observatory.ledger import open_database, seals

from ..ledger.test_journal import change
from .conftest import Type


def test_who_changed_an_address_and_when_is_shown(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    api.put_dataset(Dataset(id=dataset.id, address="d.e.f", service="duckdb"))
    for which in (str(dataset.id), "Curtin Press/sales/books"):
        said = observatory("journal", "list", "--dataset", which, "--kind", "Dataset")
        heading, *rows = [line.split("\t") for line in said.out.splitlines()]
        rows = [row for row in rows if row[2] != "read"]
        assert heading == ["time", "actor", "action", "record", "what"]
        assert [row[1:4] for row in rows] == [
            ["admin", "create", "Dataset 1 (books)"],
            ["admin", "change", "Dataset 1 (books)"],
        ]
        assert "service: bigquery → duckdb" in rows[1][4]
        assert "address: hmac:tests:" in rows[1][4]
        assert "a.b.c" not in said.out
        assert "d.e.f" not in said.out


def test_programs_read_entries_as_lines_of_json(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    said = observatory("journal", "list", "--output", "json", "--actor", "admin", "--since", "2020-01-01")
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert [entry["cursor"] for entry in entries] == [e.cursor for e in api.get_journal(actor="admin")]
    after = observatory("journal", "list", "-o", "json", "--after", entries[0]["cursor"], "--limit", "1")
    assert json.loads(after.out)["cursor"] == entries[1]["cursor"]
    assert "there are more" in after.err


def test_what_is_typed_wrongly_is_told(observatory: Type) -> None:
    for arguments in (
        ["list", "--kind", "Nothing"],
        ["list", "--since", "yesterday"],
        ["verify", "--checkpoint", "no"],
    ):
        said = observatory("journal", *arguments)
        assert said.code == 2, said
        assert said.err.startswith("error: ")
    said = observatory("journal", "list", "--after", "7")
    assert (said.code, "is no cursor" in said.err) == (1, True)


def command(*arguments: str, url: str) -> "subprocess.Popen[str]":
    program = [
        sys.executable,
        "-c",
        "from observatory.cli import main; main()",
        "--url",
        url,
        "journal",
        *arguments,
    ]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_following_shows_entries_as_they_are_made_until_it_is_interrupted(
    server_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    first = api.get_journal()[0].cursor
    with command("follow", "--after", first, url=server_url) as follower:
        assert follower.stdout
        for _ in range(5):
            assert follower.stdout.readline()
        began = time.monotonic()
        api.put_dataset(Dataset(id=dataset.id, service="new"))
        while "bigquery → new" not in follower.stdout.readline():
            assert time.monotonic() - began < 10
        os.kill(follower.pid, signal.SIGINT)
        _, said = follower.communicate(timeout=10)
        assert (follower.returncode, said) == (130, "")


def test_following_ends_when_nobody_reads_on(server_url: str, api: ObservatoryApi, dataset: Dataset) -> None:
    with command("follow", "--after", api.get_journal()[0].cursor, "-o", "json", url=server_url) as follower:
        assert follower.stdout
        assert follower.stdout.readline()
        follower.stdout.close()
        for number in range(20):
            api.put_dataset(Dataset(id=dataset.id, service=f"s{number}"))
            if follower.poll() is not None:
                break
            time.sleep(0.2)
        assert follower.wait(10) == 0
        assert follower.stderr
        assert follower.stderr.read() == ""


def test_a_journal_is_verified_and_held_against_its_checkpoints(
    observatory: Type, database_url: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_DATABASE_URL", database_url)

    async def seal() -> None:
        book = open_database(database_url)
        async with book.running():
            while await book.write(seals.OPERATOR, seals.seal):
                pass

    asyncio.run(seal())
    kept = tmp_path / "checkpoints"
    kept.write_text(observatory("journal", "checkpoint").out)
    said = observatory("journal", "verify", "--checkpoint", str(kept))
    assert (said.code, said.err) == (0, "")
    assert "entries are sound, 0 are not sealed yet" in said.out

    change(database_url, "UPDATE journal SET actor = 'nobody' WHERE sequence = 5")
    said = observatory("journal", "verify")
    assert said.code == 1
    assert "and then: entry 0.5 was changed" in said.out
    change(database_url, "DELETE FROM seals")
    said = observatory("journal", "verify", "--checkpoint", str(kept))
    assert (said.code, "its end was cut off" in said.out) == (1, True)


def test_what_the_book_said_before_is_shown(observatory: Type, api: ObservatoryApi, dataset: Dataset) -> None:
    then = api.get_journal()[-1].time.isoformat()
    began = api.get_journal()[0].time
    api.put_dataset(Dataset(id=dataset.id, service="duckdb"))
    assert "duckdb" in observatory("datasets", "get", "1").out
    assert "bigquery" in observatory("datasets", "get", "1", "--as-of", then).out
    assert "bigquery" in observatory("datasets", "list", "--as-of", then, "--service", "bigquery").out
    for command in (["list", "1"], ["get", "1"]):
        said = observatory("releases", *command, "--as-of", "2001-01-01")
        assert (said.code, f"as_of: must not be before {began.isoformat()}" in said.err) == (1, True), said
