"""The journal over HTTP: pages, waiting for what comes next, streams of events, and servers that go."""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi, Organisation
from observatory.client.saved import load, normal
from observatory.ledger import open_database
from observatory.ledger.horizon import Position
from observatory.server import feed
from observatory.server.feed import Watch

from .conftest import Caller, Served

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)
SOON = 3.0  # seconds, in which a follower hears of a change on a busy machine


def release(dataset: Dataset, number: int) -> DatasetRelease:
    at = DAY_0 + timedelta(number)
    return DatasetRelease(dataset=dataset, start_date=at, end_date=at + timedelta(1), row_count=number)


def cursors(response: httpx2.Response) -> list[str]:
    return [entry["cursor"] for entry in response.json()]


def test_pages_lead_on_to_each_other_and_to_what_comes_next(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_releases([release(dataset, number) for number in range(10)])
    whole = [entry.cursor for entry in api.get_journal()]
    found: list[str] = []
    link: str | None = "?limit=4"
    while link:
        response = caller.send("GET", f"/journal{link}")
        found += cursors(response)
        assert response.headers["Journal-Cursor"] == found[-1]
        link = response.links["next"]["url"] if "next" in response.links else None
    assert found == whole
    nothing = caller.send("GET", f"/journal?after={found[-1]}")
    assert (nothing.json(), nothing.headers["Journal-Cursor"]) == ([], found[-1])
    assert caller.send("GET", "/journal?after=now").headers["Journal-Cursor"] == found[-1]


def test_what_is_asked_wrongly_is_named(caller: Caller) -> None:
    for asked in ("after=7", "wait=31", "kind=Nothing", "record_id=0", "since=2021", "before=1"):
        problem = caller.problem("GET", f"/journal?{asked}")
        assert (problem.status, problem.fields) == (422, {asked.partition("=")[0]})


def test_a_caller_waits_until_there_is_something(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    began = time.monotonic()
    assert caller.send("GET", "/journal?after=now&wait=1").json() == []
    assert 0.9 < time.monotonic() - began < 1 + SOON

    threading.Timer(0.5, lambda: api.post_dataset_release(release(dataset, 1))).start()
    began = time.monotonic()
    found = caller.send("GET", "/journal?after=now&wait=30&kind=DatasetRelease")
    assert [entry["after"]["row_count"] for entry in found.json()] == [1]
    assert time.monotonic() - began < 0.5 + SOON


def test_who_waits_is_not_told_of_what_was_not_asked_for(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    threading.Timer(0.3, lambda: api.post_dataset_release(release(dataset, 1))).start()
    found = caller.send("GET", "/journal?after=now&wait=1&kind=Workflow")
    assert found.json() == []
    # But need not look through it again.
    assert found.headers["Journal-Cursor"] == api.get_journal()[-1].cursor


@contextmanager
def streamed(url: str, asked: str = "", **headers: str) -> Iterator[Iterator[dict[str, str]]]:
    """Opens a stream and yields its events and comments, which have no data, as they come."""
    key = load(Path(os.environ["OBSERVATORY_CREDENTIALS"])).servers[normal(url)]
    sent = {"Accept": "text/event-stream", "Authorization": f"Bearer {key}", **headers}

    def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
        event: dict[str, str] = {}
        for line in lines:
            if not line:
                yield event
                event = {}
            else:
                field, _, value = line.partition(":")
                event[field] = value.removeprefix(" ")

    with (
        httpx2.Client(timeout=30) as http,
        http.stream("GET", f"{url}/v1/journal{asked}", headers=sent) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield events(response.iter_lines())


def next_entry(events: Iterator[dict[str, str]]) -> tuple[str, dict[str, Any]]:
    event = next(event for event in events if "data" in event)
    entry: dict[str, Any] = json.loads(event["data"])
    assert entry["cursor"] == event["id"]
    return event["id"], entry


def test_a_stream_tells_each_change_and_goes_on_where_it_broke(
    server_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    whole = api.get_journal()
    with streamed(server_url) as events:
        assert [next_entry(events)[0] for _ in whole] == [entry.cursor for entry in whole]
        api.post_dataset_release(release(dataset, 1))
        last, entry = next_entry(events)
        assert entry["after"]["row_count"] == 1
    api.post_dataset_release(release(dataset, 2))
    with streamed(server_url, "?after=now", **{"Last-Event-ID": last}) as events:
        assert next_entry(events)[1]["after"]["row_count"] == 2


def test_a_stream_of_nothing_lives_and_notes_how_far_it_is(
    server_url: str, api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT", 0.3)
    with streamed(server_url, "?kind=Organisation&after=now") as events:
        beats = (event for event in events if "" in event)
        first = next(beats)["id"]
        api.post_dataset_release(release(dataset, 1))
        assert first < next(beat["id"] for beat in beats if beat["id"] != first)
    monkeypatch.setattr(feed, "STREAMED", 0.5)
    with streamed(server_url, "?kind=Organisation&after=now") as events:
        assert all("data" not in event for event in events)  # it ends


def test_a_stream_from_nowhere_is_a_problem(caller: Caller) -> None:
    response = caller.http.get("/journal?after=7", headers={"Accept": "text/event-stream"})
    assert response.status_code == 422


def test_callers_who_wait_look_at_the_database_together(database_url: str) -> None:
    async def work() -> None:
        book = open_database(database_url)
        watch = Watch(book)
        looks = 0

        async def end() -> Position:
            nonlocal looks
            looks += 1
            return Position(0, 7)

        watch.end = end  # type: ignore[method-assign] # counted
        nothing = [watch.beyond(Position(0, 7), 1, None) for _ in range(500)]
        assert await asyncio.gather(*nothing) == [None] * 500
        assert looks <= 8
        assert await watch.beyond(Position(0, 6), 5, None) == Position(0, 7)
        looked = looks
        await asyncio.sleep(1)
        assert looks <= looked + 1  # nobody waits any more

    asyncio.run(work())


def test_callers_who_wait_or_go_away_hold_up_nobody(
    server_url: str, caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    key = caller.http.headers["Authorization"]
    host, port = server_url.removeprefix("http://").split(":")
    asked = f"GET /v1/journal?after=now&wait=30 HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\n"
    with ExitStack() as stack:
        waiting = []
        for number in range(200):
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            stream = "Accept: text/event-stream\r\n" if number % 2 else ""
            connection.sendall(f"{asked}{stream}\r\n".encode())
            waiting.append(connection)
        time.sleep(1)
        for connection in waiting[::3]:
            connection.close()
        began = time.monotonic()
        for number in range(20):
            api.post_dataset_release(release(dataset, number))
        assert time.monotonic() - began < SOON
        waiting[1].settimeout(SOON)
        heard = b""
        while b'"row_count":0' not in heard:
            heard += waiting[1].recv(65536)


def test_a_follower_outlives_the_server(database_url: str, served: Callable[..., Served]) -> None:
    server = served(database_url)
    with ObservatoryApi(server.url) as api:
        seen: list[str] = []

        def follow() -> None:
            for entry in api.follow_journal(kind="Organisation"):
                seen.append(entry.after["name"] if entry.after else "")
                if seen[-1] == "last":
                    return

        thread = threading.Thread(target=follow)
        thread.start()
        told = [f"number {number}" for number in range(2)]
        for name in told:
            api.post_organisation(Organisation(name=name))
            while not seen and thread.is_alive():  # one that was never reached is not waited for
                time.sleep(0.01)
            server.kill()
            server.start()
        api.post_organisation(Organisation(name="last"))
        thread.join(30)
    assert seen == [*told, "last"]


def test_a_server_that_stops_ends_what_waits_at_once(
    database_url: str, served: Callable[..., Served]
) -> None:
    server = served(database_url)
    with streamed(server.url, "?after=now") as events, ObservatoryApi(server.url) as api:
        next(events)
        waiting = threading.Thread(
            target=lambda: api._transport.part("journal", list, {"after": "now", "wait": 30})
        )
        waiting.start()
        time.sleep(0.5)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        assert not [event for event in events if "data" in event]
        waiting.join(5)
        assert not waiting.is_alive()
