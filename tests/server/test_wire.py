"""What arrives below the routes: odd hosts and headers, endless URLs and bodies. Nothing of it is a 500."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx2
import pytest

from observatory import ObservatoryApi
from observatory.settings import Settings

from .conftest import Served, admin_key

MEGABYTE = 2**20
ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database has no part in it


@pytest.fixture
def raw(server_url: str) -> Callable[..., bytes]:
    """Sends bytes, with a key where they are a request, and returns the first line of what is answered."""
    address = urlsplit(server_url)
    key = b"Authorization: Bearer " + admin_key(server_url).encode()

    def exchange(sent: bytes, ends: bool = True) -> bytes:
        if b"Authorization" not in sent:
            sent = sent.replace(b"Connection: close", key + b"\r\nConnection: close", 1)
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            with contextlib.suppress(ConnectionError):  # it may hang up while we still send
                connection.sendall(sent)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while chunk := connection.recv(65536):
                    answer += chunk
            return answer.partition(b"\r\n")[0]

    return exchange


def asked(path: bytes = b"/v1/organisations", *headers: bytes, method: bytes = b"GET") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", *headers, b"Connection: close", b"", b""]
    return b"\r\n".join(lines)


WELL = [
    asked(b"/v1/organisations", b"Host: localhost"),
    asked(b"/v1/organisations", b"Host: LOCALHOST:"),
    asked(b"/v1/organisations", b"Host: 127.1.2.3:99999999"),
    asked(b"/v1/organisations", b"Host: [::1]:80"),
    asked(b"/v1/organisations", b"Host: localhost", b"Cookie: " + b"a=b; " * 1000),
    asked(b"/v1/organisations", b"Host: localhost", b"X-Forwarded-For: \xff", b"X-Forwarded-Proto: nonsense"),
    asked(b"/v1/organisations", b"Host: localhost", b"Accept: \xff/\xff;q=nan", b"Accept-Encoding: \xff"),
    asked(b"/v1/organisations", b"Host: localhost", b"Content-Type: \xff\xff; charset=\xff"),
    asked(b"/v1/organisations", b"Host: localhost", b"Authorization: Bearer \xff\x80"),
    asked(b"/v1/organisations", b"Host: localhost", b"If-Modified-Since: tomorrow", b"Range: bytes=5-1"),
    asked(b"http://b/v1/organisations", b"Host: localhost"),
]
# What proxies and other names of a machine make of it, and what nobody should.
ELSEWHERE = [
    b"example.org",
    b"example.org:5002",
    b"localhost.example.org",
    b"127.0.0.1.example.org",
    b"127.0.0.1@example.org",
    b"example.org:127.0.0.1",
    b"192.168.0.1",
    b"0.0.0.0",
    b"[::]",
    b"\xff\xfe\x80",
    b"http://[::1",
    b"",
]
BAD = [
    asked(b"/v1/organisations?name=" + b"x" * 70_000, b"Host: localhost"),
    asked(b"/v1/" + b"x" * 70_000, b"Host: localhost"),
    asked(b"/v1/organisations?" + b"&".join(b"a%d=1" % i for i in range(5000)), b"Host: localhost"),
    asked(b"/v1/organisations", b"Host: localhost", b"X-Long: " + b"x" * 70_000),
    asked(b"/v1/organisations", b"Host: localhost", *[b"X-%d: 1" % i for i in range(5000)]),
    asked(b"/v1/organisations\xff\xfe", b"Host: localhost"),
    asked(b"/v1/%c0%af%2e%2e", b"Host: localhost"),
    asked(b"*", b"Host: localhost"),
    asked(b"", b"Host: localhost"),
    asked(
        b"/v1/organisations", b"Host: localhost", b"Content-Length: 5", b"Content-Length: 6", method=b"POST"
    ),
    asked(b"/v1/organisations", b"Host: localhost", b"Content-Length: -1", method=b"POST"),
    asked(b"/v1/organisations", b"Host: localhost", b"Content-Length: x", method=b"POST"),
    asked(b"/v1/organisations", b"Host: localhost", b"Transfer-Encoding: gzip, chunked", method=b"POST"),
    asked(b"/v1/organisations", b"Host: localhost", b"Transfer-Encoding: chunked", method=b"POST")
    + b"zz\r\n",
    asked(
        b"/v1/organisations",
        b"Host: localhost",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        method=b"POST",
    ),
    b"\x16\x03\x01\x02\x00\x01\x00",  # somebody speaks TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/organisations\r\n\r\n",
    b"\x00" * 1000,
    b"",
]


@ONE
def test_odd_headers_do_no_harm(raw: Callable[..., bytes]) -> None:
    answered = {sent[:80]: raw(sent, ends=False) for sent in WELL}

    assert {sent: line for sent, line in answered.items() if line[9:12] not in (b"200", b"400", b"401")} == {}
    assert [line[9:12] for line in answered.values()].count(b"401") == 1
    assert raw(WELL[0], ends=False).startswith(b"HTTP/1.1 200")


@ONE
def test_it_is_served_under_whatever_name_it_is_asked_for_but_not_without_a_key(
    raw: Callable[..., bytes], server_url: str
) -> None:
    for path in (b"/v1/organisations", b"/v1/openapi.json", b"/docs", b"/livez"):
        answered = {host: raw(asked(path, b"Host: " + host), ends=False) for host in ELSEWHERE}
        assert {host: line for host, line in answered.items() if line[9:12] not in (b"200", b"400")} == {}
        assert answered[b"example.org:5002"][9:12] == b"200"

    refused = httpx2.get(f"{server_url}/v1/organisations", headers={"Host": "example.org"})
    assert refused.status_code == refused.json()["status"] == 401
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["WWW-Authenticate"] == "Bearer"


@ONE
def test_what_is_not_to_be_served_is_refused_and_never_a_mistake_of_ours(
    raw: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    answered = {sent[:80]: raw(sent) for sent in BAD}

    assert {sent: line for sent, line in answered.items() if line[9:10] == b"5"} == {}
    assert raw(WELL[0], ends=False).startswith(b"HTTP/1.1 200")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@ONE
def test_a_caller_that_hangs_up_in_the_middle_of_its_body_leaves_nothing(
    server_url: str, api: ObservatoryApi, caplog: pytest.LogCaptureFixture
) -> None:
    address = urlsplit(server_url)
    key = b"Authorization: Bearer " + admin_key(server_url).encode()
    headers = (b"Host: localhost", key, b"Content-Type: application/json")
    head = asked(b"/v1/organisations", *headers, method=b"POST")
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port)) as connection:
            told = head.replace(b"Connection: close", b"Content-Length: 100")
            connection.sendall(told + b'{"name": "half')
    assert api.get_organisations() == []
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@ONE
def test_slow_callers_hold_up_nobody_else(server_url: str, api: ObservatoryApi) -> None:
    address = urlsplit(server_url)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = socket.create_connection((address.hostname, address.port))
            stack.enter_context(connection)
            connection.sendall(b"POST /v1/organisations HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        assert len(api.get_table_types()) == 3


def peak(server: Served) -> int:
    """Returns the most memory that a server has had so far, in bytes."""
    status = Path(f"/proc/{server.pid}/status")
    if not status.exists():
        pytest.skip("only Linux tells how much memory a process had")
    [said] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(said.split()[1]) * 1024


def endless(size: int) -> Iterator[bytes]:
    yield b'{"name": "'
    for _ in range(size // MEGABYTE):
        yield b"x" * MEGABYTE


@ONE
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_that_is_too_large_is_refused_as_it_comes(
    served: Callable[..., Served], database_url: str, declared: bool
) -> None:
    server = served(database_url)
    size = 250 * MEGABYTE
    before = peak(server)
    headers = with_key(server.url) | ({"Content-Length": str(size + 10)} if declared else {})
    try:
        status = httpx2.post(
            f"{server.url}/v1/organisations", content=endless(size), headers=headers, timeout=60
        ).status_code
    except httpx2.TransportError:
        status = 0  # it hung up while we still sent, and its answer is lost

    assert status in (413, 0)
    assert peak(server) - before < 100 * MEGABYTE
    with ObservatoryApi(server.url) as api:
        assert api.get_organisations() == []


def test_the_limit_of_a_body_is_what_the_settings_say(
    serve: Callable[[Settings], str], database_url: str
) -> None:
    url = serve(Settings(database_url=database_url, max_body=1000))
    for length, status in ((900, 422), (1100, 413)):
        for content in (b'{"name": "' + b"x" * length + b'"}', endless_of(length)):
            answered = httpx2.post(f"{url}/v1/organisations", content=content, headers=with_key(url))
            assert answered.status_code == status
            assert answered.headers["Content-Type"] == "application/problem+json"


def with_key(url: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "Authorization": f"Bearer {admin_key(url)}"}


def endless_of(length: int) -> Iterator[bytes]:
    """Yields a body in pieces, whose length is therefore not declared."""
    yield b'{"name": "'
    yield b"x" * length
    yield b'"}'


@ONE
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_either_parser_of_http_answers_problems(
    http: Literal["h11", "httptools"], database_url: str, let_in: Callable[[str, str], None]
) -> None:
    import uvicorn

    from observatory.server.app import create_app

    pytest.importorskip(http)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    config = uvicorn.Config(create_app(Settings(database_url=database_url)), http=http, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        let_in(database_url, url)
        headers = with_key(url)
        assert httpx2.get(f"{url}/v1/nowhere").json()["status"] == 404
        long = httpx2.get(f"{url}/v1/organisations?name={'x' * 60_000}", headers=headers)
        assert 400 <= long.status_code < 500
        assert httpx2.get(f"{url}/v1/table-types", headers=headers).status_code == 200
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
