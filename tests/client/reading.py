"""A DAG file that is being read as far as the client can tell, and a server that does all that servers do."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from observatory import ObservatoryApi
from observatory.client.patience import Patience
from observatory.client.snapshot import Reading


class Around:
    """What is around a DAG file, as a test wants it to be."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.reads, self.starts = True, False
        self.published: list[Path] = []
        self.told: list[float] = []

    def is_reading(self) -> bool:
        return self.reads

    def starts_task(self) -> bool:
        return self.starts

    def home(self) -> Path:
        return self._home

    def folders(self) -> list[Path]:
        return self.published

    def tell(self, age: float) -> None:
        self.told.append(age)


OPENED: list[ObservatoryApi] = []  # to be closed with the test


def read_as(
    url: str,
    around: Around,
    api_key: str | None = None,
    seconds: float = 3,
    snapshots: str | None = None,
    addresses: bool = False,
) -> ObservatoryApi:
    """Returns the book as a process sees it that has just begun to read a DAG file."""
    reading = Reading(around, url, api_key, seconds, snapshots, addresses)
    reading.patience = Patience(seconds)  # not that of the process of the tests
    OPENED.append(ObservatoryApi(url, api_key, reading=reading))
    return OPENED[-1]


Wrong = Callable[[BaseHTTPRequestHandler], None]


def said(status: int, body: bytes, ours: bool = True, **headers: str) -> Wrong:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        if ours:
            told["X-Request-ID"] = "1"
        for name, value in told.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hanging(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(20)


def trickling(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.2)


HTML = b"<!doctype html><html><body>Please log in</body></html>"
CUT = gzip.compress(b'{"book": "b", "position": 1}' * 1000)[:100]
WRONG: dict[str, Wrong] = {
    "500": said(500, b""),
    "401": said(401, b'{"title": "Unauthorized", "status": 401, "detail": "revoked"}'),
    "403": said(403, b'{"title": "Forbidden", "status": 403, "detail": "no right"}'),
    "404 of another service": said(404, b"not here", Content_Type="text/plain"),
    "a list": said(200, b"[]"),
    "a list of another service": said(200, b"[]", ours=False),
    "304 of another service": said(304, b"", ours=False, Content_Length="0"),
    "nothing in it": said(200, b"{}"),
    "a page": said(200, HTML, Content_Type="text/html"),
    "half a gzip": said(200, CUT, Content_Encoding="gzip"),
    "half a body": said(200, b'{"book": "b"', Content_Length="1000"),
    "a redirect to itself": said(302, b"", Location="/v1/catalogue"),
    "304 that nobody asked for": said(304, b"", Content_Length="0"),
    "hanging": hanging,
    "trickling": trickling,
}


@contextmanager
def serving(wrong: Wrong) -> Iterator[tuple[str, list[str]]]:
    """Serves one kind of answer, and tells what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            with suppress(OSError):
                wrong(self)
            self.close_connection = True

        do_POST = do_PATCH = do_GET  # noqa: N815 # named by the library

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def deaf() -> Iterator[str]:
    """A port whose queue is full: who connects waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()
