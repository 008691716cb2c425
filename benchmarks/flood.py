"""A load client that does not wait: it sends so many requests a second, however many are still unanswered.

It runs as a process of its own (`python -m benchmarks.flood`) and reads a Flood from standard input. It opens
its connections, says `ready`, waits for a line, sends, and writes a Told.
"""

import selectors
import sys
import time
from collections import deque
from itertools import cycle

import msgspec

from .load import Connection

DONE = (200, 201)


class Flood(msgspec.Struct):
    """What to send: one of the requests after another, on whichever connection is free."""

    port: int
    requests: list[bytes]
    connections: int
    rate: float
    seconds: float


class Told(msgspec.Struct):
    """How many were sent, how long it took, and how long each was waited for that was done or refused."""

    sent: int
    seconds: float
    done: list[float]
    refused: list[float]


def run(flood: Flood, free: deque[Connection], selector: selectors.BaseSelector) -> Told:
    """Sends until the time is over, and counts what was answered until then."""
    requests = cycle(flood.requests)
    told = Told(0, 0, [], [])
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < flood.seconds:
        due = passed * flood.rate
        while free and told.sent < due:
            connection = free.popleft()
            connection.requests = iter([next(requests)])
            connection.ask()
            told.sent += 1
        for key, _ in selector.select(0.001):
            _read(key.data, told, free)
    told.seconds = time.perf_counter() - started
    return told


def _read(connection: Connection, told: Told, free: deque[Connection]) -> None:
    if not connection.read():
        return
    status = connection.status()
    if status not in (*DONE, 503):
        raise ValueError(f"the server answers {bytes(connection.answer[:2000])!r}")
    waited = time.perf_counter() - connection.asked_at
    (told.done if status in DONE else told.refused).append(waited)
    free.append(connection)


def main() -> None:
    """Reads what to send, waits for the start, sends and tells."""
    size = int(sys.stdin.buffer.readline())
    flood = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=Flood)
    selector = selectors.DefaultSelector()
    free: deque[Connection] = deque()
    for _ in range(flood.connections):
        connection = Connection(flood.port, iter(()))
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        free.append(connection)
        # Not all at the same moment: one worker of a server would accept them all.
        time.sleep(0.001)
    print("ready", flush=True)
    sys.stdin.buffer.readline()
    sys.stdout.buffer.write(msgspec.msgpack.encode(run(flood, free, selector)))


if __name__ == "__main__":
    main()
