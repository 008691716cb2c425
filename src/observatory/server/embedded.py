"""The whole service inside another ASGI application, such as Airflow's API server, below a path of that.

What mounts an application does not start it. So it starts with the first request: its tables are brought up
to date, its first key is made, and what a server does in the background begins. A start that fails is told
to those who wait for it, and made again with a later request. Until then nothing of the service is imported.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import Conflict, ObservatoryError, Unavailable
from ..settings import Settings
from . import logs

if TYPE_CHECKING:
    from litestar import Litestar

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

LOG = logging.getLogger(__name__)
AGAIN = 1.0  # seconds after which a start that failed is made again
# What is ours of a request. Whatever else is in it belongs to the applications around this one.
KEPT = ("type", "asgi", "http_version", "method", "scheme", "query_string", "headers", "client", "server")


class Embedded:
    """The service of a book, in one process; `urls` are addresses at which it is found, beside its own."""

    def __init__(self, settings: Settings, urls: Sequence[str] = ()) -> None:
        self._settings = settings
        self._urls = urls
        self._started: asyncio.Future[Litestar] | None = None
        self._running: asyncio.Task[None] | None = None
        self._again_at = 0.0
        self._leaving, self._stopped = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, once the service has started."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        below = self._below(scope)
        try:
            app = await self._app(below)
        except Exception as error:
            await _refuse(error, send)
        else:
            await app(below, receive, send)  # type: ignore[arg-type] # is as HTTPScope has it

    def leave(self) -> None:
        """Lets those go who wait for news, as the server will stop once it has answered all who are there."""
        self._leaving.set()

    async def stop(self) -> None:
        """Ends what runs in the background, and closes the book."""
        self.leave()
        self._stopped.set()
        if self._running:
            await self._running

    async def _app(self, scope: Scope) -> "Litestar":
        """Returns the application that has started; all who come meanwhile wait for the same start."""
        if self._leaving.is_set() and self._started is None:
            raise Unavailable("the server is about to stop")
        if self._started is None or (_has_failed(self._started) and monotonic() >= self._again_at):
            self._started = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._started, [*self._urls, _own_url(scope)]))
        return await asyncio.shield(self._started)

    async def _run(self, started: "asyncio.Future[Litestar]", urls: Sequence[str]) -> None:
        """Runs the service until it is stopped, or its loop ends."""
        try:
            app = await asyncio.to_thread(_prepare, self._settings, urls)
            async with app.lifespan():
                self._heed_signals()
                started.set_result(app)
                await self._stopped.wait()
        except Exception as error:
            LOG.exception("the book cannot be served")
            self._again_at = monotonic() + AGAIN
            if not started.done():
                # Who asks has shown no key, and is not told where the database is, and as whom it is asked.
                away = Unavailable("its database does not answer; its log says more")
                started.set_exception(away if isinstance(error, Unavailable) else error)
                started.exception()  # looked at, for those who gave up

    def _heed_signals(self) -> None:
        """Leaves when the process is told to stop: what is mounted is not told so before all is answered."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(before := signal.getsignal(number)):
                signal.signal(number, _also(before, loop, self.leave))

    def _below(self, scope: Scope) -> Scope:
        """Returns a request as if the service were alone, but for the path that it is below."""
        root, around = scope.get("root_path", ""), scope.get("app_root_path", "")
        # A proxy before the server may have taken its own part of the path away.
        prefixes = [prefix for prefix in (root, root.removeprefix(around)) if prefix]
        below = {name: scope[name] for name in KEPT if name in scope}
        below["path"] = _without(prefixes, scope["path"])
        raw = scope.get("raw_path") or scope["path"].encode()
        below["raw_path"] = _without(prefixes, raw.decode("latin-1")).encode("latin-1")
        below |= {"root_path": "", "app_root_path": root, "state": {"leaving": self._leaving}}
        return below


def _prepare(settings: Settings, urls: Sequence[str]) -> "Litestar":
    """Opens the book, in a thread: its tables are brought up to date, and its first key is made."""
    from ..ledger import upgrade
    from . import tracing
    from .app import create_app
    from .first import let_in

    logs.configure(settings, logging.getLogger("observatory"))
    # It tells of every attempt to connect, where one error is enough.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    app = create_app(settings, tracing.spans(os.environ))
    upgrade(settings.database_url)
    try:
        let_in(settings, urls)
    except Conflict:  # Another process made the first key at the same moment.
        let_in(settings, urls)
    return app


async def _refuse(error: Exception, send: Send) -> None:
    """Answers why the book cannot be served: what we know of it, and nothing of what nobody foresaw."""
    known = logs.hide(str(error)) if isinstance(error, ObservatoryError) else "its log says why"
    body = msgspec.json.encode(Unavailable(f"the book cannot be served: {known}").problem())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _also(
    before: Callable[..., object], loop: asyncio.AbstractEventLoop, leave: Callable[[], None]
) -> Callable[..., None]:
    """Returns a handler of a signal that leaves, and does what was done before."""

    def heard(*signalled: object) -> None:
        loop.call_soon_threadsafe(leave)
        before(*signalled)

    return heard


def _has_failed(started: "asyncio.Future[Litestar]") -> bool:
    return started.done() and started.exception() is not None


def _own_url(scope: Scope) -> str:
    """Returns where clients on this machine find the service."""
    _, port = scope.get("server") or ("", None)
    return f"{scope['scheme']}://127.0.0.1:{port}{scope['app_root_path']}" if port else ""


def _without(prefixes: Sequence[str], path: str) -> str:
    """Returns a path without the first of the prefixes that it has."""
    for prefix in prefixes:
        if path == prefix or path.startswith(f"{prefix}/"):
            return path.removeprefix(prefix) or "/"
    return path
