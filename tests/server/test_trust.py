"""Eight clients write while the server and the database are killed: what was acknowledged is there once.

Each change has exactly one entry in the journal, no entry is without its change, and coverage is what the
releases say.
"""

import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from observatory.ledger import soundness, upgrade

from . import replayed
from .conftest import Caller, Served
from .postmaster import Postmaster, binaries

DAY_0 = datetime(1990, 1, 1, tzinfo=UTC)
CLIENTS = 8
BATCH = 10
BUSY = (502, 503, 429)


@pytest.fixture
def postmaster() -> Iterator[Postmaster]:
    """A PostgreSQL that this test may kill."""
    with tempfile.TemporaryDirectory(prefix="observatory-pg-", ignore_cleanup_errors=True) as folder:
        postmaster = Postmaster(binaries(), Path(folder))
        postmaster.start()
        yield postmaster
        postmaster.stop()


class Client:
    """Writes into a dataset of its own, and notes what was acknowledged.

    Whatever is not answered, or answered 503, is sent again until it is.
    """

    def __init__(self, url: str, number: int, dataset: int) -> None:
        self._caller = Caller(url)
        self._caller.http.timeout = httpx2.Timeout(20)
        self._chance = random.Random(number)
        self._dataset = dataset
        self._number = number
        self._days = 0
        self.writes = 0
        self.repeated = 0
        self.recorded: dict[str, int] = {}  # the ids of releases by their start
        self.patched: list[tuple[int, int]] = []  # the release, and the number it was given
        self.created: list[str] = []

    def write(self, until: int, ending: threading.Event) -> None:
        """Writes until so many writes are acknowledged."""
        while self.writes < until and not ending.is_set():
            kind = self._chance.random()
            if kind < 0.45 or not self.recorded:
                self._record()
            elif kind < 0.6:
                self._record_many()
            elif kind < 0.9:
                self._patch()
            else:
                self._create()
        self._caller.http.close()

    def _send(self, method: str, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        while True:
            try:
                answer = self._caller.send(method, path, json.dumps(body), **headers)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code not in BUSY:
                return answer
            self.repeated += 1
            time.sleep(0.05)

    def _day(self) -> dict[str, Any]:
        at = DAY_0 + timedelta(self._days + self._days // 6)
        self._days += 1
        period = {"start_date": at.isoformat(), "end_date": (at + timedelta(1)).isoformat()}
        return {"dataset": {"id": self._dataset}, **period}

    def _record(self) -> None:
        answer = self._send("POST", "/dataset-releases", self._day())
        assert answer.status_code in (200, 201), answer.text
        self._note(answer.json())

    def _record_many(self) -> None:
        body = {"releases": [self._day() for _ in range(BATCH)]}
        answer = self._send("POST", "/dataset-releases/batch", body)
        assert answer.status_code == 200, answer.text
        for one in answer.json():
            self._note(one["release"])

    def _note(self, release: dict[str, Any]) -> None:
        assert release["start_date"] not in self.recorded
        self.recorded[release["start_date"]] = release["id"]
        self.writes += 1

    def _patch(self) -> None:
        """Changes a version; a repetition that is told 412 finds that it was this that changed it."""
        id = self._chance.choice(list(self.recorded.values()))
        path, value = f"/dataset-releases/{id}", self._chance.randrange(2**40)
        version = self._send("GET", path, {}).json()["version"]
        repeated = self.repeated
        answer = self._send("PATCH", path, {"row_count": value}, if_match=f'"{version}"')
        if answer.status_code == 412:
            assert self.repeated > repeated, "nobody else changes it"
            answer = self._send("GET", path, {})
        assert (answer.status_code, answer.json()["version"]) == (200, version + 1), answer.text
        assert answer.json()["row_count"] == value
        self.patched.append((id, value))
        self.writes += 1

    def _create(self) -> None:
        name = f"{self._number} {len(self.created)}"
        answer = self._send(
            "POST", "/workflow-types", {"type_id": name, "name": name}, idempotency_key=str(uuid4())
        )
        assert (answer.status_code, answer.json().get("type_id")) == (201, name), answer.text
        self.created.append(name)
        self.writes += 1


def furnished(url: str) -> list[int]:
    """Creates a dataset for each client."""
    caller = Caller(url)

    def make(path: str, **fields: Any) -> int:
        made = caller.send("POST", path, json.dumps(fields))
        assert made.status_code == 201, made.text
        id: int = made.json()["id"]
        return id

    owner, kind = make("/organisations", name="o"), make("/workflow-types", type_id="t", name="t")
    flow = make("/workflows", name="w", organisation={"id": owner}, workflow_type={"id": kind})
    sort = make("/dataset-types", type_id="t", name="t", table_type={"id": 1})
    related = {"workflow": {"id": flow}, "dataset_type": {"id": sort}}
    made = [make("/datasets", name=f"d{i}", service="s", address="a", **related) for i in range(CLIENTS)]
    caller.http.close()
    return made


def check_trust(
    server: Served, database_url: str, writes: int, kills: list[Callable[[], None]]
) -> list[Client]:
    """Lets all write while one thing after the other is killed; fails where anything is not as told."""
    clients = [Client(server.url, number, id) for number, id in enumerate(furnished(server.url))]
    ending = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        try:
            working = [pool.submit(client.write, writes // CLIENTS, ending) for client in clients]
            for number, kill in enumerate(kills):
                share = writes * (number + 0.5) / len(kills)
                while sum(client.writes for client in clients) < share:
                    for work in working:
                        if work.done():
                            work.result()
                    time.sleep(0.005)
                kill()
            for work in working:
                work.result()
        finally:
            ending.set()
    entries = replayed.check(server.url, database_url)
    check_acknowledged(clients, entries)
    report = soundness.check(database_url)
    assert report.is_sound, report.told
    return clients


def check_acknowledged(clients: list[Client], entries: list[replayed.Entry]) -> None:
    """Fails where a change that was acknowledged has no entry in the journal, or more than one."""
    created = Counter((kind, id) for kind, id, action, _, _ in entries if action == "create")
    assert set(created.values()) == {1}
    changed = Counter(
        (id, now["row_count"])
        for kind, id, action, _, now in entries
        if (kind, action) == ("DatasetRelease", "change") and now
    )
    types = Counter(now["type_id"] for kind, _, _, _, now in entries if kind == "WorkflowType" and now)
    recorded = Counter(
        (now["dataset"]["id"], now["start_date"])
        for kind, _, action, _, now in entries
        if (kind, action) == ("DatasetRelease", "create") and now
    )
    assert set(recorded.values()) == {1}
    # Everything was acknowledged in the end, so the journal has neither less nor more.
    assert sum(recorded.values()) == sum(len(client.recorded) for client in clients)
    assert changed == Counter(one for client in clients for one in client.patched)
    assert types == Counter(["t", *(name for client in clients for name in client.created)])


def killing(server: Served) -> Callable[[], None]:
    def kill() -> None:
        server.kill()
        server.start()

    return kill


def crashing(postmaster: Postmaster) -> Callable[[], None]:
    def crash() -> None:
        postmaster.kill()
        postmaster.start()

    return crash


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_was_acknowledged_is_there_once_though_the_server_is_killed(
    served: Callable[..., Served], database_url: str
) -> None:
    server = served(database_url)
    clients = check_trust(server, database_url, 800, [killing(server)] * 3)
    assert sum(client.repeated for client in clients) > 0


def test_what_was_acknowledged_is_there_once_though_the_database_is_killed_too(
    served: Callable[..., Served], postmaster: Postmaster
) -> None:
    upgrade(postmaster.url)
    server = served(postmaster.url)
    kills = [killing(server), crashing(postmaster), killing(server)]
    clients = check_trust(server, postmaster.url, 800, kills)
    assert sum(client.repeated for client in clients) > 0


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_of_20000_writes_each_is_there_once_though_the_server_is_killed_30_times(
    served: Callable[..., Served], database_url: str
) -> None:
    server = served(database_url, workers=2)
    check_trust(server, database_url, 20_000, [killing(server)] * 30)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_of_20000_writes_each_is_there_once_though_the_database_is_killed_5_times_too(
    served: Callable[..., Served], postmaster: Postmaster
) -> None:
    upgrade(postmaster.url)
    server = served(postmaster.url, workers=2)
    kills = [killing(server)] * 30
    for number in range(5):
        kills.insert(7 * number + 3, crashing(postmaster))
    check_trust(server, postmaster.url, 20_000, kills)
