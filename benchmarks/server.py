"""What both sides have in common: a server that runs, and a request as the bytes that are sent."""

import subprocess
import sys
from http.client import HTTPConnection
from typing import NamedTuple

import msgspec

from .load import Load, Result
from .machine import ROOT, cpu_seconds
from .postgresql import Postgres
from .rounds import Sample

CONNECTIONS = 8


class Server(NamedTuple):
    """A server that runs: its port, its process, the URL of its database and the key that opens it."""

    port: int
    pid: int
    database_url: str
    key: str = ""

    @property
    def database(self) -> str:
        """The name of its database."""
        return self.database_url.rpartition("/")[2]

    def signed(self, request: bytes) -> bytes:
        """Returns a request with the key, where the server asks for one."""
        return with_header(request, f"Authorization: Bearer {self.key}") if self.key else request


class Answer(NamedTuple):
    """What a server answers: the status, the headers that name the next page and the version, the body."""

    status: int
    link: str
    etag: str
    body: bytes


def json_request(method: str, path: str, body: object = None) -> bytes:
    """Returns a request of HTTP/1.1 as bytes."""
    content = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def with_header(request: bytes, header: str) -> bytes:
    """Returns a request with one header more."""
    first, _, rest = request.partition(b"\r\n")
    return first + b"\r\n" + header.encode() + b"\r\n" + rest


def answer(server: Server, request: bytes) -> Answer:
    """Returns the answer to one request."""
    head, _, body = server.signed(request).decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, dict(line.split(": ", 1) for line in lines))
        response = connection.getresponse()
        told = response.headers
        return Answer(response.status, told.get("Link", ""), told.get("ETag", ""), response.read())
    finally:
        connection.close()


def serves(port: int, request: bytes) -> bool:
    """Tells whether a server answers a request well that anybody may ask."""
    try:
        return answer(Server(port, 0, ""), request).status == 200
    except OSError:
        return False


def asked(
    server: Server,
    postgres: Postgres,
    requests: list[list[bytes]],
    count: int,
    statuses: tuple[int, ...] = (200,),
) -> Sample:
    """Sends requests from a process of its own, a list for each connection, and returns what it took."""
    signed = [[*map(server.signed, each)] for each in requests]
    asking = msgspec.msgpack.encode(Load(server.port, signed, count, statuses))
    answer, used, of_database = load("load", asking, server, postgres)
    result = msgspec.msgpack.decode(answer, type=Result)
    slowest = sorted(result.latencies)[int(len(result.latencies) * 0.99)]
    return Sample(len(result.latencies), result.seconds, used, of_database, slowest, result.length)


def load(client: str, asking: bytes, server: Server, postgres: Postgres) -> tuple[bytes, float, float]:
    """Runs a load client, and returns what it tells, and the CPU seconds of the server and of PostgreSQL."""
    command = [sys.executable, "-m", f"benchmarks.{client}"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"%d\n" % len(asking) + asking)
        process.stdin.flush()
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the load client does not start")
        before = cpu_seconds(server.pid), cpu_seconds(postgres.pid)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        answer = process.stdout.read()
        after = cpu_seconds(server.pid), cpu_seconds(postgres.pid)
    if process.returncode:
        raise RuntimeError("the load client fails: the reason is above")
    return answer, after[0] - before[0], after[1] - before[1]
