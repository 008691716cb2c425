"""A server that is told to stop: it says so first, finishes what runs, and loses no request."""

import os
import signal
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

import httpx2
import pytest

from observatory import ObservatoryApi

from .conftest import Served, admin_key

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it has no part in it

Serve = Callable[..., Served]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_says_that_it_stops_and_goes_on_answering(
    served: Serve, database_url: str, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("OBSERVATORY_DRAIN", "2")
    server = served(database_url, workers)
    assert httpx2.get(f"{server.url}/readyz").status_code == 200
    os.kill(server.pid, signal.SIGTERM)
    begun = time.monotonic()
    time.sleep(1)
    refused = httpx2.get(f"{server.url}/readyz")
    assert refused.status_code == refused.json()["status"] == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    answered = httpx2.get(f"{server.url}/livez")
    assert answered.status_code == 200
    assert answered.headers["Connection"] == "close"
    assert server.ended() == pytest.approx(begun + 2.5, abs=1.5)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{server.url}/livez")


@pytest.mark.parametrize(
    ("workers", "signals"),
    [(1, [signal.SIGTERM, signal.SIGTERM]), (2, [signal.SIGINT]), (2, [signal.SIGTERM, signal.SIGTERM])],
)
def test_a_second_signal_or_an_interrupt_ends_it_at_once(
    served: Serve,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    signals: list[signal.Signals],
) -> None:
    monkeypatch.setenv("OBSERVATORY_DRAIN", "20")
    server = served(database_url, workers)
    held = HTTPConnection("127.0.0.1", server.port)
    held.request("GET", "/livez")
    held.getresponse().read()
    held.putrequest("POST", "/v1/organisations")
    held.putheader("Content-Length", "100")
    held.endheaders()  # a request that never comes whole
    begun = time.monotonic()
    for one in signals:
        os.kill(server.pid, one)
        time.sleep(1)
    assert server.ended() < begun + 6
    held.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_let_in_who_would_not_be_answered(served: Serve, database_url: str, workers: int) -> None:
    server = served(database_url, workers)
    held = HTTPConnection("127.0.0.1", server.port, timeout=10)
    held.putrequest("POST", "/v1/organisations")
    held.putheader("Authorization", f"Bearer {admin_key(server.url)}")
    held.putheader("Content-Type", "application/json")
    held.putheader("Content-Length", "14")
    held.endheaders(b'{"name"')  # keeps the server from ending
    time.sleep(0.5)
    os.kill(server.pid, signal.SIGTERM)
    time.sleep(2)
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection("127.0.0.1", server.port, timeout=2).connect()
    held.send(b': "it"}')
    assert held.getresponse().status == 201
    held.close()
    server.ended()


@pytest.mark.parametrize("one", [signal.SIGINT, signal.SIGTERM])
def test_what_is_answered_while_a_server_stops_is_kept(
    served: Serve, database_url: str, one: signal.Signals
) -> None:
    server = served(database_url)
    kept: list[str] = []

    def write(writer: int) -> None:
        asking = HTTPConnection("127.0.0.1", server.port, timeout=10)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            for number in range(10_000):
                name = f"organisation {writer} {number}"
                asking.request("POST", "/v1/organisations", f'{{"name": "{name}"}}', headers)
                response = asking.getresponse()
                response.read()
                if response.status == 201:
                    kept.append(name)
        except (OSError, HTTPException):
            asking.close()

    key = admin_key(server.url)
    writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for writer in writers:
        writer.start()
    time.sleep(1)
    os.kill(server.pid, one)
    server.ended()
    for writer in writers:
        writer.join()
    server.start()
    with ObservatoryApi(server.url) as api:
        there = {organisation.name for organisation in api.get_organisations()}
    assert len(kept) > 10
    assert set(kept) <= there


def test_no_request_is_lost_while_one_of_two_servers_is_restarted(
    served: Serve, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_DRAIN", "3")
    servers = [served(database_url), served(database_url)]
    keys = [admin_key(server.url) for server in servers]
    ready = [True, True]
    lost: list[str] = []
    answered = [0, 0]
    is_over = threading.Event()

    def poll() -> None:
        """Asks who is ready, as a proxy does."""
        while not is_over.wait(0.2):
            for number, server in enumerate(servers):
                asking = HTTPConnection("127.0.0.1", server.port, timeout=5)
                try:
                    asking.request("GET", "/readyz")
                    ready[number] = asking.getresponse().status == 200
                except (OSError, HTTPException):
                    ready[number] = False
                asking.close()

    def ask(asker: int) -> None:
        """Asks those that are ready in turns, on connections that are kept, and repeats nothing."""
        connections = [HTTPConnection("127.0.0.1", server.port, timeout=10) for server in servers]
        turn = asker
        while not is_over.is_set():
            turn += 1
            number = turn % 2 if ready[turn % 2] else (turn + 1) % 2
            # A proxy sees that a server closed what nobody asked it by while it stopped.
            if not ready[1 - number]:
                connections[1 - number].close()
            headers = {"Authorization": f"Bearer {keys[number]}", "Content-Type": "application/json"}
            try:
                connections[number].request(
                    "POST", "/v1/organisations", f'{{"name": "{asker} {turn}"}}', headers
                )
                response = connections[number].getresponse()
                response.read()
                answered[number] += 1
                if response.status != 201:
                    lost.append(f"{response.status}")
            except (OSError, HTTPException) as error:
                lost.append(repr(error))
                connections[number].close()
            time.sleep(0.005)
        for connection in connections:
            connection.close()

    threads = [threading.Thread(target=poll), *(threading.Thread(target=ask, args=[n]) for n in range(4))]
    for thread in threads:
        thread.start()
    for server in servers:
        time.sleep(1)
        server.stop()
        server.start()
        time.sleep(1)
    is_over.set()
    for thread in threads:
        thread.join()
    assert lost == []
    assert min(answered) > 50
