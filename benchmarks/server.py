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
    """A server that runs: its port, its process and the URL of its database."""

    port: int
    pid: int
    database_url: str

    @property
    def database(self) -> str:
        """The name of its database."""
        return self.database_url.rpartition("/")[2]


class Answer(NamedTuple):
    """What a server answers: the status, the header that names the next page, the body."""

    status: int
    link: str
    body: bytes


def json_request(method: str, path: str, body: object = None) -> bytes:
    """Returns a request of HTTP/1.1 as bytes."""
    content = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def answer(port: int, request: bytes) -> Answer:
    """Returns the answer to one request."""
    method, path = request.split(b" ", 2)[:2]
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request(method.decode(), path.decode(), request.partition(b"\r\n\r\n")[2], headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("Link", ""), response.read())
    finally:
        connection.close()


def serves(port: int, request: bytes) -> bool:
    """Tells whether a server answers a request well."""
    try:
        return answer(port, request).status == 200
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
    load = msgspec.msgpack.encode(Load(server.port, requests, count, statuses))
    command = [sys.executable, "-m", "benchmarks.load"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"%d\n" % len(load) + load)
        client.stdin.flush()
        if client.stdout.readline() != b"ready\n":
            raise RuntimeError("the load client does not start")
        before = cpu_seconds(server.pid), cpu_seconds(postgres.pid)
        client.stdin.write(b"go\n")
        client.stdin.flush()
        answer = client.stdout.read()
        after = cpu_seconds(server.pid), cpu_seconds(postgres.pid)
    if client.returncode:
        raise RuntimeError("the load client fails: the reason is above")
    result = msgspec.msgpack.decode(answer, type=Result)
    slowest = sorted(result.latencies)[int(len(result.latencies) * 0.99)]
    used = [end - start for start, end in zip(before, after, strict=True)]
    return Sample(len(result.latencies), result.seconds, used[0], used[1], slowest, result.length)
