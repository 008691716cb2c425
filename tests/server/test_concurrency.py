"""Many change one record at a time: each by the version that it read, or each a part of it."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any

import psycopg
import pytest

from observatory import Dataset

from .conftest import Caller

MANY = 8
EACH = 6  # changes that each of them makes
MERGE = "application/merge-patch+json"
DAY = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}
# A record of each kind, and the field of it that is changed.
RECORDS = {
    "Organisation": ("/organisations/1", "name"),
    "WorkflowType": ("/workflow-types/1", "name"),
    "TableType": ("/table-types/1", "name"),
    "DatasetType": ("/dataset-types/1", "name"),
    "Workflow": ("/workflows/1", "name"),
    "Dataset": ("/datasets/1", "name"),
    "DatasetRelease": ("/dataset-releases/1", "version_label"),
    "Account": ("/accounts/2", "name"),
}

Entries = Callable[[str, int], list[tuple[str, Any, Any]]]


@pytest.fixture
def entries(database_url: str) -> Entries:
    """Reads what the journal says of the changes of a record: what was done, before and after."""
    asked = (
        "SELECT action, before, after FROM journal WHERE kind = '{}' AND record_id = {} AND action <> 'read'"
        " ORDER BY place, sequence"
    )

    def read(kind: str, id: int) -> list[tuple[str, Any, Any]]:
        text = asked.format(kind, id)
        if database_url.startswith("sqlite"):
            connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
            rows = connection.execute(text).fetchall()
            connection.close()
        else:
            with psycopg.connect(database_url) as postgresql:
                rows = postgresql.execute(text.encode()).fetchall()
        return [(action, json.loads(was or "null"), json.loads(now or "null")) for action, was, now in rows]

    return read


@pytest.fixture
def furnished(caller: Caller, dataset: Dataset) -> None:
    """A book with a record of each kind."""
    told: list[tuple[str, dict[str, Any]]] = [
        ("/dataset-releases", {"dataset": {"id": dataset.id}, **DAY, "version_label": "0"}),
        ("/accounts", {"name": "other", "grants": [{"role": "reader"}]}),
    ]
    for path, body in told:
        assert caller.send("POST", path, json.dumps(body)).status_code == 201


def together(server_url: str, work: Callable[[Caller, int], Any]) -> list[Any]:
    """Calls a function from many threads at the same moment, each with a caller of its own and its number."""
    callers = [Caller(server_url) for _ in range(MANY)]
    start = Barrier(MANY)

    def one(number: int) -> Any:
        callers[number].send("GET", "/table-types")  # opens its connection
        start.wait(30)
        return work(callers[number], number)

    with ThreadPoolExecutor(MANY) as pool:
        done = list(pool.map(one, range(MANY)))
    for caller in callers:
        caller.http.close()
    return done


@pytest.mark.parametrize("kind", RECORDS)
def test_of_those_who_race_with_if_match_one_is_accepted_at_each_version(
    caller: Caller, server_url: str, furnished: None, entries: Entries, kind: str
) -> None:
    path, field = RECORDS[kind]
    first = caller.send("GET", path).json()["version"]

    def race(by: Caller, number: int) -> list[tuple[int, str]]:
        accepted: list[tuple[int, str]] = []
        while len(accepted) < EACH:
            tag = by.send("GET", path).headers["ETag"]
            value = f"{number} {len(accepted)}"
            answer = by.send("PATCH", path, json.dumps({field: value}), if_match=tag)
            assert answer.status_code in (200, 412), answer.text
            if answer.status_code == 200:
                assert answer.json()[field] == value
                accepted.append((answer.json()["version"], value))
        return accepted

    accepted = dict(one for each in together(server_url, race) for one in each)

    # Each version was given once, and none was left out.
    assert sorted(accepted) == list(range(first + 1, first + 1 + MANY * EACH))
    id = int(path.rpartition("/")[2])
    changes = [(was, now) for action, was, now in entries(kind, id) if action == "change"][-MANY * EACH :]
    assert [now["version"] for _, now in changes] == sorted(accepted)
    assert [now[field] for _, now in changes] == [accepted[version] for version in sorted(accepted)]
    for (_, earlier), (was, _) in pairwise(changes):
        assert was == {field: earlier[field]}


@pytest.mark.parametrize("kind", ["Organisation", "DatasetType", "Workflow", "Dataset", "DatasetRelease"])
def test_merge_patches_of_many_are_all_there_in_the_end(
    caller: Caller, server_url: str, furnished: None, entries: Entries, kind: str
) -> None:
    path = RECORDS[kind][0]
    caller.send("PATCH", path, json.dumps({"extras": {"kept": 1, "goes": 1, "deep": {"kept": 1}}}))

    def merge(by: Caller, number: int) -> list[int]:
        patches: list[dict[str, Any]] = [
            {f"by {number}": {str(i): i}, "deep": {f"{number} {i}": i}} for i in range(EACH)
        ]
        patches.append({"goes": None})
        return [
            by.send("PATCH", path, json.dumps({"extras": patch}), kind=MERGE).status_code for patch in patches
        ]

    assert Counter(status for each in together(server_url, merge) for status in each) == {
        200: MANY * (EACH + 1)
    }
    extras = caller.send("GET", path).json()["extras"]
    assert extras.pop("kept") == 1
    assert extras.pop("deep") == {"kept": 1} | {f"{n} {i}": i for n in range(MANY) for i in range(EACH)}
    extras.pop("sales_field", None)
    assert extras == {f"by {n}": {str(i): i for i in range(EACH)} for n in range(MANY)}
    id = int(path.rpartition("/")[2])
    changes = [(was, now) for action, was, now in entries(kind, id) if action == "change"]
    for (_, earlier), (was, _) in pairwise(changes):
        assert was["extras"] == earlier["extras"]


def test_what_is_removed_by_its_version_is_removed_once_and_never_another_version(
    caller: Caller, server_url: str, furnished: None, entries: Entries
) -> None:
    caller.send("DELETE", "/dataset-releases/1")
    for path, kind in (("/datasets/1", "Dataset"), ("/workflows/1", "Workflow"), ("/accounts/2", "Account")):
        tag = caller.send("GET", path).headers["ETag"]
        version = int(re.findall(r"\d+", tag)[0])

        def remove(by: Caller, number: int, path: str = path, tag: str = tag) -> int:
            if number % 2:
                told = by.send("PATCH", path, json.dumps({"name": f"renamed {number}"}), if_match=tag)
            else:
                told = by.send("DELETE", path, if_match=tag)
            return told.status_code

        statuses = Counter(together(server_url, remove))
        assert statuses[200] + statuses[204] == 1
        assert statuses.keys() <= {200, 204, 404, 412}
        last, was, now = entries(kind, int(path.rpartition("/")[2]))[-1]
        if statuses[204]:
            assert (last, was["version"]) == ("delete", version)
        else:
            assert (last, now["version"]) == ("change", version + 1)
            assert caller.send("DELETE", path, if_match=f'"{version + 1}"').status_code == 204


def test_without_if_match_the_last_one_counts_and_every_change_is_in_the_journal(
    caller: Caller, server_url: str, furnished: None, entries: Entries
) -> None:
    def change(by: Caller, number: int) -> list[int]:
        bodies = [json.dumps({"name": f"{number} {i}"}) for i in range(EACH)]
        return [by.send("PATCH", "/organisations/1", body).status_code for body in bodies]

    assert together(server_url, change) == [[200] * EACH] * MANY
    changes = [(was, now) for action, was, now in entries("Organisation", 1) if action == "change"]
    assert len(changes) == MANY * EACH
    assert [now["version"] for _, now in changes] == list(range(2, 2 + MANY * EACH))
    assert caller.send("GET", "/organisations/1").json()["name"] == changes[-1][1]["name"]
    for (_, earlier), (was, _) in pairwise(changes):
        assert was == {"name": earlier["name"]}
