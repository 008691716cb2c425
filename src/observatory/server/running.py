"""The processes that answer: how they are started, told to stop, and end without losing what runs.

On SIGTERM the server says at /readyz that it is not ready, and goes on answering for `drain` seconds; then it
takes no new connections, finishes what runs and stops. SIGINT, or a second signal, ends it at once: what runs
has one second, and what is being written as long as it takes.
"""

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from litestar import Litestar
from uvicorn.supervisors import Multiprocess, multiprocess

from ..settings import Settings
from . import logs
from .protocol import Guarded, look_through

FACTORY = "observatory.server.app:from_environment"
GRACE = 30  # seconds for what runs when the server stops
HASTE = 1.0  # seconds for it when the server must stop at once
KEEP_ALIVE = 75  # seconds without a request; proxies keep theirs for 60, and must be the first to close


class Config(uvicorn.Config):
    """What uvicorn is told; it is sent to worker processes, which read what else is set themselves."""

    def __init__(self, settings: Settings, factory: str | Callable[[], Litestar] = FACTORY) -> None:
        self.settings = settings
        super().__init__(
            factory,
            factory=True,
            workers=settings.workers,
            http=Guarded,
            ws="none",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )

    def configure_logging(self) -> None:
        """Lets uvicorn log as everything else does; called in each process."""
        logs.configure(self.settings)


class Server(uvicorn.Server):
    """A process that answers."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._leaves_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts; each request can see in its state whether the server is `leaving`.

        Connections find there what turns requests away, which the application has for all of them.
        """
        app = self.config.loaded_app
        while not isinstance(app, Litestar):
            app = app.app  # what uvicorn puts around it
        self.lifespan.state["front"] = app.state["front"]
        self._leaving = asyncio.Event()
        self.lifespan.state["leaving"] = self._leaving
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to leave, or at a second signal ends at once."""
        self._captured_signals.append(sig)
        if self._leaves_at is None and sig != signal.SIGINT:
            self._leaves_at = time.monotonic() + self.config.settings.drain
        else:
            self.force_exit = self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Looks after the connections once a second, and ten times a second whether to leave."""
        if counter % 10 == 0:
            look_through(self.server_state.connections, asyncio.get_running_loop())
        if self._leaves_at is not None:
            self._leaving.set()
            self.should_exit |= time.monotonic() >= self._leaves_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finishes what runs, or what is being written only; uvicorn in haste would leave even that."""
        self._leaving.set()
        finishing = asyncio.create_task(super().shutdown(sockets))
        while not finishing.done() and not self.force_exit:
            await asyncio.wait([finishing], timeout=0.1)
        if self.force_exit:
            if running := set(self.server_state.tasks):
                await asyncio.wait(running, timeout=HASTE)
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        await finishing
        if self.force_exit:
            await self.lifespan.shutdown()


class Worker(multiprocess.Process):
    """One of several processes that answer."""

    @property
    def server(self) -> Server:
        """The server of this process."""
        if not isinstance(self._server, Server):
            assert isinstance(self.config, Config)
            self._server = Server(self.config)
        return self._server


class Workers(Multiprocess):
    """The process that starts the others, and starts again one that died."""

    _in_haste = False

    def handle_int(self) -> None:
        """Ends at once."""
        self._in_haste = True
        super().handle_int()

    def join_all(self) -> None:
        """Waits until the workers have ended, and passes on to them that they must hurry."""
        # Else connections still come in here when no worker takes them any more, and are reset at the end.
        for listener in self.sockets:
            listener.close()
        while alive := [worker for worker in self.processes if worker.process.is_alive()]:
            if self._in_haste or self.signal_queue:
                self._in_haste = False
                self.signal_queue.clear()
                for worker in alive:
                    os.kill(worker.process.pid or 0, signal.SIGINT)
            alive[0].process.join(0.1)


def run(settings: Settings, listener: socket.socket) -> None:
    """Answers on a socket until a signal ends it."""
    config = Config(settings)
    _allow_files()
    if settings.workers == 1:
        Server(config).run(sockets=[listener])
        return
    # The supervisor makes its processes in four places, and lets nobody say of which class.
    multiprocess.Process = Worker  # type: ignore[misc]
    with _counting_together():
        Workers(config, sockets=[listener]).run()


@contextmanager
def _counting_together() -> Iterator[None]:
    """Gives the processes a folder where each keeps its counts, so that any can tell those of all."""
    with tempfile.TemporaryDirectory(prefix="observatory-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _allow_files() -> None:
    """Raises the number of open files to what the system allows: each connection is one."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
