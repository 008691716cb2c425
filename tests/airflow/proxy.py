"""What stands before the service of the book, and does to its clients all that a network does."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

# As it is; nobody listens; nothing is answered; an error, an empty list, or a refusal to all that is asked;
# each answer comes late.
Mode = Literal["pass", "refuse", "hang", "500", "[]", "401", "slow"]
T = TypeVar("T")

LATE = 10.0  # seconds
SAID = {
    "500": (b"500 Internal Server Error", b"text/html", b"<h1>Internal Server Error</h1>"),
    "[]": (b"200 OK", b"application/json", b"[]"),
    "401": (
        b"401 Unauthorized",
        b"application/problem+json",
        b'{"title": "Unauthorized", "status": 401, "detail": "the API key has expired"}',
    ),
}


class Front:
    """A server on the loopback that hands on what it is asked to another one, or does not, as it is told.

    `requests` counts what was asked, however it was answered.
    """

    def __init__(self, upstream: int, port: int) -> None:
        self.upstream = upstream
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.requests = 0
        self.mode: Mode = "refuse"
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def be(self, mode: Mode) -> None:
        """Does so from now on, also to whoever is connected."""
        self._run(self._be(mode))

    def close(self) -> None:
        """Ends it."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(30)

    async def _be(self, mode: Mode) -> None:
        before, self.mode = self.mode, mode
        if mode == "hang":
            self._flows.clear()
        else:
            self._flows.set()
            if mode != before:
                self._break_off()
        if mode == "refuse" and self._server:
            self._server.close()
            self._server = None
        elif mode != "refuse" and self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _end(self) -> None:
        await self._be("refuse")
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _break_off(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError, EOFError):
                await (self._answer(reader, writer) if self.mode in SAID else self._hand_on(reader, writer))
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.partition(b":")[2]))
        self.requests += 1
        status, kind, body = SAID[self.mode]
        headers = b"Content-Type: %s\r\nContent-Length: %d\r\nConnection: close" % (kind, len(body))
        writer.write(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, headers, body))
        await writer.drain()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
        is_asked = False

        async def ask() -> None:
            nonlocal is_asked
            with suppress(OSError):
                while data := await reader.read(65536):
                    # What is said first, and first after an answer, is a request.
                    if not is_asked:
                        is_asked = True
                        self.requests += 1
                        await asyncio.sleep(LATE if self.mode == "slow" else 0)
                    await self._flows.wait()
                    to_upstream.write(data)
                    await to_upstream.drain()
                to_upstream.close()

        asking = asyncio.create_task(ask())
        try:
            while data := await upstream.read(65536):
                await self._flows.wait()
                is_asked = False
                writer.write(data)
                await writer.drain()
        finally:
            asking.cancel()
            to_upstream.close()
