"""A server of the release before goes on working while the book under it is migrated to this one's schema."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2
import pytest

from observatory.ledger import soundness, upgrade
from observatory.settings import Settings

from .conftest import Caller, free_port

BEFORE = "bf6cb80"  # the last commit whose schema is 0001
ROOT = Path(__file__).parents[2]
MAIN = "from observatory.cli import main; main()"
DAY = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}
NEXT = {"start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-03T00:00:00Z"}
ADDRESS = "partner.sales.books"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The code of the release before, in a folder."""
    asked = ["git", "archive", "--format=zip", BEFORE, "src"]
    archived = subprocess.run(asked, cwd=ROOT, capture_output=True, check=False)
    if archived.returncode:
        pytest.skip(f"the commit {BEFORE} is not in this clone: {archived.stderr.decode().strip()}")
    with ZipFile(BytesIO(archived.stdout)) as archive:
        archive.extractall(tmp_path / "before")
    return tmp_path / "before" / "src"


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/book.db"
    url: str = request.getfixturevalue("new_database")()
    return url


@contextmanager
def served_before(code: Path, url: str) -> Iterator[httpx2.Client]:
    """Serves a book with the code before, which asks nobody for a key."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    port = free_port()
    run = [sys.executable, "-c", MAIN]
    subprocess.run([*run, "database", "upgrade", "--database-url", url], env=environment, check=True)
    command = [*run, "serve", f"--port={port}", f"--database-url={url}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == f"listening on http://127.0.0.1:{port}\n"
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}/v1") as before:
                yield before
        finally:
            process.terminate()


def ask(by: httpx2.Client, method: str, path: str, expected: int, **body: Any) -> Any:
    content = json.dumps(body) if body else None
    answer = by.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == expected, (method, path, answer.text)
    return answer.json() if answer.content else None


def fill(by: httpx2.Client, name: str) -> dict[str, Any]:
    """Creates one of each record, records and withdraws; returns the dataset."""
    owner = ask(by, "POST", "/organisations", 201, name=name)
    kind = ask(by, "POST", "/workflow-types", 201, type_id=name, name=name)
    related = {"organisation": {"id": owner["id"]}, "workflow_type": {"id": kind["id"]}}
    flow = ask(by, "POST", "/workflows", 201, name=name, **related, tags='["a"]')
    sort = ask(by, "POST", "/dataset-types", 201, type_id=name, name=name, table_type={"id": 1})
    related = {"workflow": {"id": flow["id"]}, "dataset_type": {"id": sort["id"]}}
    dataset = ask(by, "POST", "/datasets", 201, name=name, service="s", address=ADDRESS, **related)
    told = {"dataset": {"id": dataset["id"]}, **DAY}
    release = ask(by, "POST", "/dataset-releases", 201, **told)
    place = f"/dataset-releases/{release['id']}"
    ask(by, "PATCH", place, 200, state="withdrawn", reason="bad")
    assert ask(by, "POST", "/dataset-releases", 201, **told)["revision"] == 2
    ask(by, "POST", "/dataset-releases/batch", 200, releases=[told, told | NEXT])
    found: dict[str, Any] = dataset
    return found


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_a_server_of_the_release_before_works_on_the_migrated_book(
    code: Path, empty_url: str, serve: Callable[[Settings], str]
) -> None:
    with served_before(code, empty_url) as before:
        early = fill(before, "early")
        upgrade(empty_url)

        late = fill(before, "late")
        for dataset in (early, late):
            assert ask(before, "GET", f"/datasets/{dataset['id']}", 200)["address"] == ADDRESS
            listed = ask(before, "GET", f"/dataset-releases?dataset_id={dataset['id']}&history=true", 200)
            assert [one["revision"] for one in listed] == [1, 2, 1]
        ask(before, "PATCH", f"/datasets/{early['id']}", 200, name="renamed")
        assert [one["name"] for one in ask(before, "GET", "/datasets", 200)] == ["renamed", "late"]
        missing = ask(before, "POST", f"/datasets/{late['id']}/missing", 200, available=[DAY])
        assert missing == []
        ask(before, "DELETE", f"/dataset-releases/{listed[-1]['id']}", 204)

        # A server of this release, beside the other one, reads what it writes and is read by it.
        now = Caller(serve(Settings(database_url=empty_url)))
        found = now.send("GET", f"/datasets?address={ADDRESS}").json()
        assert [one["name"] for one in found] == ["renamed", "late"]
        told = {"dataset": {"id": late["id"]}, **NEXT}
        assert now.send("POST", "/dataset-releases", json.dumps(told)).status_code == 201
        assert ask(before, "POST", "/dataset-releases", 200, **told)["dataset"]["id"] == late["id"]
    # What it wrote is not sealed until this is said to be done.
    command = [sys.executable, "-c", MAIN, "keys", "reencrypt", "--database-url", empty_url]
    subprocess.run(command, check=True)
    assert now.send("GET", f"/datasets?address={ADDRESS}").json() == found
    now.http.close()
    assert soundness.check(empty_url).is_sound
