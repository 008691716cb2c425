"""The service inside another application, which mounts it as Airflow's API server does: fixtures."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from msgspec.structs import replace

from observatory.ledger.schemas import in_schema
from observatory.server.embedded import Embedded
from observatory.settings import Settings, read

__all__ = ["Mounted", "database_url", "logs_of_others", "mounted", "server_url", "settings"]
PATH = "/observatory"


class Mounted:
    """A server that mounts the service and does not start it, and has a page of its own."""

    def __init__(self, settings: Settings) -> None:
        outer = FastAPI()

        @outer.get("/health")
        async def health() -> str:
            return "well"

        self.book = Embedded(settings)
        outer.mount(PATH, self.book)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._server = uvicorn.Server(uvicorn.Config(outer, log_level="warning", access_log=False))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.outer = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{self.outer}{PATH}"

    def _serve(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._listener])

        asyncio.run(serve())

    def get(self, path: str) -> httpx2.Response:
        """Asks for something of the service."""
        return httpx2.get(f"{self.url}{path}", timeout=30)

    def stop(self) -> None:
        """Ends the server, which does not tell what it has mounted."""
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._listener.close()


class Mounts:
    """Starts such servers, which end with the test."""

    def __init__(self) -> None:
        self.started: list[Mounted] = []

    def __call__(self, settings: Settings) -> Mounted:
        self.started.append(Mounted(settings))
        return self.started[-1]


@pytest.fixture(autouse=True)
def logs_of_others() -> Iterator[None]:
    """Leaves what is logged to the tests that come after."""
    ours = logging.getLogger("observatory")
    before = ours.handlers, ours.propagate, ours.level
    yield
    ours.handlers, ours.propagate, ours.level = before


@pytest.fixture
def mounted() -> Iterator[Mounts]:
    mounts = Mounts()
    yield mounts
    for one in mounts.started:
        one.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A book of which there is nothing yet: a file, or a schema of a database that others use."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/observatory.db"
    return in_schema(request.getfixturevalue("new_database")(), "observatory")


@pytest.fixture
def server_url(mounted: Mounts, database_url: str) -> str:
    """The service, once whoever came first has started it: the first key is found from then on."""
    one = mounted(settings(database_url))
    assert one.get("/readyz").status_code == 200
    return one.url


def settings(database_url: str, **told: object) -> Settings:
    """Returns what the environment says, of a book in a database."""
    return replace(read(os.environ), database_url=database_url, **told)
