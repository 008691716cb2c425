"""Clients that send too much, too slowly, or do not read lose their connection, and nobody else anything."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from observatory.server.app import create_app
from observatory.server.running import Config, Server
from observatory.settings import Settings

from .conftest import Served, admin_key

ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database has no part in it
pytestmark = ONE


class Here(Config):
    """A server in this process, which logs as the tests do."""

    def configure_logging(self) -> None:
        pass


class Limited(NamedTuple):
    """A server that is limited otherwise than usual."""

    url: str
    port: int


@pytest.fixture
def server(database_url: str, let_in: Callable[[str, str], None]) -> Iterator[Callable[..., Limited]]:
    """Starts servers as `observatory serve` does, but in this process; they end with the test."""
    with contextlib.ExitStack() as started:

        def start(**limits: float) -> Limited:
            settings = replace(Settings(database_url=database_url), **limits)
            listener = started.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = Server(Here(settings, lambda: create_app(settings)))
            thread = threading.Thread(target=server.run, args=[[listener]])
            thread.start()
            started.callback(thread.join)
            started.callback(setattr, server, "should_exit", True)
            port = listener.getsockname()[1]
            let_in(database_url, f"http://127.0.0.1:{port}")
            return Limited(f"http://127.0.0.1:{port}", port)

        yield start


@contextlib.contextmanager
def connected(server: Limited | Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """Returns all that is answered until the server hangs up."""
    answered = b""
    while part := connection.recv(1 << 16):
        answered += part
    return answered


def problem(answered: bytes) -> tuple[int, str]:
    """Returns the status and the media type of what is answered, whose body must be a problem."""
    head, _, body = answered.partition(b"\r\n\r\n")
    status = int(head[9:12])
    assert json.loads(body)["status"] == status
    assert b"application/problem+json" in head
    return status, json.loads(body)["detail"]


def seconds_until_closed(connection: socket.socket) -> float:
    started = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        everything(connection)
    return time.monotonic() - started


@pytest.mark.parametrize(
    "head",
    [
        b"X-Long: %s\r\n\r\n" % (b"a" * 70_000),
        b"X-Long: " + b"a" * 70_000,
        b"".join(b"X-%d: %s\r\n" % (i, b"a" * 990) for i in range(70)) + b"\r\n",
    ],
    ids=["one header", "one without an end", "many headers"],
)
@pytest.mark.parametrize("pieces", [1, 7])
def test_headers_that_are_too_long_are_refused(
    server: Callable[..., Limited], head: bytes, pieces: int
) -> None:
    with connected(server()) as connection:
        whole = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + head
        size = len(whole) // pieces + 1
        for at in range(0, len(whole), size):
            connection.sendall(whole[at : at + size])
            time.sleep(0.02)
        assert problem(everything(connection)) == (431, "more than 32768 bytes before the body")


def test_a_path_that_is_too_long_is_refused(server: Callable[..., Limited]) -> None:
    with connected(server()) as connection:
        connection.sendall(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 40_000))
        assert problem(everything(connection))[0] == 431


def test_long_headers_within_the_limit_and_requests_sent_at_once_are_answered(
    server: Callable[..., Limited],
) -> None:
    with connected(server()) as connection:
        one = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\n\r\n" % (b"a" * 30_000)
        connection.sendall(one * 3 + one.replace(b"\r\nX", b"\r\nConnection: close\r\nX"))
        assert everything(connection).count(b"HTTP/1.1 200 OK") == 4


def test_what_is_no_http_is_answered_with_a_problem(server: Callable[..., Limited]) -> None:
    with connected(server()) as connection:
        connection.sendall(b"This is not HTTP\r\n\r\n")
        assert problem(everything(connection)) == (400, "the request is not HTTP")


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET /livez HTTP/1.1\r\nHost: loc"])
def test_headers_that_do_not_come_close_the_connection(server: Callable[..., Limited], begun: bytes) -> None:
    with connected(server(header_timeout=1)) as connection:
        connection.sendall(begun)
        assert seconds_until_closed(connection) == pytest.approx(2, abs=1.2)


@pytest.mark.parametrize("begun", [b"\r\n", b"GET /livez HTTP/1.1\r\nHost: loc"])
def test_nor_may_those_of_a_later_request_be_awaited(server: Callable[..., Limited], begun: bytes) -> None:
    with connected(server(header_timeout=1)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in connection.recv(1 << 16)
        time.sleep(2.5)  # between requests a connection may rest
        connection.sendall(begun)
        assert seconds_until_closed(connection) == pytest.approx(2, abs=1.2)


def post(server: Limited | Served, length: str) -> bytes:
    head = "POST /v1/organisations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    return f"{head}\r\nAuthorization: Bearer {admin_key(server.url)}\r\n{length}\r\n\r\n".encode()


@pytest.mark.parametrize("length", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_coming_is_given_up(server: Callable[..., Limited], length: str) -> None:
    started = server(stall_timeout=1)
    with connected(started) as connection:
        connection.sendall(post(started, length) + b"1\r\n{\r\n")
        begun = time.monotonic()
        assert problem(everything(connection)) == (408, "the body did not come in time")
        assert time.monotonic() - begun == pytest.approx(2, abs=1.2)


def test_a_body_that_comes_byte_by_byte_is_given_up(server: Callable[..., Limited]) -> None:
    started = server(stall_timeout=0.3)
    with connected(started) as connection:
        connection.sendall(post(started, "Content-Length: 1000000"))
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 15:
                connection.sendall(b" ")
                time.sleep(0.1)
        assert time.monotonic() - begun < 10


def test_an_endless_body_is_cut(server: Callable[..., Limited]) -> None:
    started = server(max_body=1 << 20)
    with connected(started) as connection:
        connection.sendall(post(started, "Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 100 << 20:
                connection.sendall(chunk)
                sent += len(chunk)
        assert 1 << 20 <= sent < 20 << 20


def test_who_sends_too_much_can_read_why(server: Callable[..., Limited]) -> None:
    started = server(max_body=1000)
    with connected(started) as connection:
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        connection.sendall(post(started, "Transfer-Encoding: chunked") + chunk * 3)
        assert problem(everything(connection))[0] == 413


def test_who_does_not_read_the_answers_is_dropped(server: Callable[..., Limited]) -> None:
    started = server(stall_timeout=1)
    asked = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(started) as connection:
        connection.sendall(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        length = len(everything(connection))
    with connected(started) as connection:
        connection.sendall(asked * 20)
        time.sleep(5)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                received += len(part)
        assert 0 < received < 20 * length


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
def test_half_open_connections_hold_up_nobody(
    served: Callable[..., Served], database_url: str, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("OBSERVATORY_HEADER_TIMEOUT", "60")
    started = served(database_url)
    slowest(started)  # the first ones are slower
    for _ in range(4):
        alone = slowest(started)
        with contextlib.ExitStack() as half_open:
            for i in range(count):
                connection = half_open.enter_context(connected(started))
                begun = post(started, "Content-Length: 100") if i % 2 else b"GET /livez HTTP/1.1\r\nHo"
                connection.sendall(begun)
            beside = slowest(started)
        if beside < 3 * alone:
            return
    raise AssertionError(f"a hundredth took {alone:.4f} s, and {beside:.4f} s beside {count} connections")


def slowest(server: Served) -> float:
    """Returns how long at most 99 of 100 requests take."""
    asking = HTTPConnection("127.0.0.1", server.port)
    headers = {"Authorization": f"Bearer {admin_key(server.url)}"}
    took = []
    for _ in range(500):
        begun = time.perf_counter()
        asking.request("GET", "/v1/table-types/1", headers=headers)
        answered = asking.getresponse()
        answered.read()
        took.append(time.perf_counter() - begun)
        assert answered.status == 200
    asking.close()
    return sorted(took)[495]


def test_a_client_that_has_said_all_still_reads_its_answer(server: Callable[..., Limited]) -> None:
    here = server()
    key = admin_key(here.url).encode()
    for _ in range(3):
        time.sleep(0.3)  # what is known of the key is looked up anew, which takes a moment
        with connected(here) as connection:
            head = b"GET /v1/organisations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + key
            connection.sendall(head + b"\r\nConnection: close\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection).startswith(b"HTTP/1.1 200")
