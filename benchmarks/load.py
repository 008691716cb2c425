"""A load client that costs little: one process, one thread, plain sockets that are kept open.

It runs as a process of its own (`python -m benchmarks.load`), and both servers are asked by it. It reads a
Load from standard input, opens its connections, says `ready`, waits for a line, asks, and writes a Result.
"""

import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice

import msgspec

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
NOT_MODIFIED = 304  # has no body, and so need not say how long it is
CLOSES = re.compile(rb"connection: *close", re.IGNORECASE)


class Load(msgspec.Struct):
    """What to ask: for each connection its requests, over and over until the sum of `count` are answered."""

    port: int
    requests: list[list[bytes]]
    count: int
    statuses: tuple[int, ...]


class Result(msgspec.Struct):
    """How long it took, and each request of it, in seconds; and the bytes of the last answer."""

    seconds: float
    latencies: list[float]
    length: int


class Connection:
    """One connection with what is still to be asked on it."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.port = port
        self.socket = self._open()
        self.asked_at = 0.0
        self.answer = bytearray()
        self._needed = 0

    def ask(self) -> bool:
        """Sends the next request, if there is one."""
        if (request := next(self.requests, None)) is None:
            return False
        self.answer.clear()
        self._needed = 0
        self.asked_at = time.perf_counter()
        self.socket.sendall(request)
        return True

    def read(self) -> bool:
        """Reads what has come and tells whether the answer is whole."""
        part = self.socket.recv(1 << 20)
        if not part:
            raise ConnectionError(f"the server hung up after {bytes(self.answer[:200])!r}")
        self.answer += part
        if not self._needed:
            head = self.answer.find(b"\r\n\r\n")
            if head < 0:
                return False
            length = LENGTH.search(self.answer, 0, head + 2)
            if length is None and self.status() != NOT_MODIFIED:
                raise ValueError(f"an answer without a length: {bytes(self.answer[:head])!r}")
            self._needed = head + 4 + (int(length[1]) if length else 0)
        return len(self.answer) >= self._needed

    def status(self) -> int:
        """Returns the status of the answer."""
        return int(self.answer[9:12])

    def body(self) -> bytes:
        """Returns the body of the answer."""
        return bytes(self.answer.partition(b"\r\n\r\n")[2])

    def renew(self, selector: selectors.BaseSelector) -> None:
        """Opens the connection again where the server closes it after each answer, as some do."""
        if CLOSES.search(self.answer, 0, self.answer.find(b"\r\n\r\n") + 2):
            selector.unregister(self.socket)
            self.socket.close()
            self.socket = self._open()
            selector.register(self.socket, selectors.EVENT_READ, self)

    def _open(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened


def run(load: Load, connections: list[Connection], selector: selectors.BaseSelector) -> Result:
    """Asks until all is answered; raises ValueError at an answer that is not what was expected."""
    latencies: list[float] = []
    length = 0
    started = time.perf_counter()
    busy = sum(connection.ask() for connection in connections)
    while busy:
        for key, _ in selector.select():
            connection: Connection = key.data
            if not connection.read():
                continue
            latencies.append(time.perf_counter() - connection.asked_at)
            if connection.status() not in load.statuses:
                raise ValueError(f"the server answers {bytes(connection.answer[:2000])!r}")
            length = len(connection.answer)
            connection.renew(selector)
            if not connection.ask():
                selector.unregister(connection.socket)
                busy -= 1
    return Result(time.perf_counter() - started, latencies, length)


def main() -> None:
    """Reads what to ask, waits for the start, asks and tells."""
    size = int(sys.stdin.buffer.readline())
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=Load)
    share = load.count // len(load.requests)
    selector = selectors.DefaultSelector()
    connections = []
    for requests in load.requests:
        connection = Connection(load.port, islice(cycle(requests), share))
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connections.append(connection)
        # Not all at the same moment: one worker of a server would accept them all.
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.buffer.readline()
    sys.stdout.buffer.write(msgspec.msgpack.encode(run(load, connections, selector)))


if __name__ == "__main__":
    main()
