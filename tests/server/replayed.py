"""The journal is held against the tables: what it tells from its beginning must be what is there."""

import json
import sqlite3
from datetime import datetime
from typing import Any

import psycopg

from observatory.records import KINDS, DatasetRelease

from .conftest import Caller

ASKED = (
    "SELECT kind, record_id, action, before, after FROM journal WHERE action <> 'read'"
    " ORDER BY place, sequence"
)
Entry = tuple[str, int, str, dict[str, Any] | None, dict[str, Any] | None]


def changes(database_url: str) -> list[Entry]:
    """Returns the entries of the journal in their order."""
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        rows = connection.execute(ASKED).fetchall()
        connection.close()
    else:
        with psycopg.connect(database_url) as postgresql:
            rows = postgresql.execute(ASKED.encode()).fetchall()
    return [(kind, id, action, _read(was), _read(now)) for kind, id, action, was, now in rows]


def replayed(entries: list[Entry]) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns what is there by the journal; fails where an entry does not follow from those before it."""
    there: dict[tuple[str, int], dict[str, Any]] = {}
    for kind, id, action, was, now in entries:
        before = there.get((kind, id))
        if action == "create":
            assert (before, was) == (None, None), (kind, id)
            assert now is not None, (kind, id)
            there[kind, id] = now
            continue
        assert before is not None, f"{kind} {id} is changed or removed before it is there"
        assert was is not None, (kind, id, now)
        assert was == {field: before[field] for field in was}, (kind, id)
        if action == "delete":
            del there[kind, id]
        else:
            assert now is not None
            assert now["version"] == before["version"] + 1, (kind, id)
            there[kind, id] = now
    return there


def check(url: str, database_url: str) -> list[Entry]:
    """Fails where the journal and the book say different things; returns the entries."""
    entries = changes(database_url)
    told = {p: _without_address(fields) for p, fields in replayed(entries).items() if p[0] in NAMES}
    there = _answered(url)
    differ = [
        (p, told.get(p), there.get(p)) for p in told.keys() | there.keys() if told.get(p) != there.get(p)
    ]
    assert not differ, f"{len(differ)} records are not as the journal says, such as {differ[0]}"
    return entries


NAMES = {kind.__name__ for kind in KINDS}


def _answered(url: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns what a server answers of all records, as the journal would tell it."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    caller = Caller(url)
    for kind in KINDS:
        asked: str | None = "limit=1000" + ("&history=true" if kind is DatasetRelease else "")
        while asked:
            page = caller.send("GET", f"/{kind.path}?{asked}")
            for record in page.json():
                own = record if kind is DatasetRelease else _by_id(record)
                found[kind.__name__, record["id"]] = _without_address(own)
            link = page.headers.get("Link")
            asked = link.partition("<?")[2].partition(">")[0] if link else None
    caller.http.close()
    return found


def _by_id(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a record with what it refers to by id only."""
    related = {"organisation", "workflow_type", "workflow", "dataset_type", "table_type"}
    return {name: {"id": value["id"]} if name in related else value for name, value in record.items()}


def _without_address(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns fields without the address, of which the journal has a fingerprint, and with times as times.

    The entries with which the journal was opened spell them otherwise.
    """
    times = {name: datetime.fromisoformat(fields[name]) for name in ("created", "modified")}
    return {name: value for name, value in (fields | times).items() if name != "address"}


def _read(text: str | None) -> dict[str, Any] | None:
    made: dict[str, Any] | None = None if text is None else json.loads(text)
    return made
