"""A book that stands still: one transaction that only reads, while servers go on writing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, Select, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError

from ..errors import Unavailable
from .database import open_database
from .tables import schema_version
from .upgrade import head, hidden

LOCAL = "sqlite:///"
HELD = 1000  # rows that are held at a time


def path_of(url: str) -> Path | None:
    """Returns the file of a SQLite book, and nothing for one in PostgreSQL."""
    return Path(url.removeprefix(LOCAL)) if url.startswith(LOCAL) else None


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """Gives a connection on which all that is read is of one moment, and nothing can be written.

    Raises Unavailable where there is no book, or it cannot be read.
    """
    open_database(url)  # names a wrong URL, and a driver that is not installed
    engine = _reading(url)
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    except DatabaseError as error:
        raise Unavailable(f"{hidden(url)} cannot be read: {error.orig}") from error
    finally:
        engine.dispose()


def current_version(connection: Connection, url: str) -> str:
    """Returns the version of the schema; raises Unavailable where it is not that of this code."""
    cure = f"run: observatory database upgrade --database-url {hidden(url)}"
    is_there = inspect(connection).has_table(schema_version.name)
    found = connection.execute(schema_version.select()).scalar() if is_there else None
    if found is None:
        raise Unavailable(f"there is no book at {hidden(url)}; {cure}")
    if found != head():
        raise Unavailable(f"the database is at version {found}, this code needs {head()}; {cure}")
    return head()


def streamed(connection: Connection, asked: Select[Any]) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of an answer without ever holding all of them."""
    for row in connection.execute(asked, execution_options={"yield_per": HELD}):
        yield tuple(row)


def open_file(path: Path) -> sqlite3.Connection:
    """Opens a SQLite file that is there; the driver would make one that is not."""
    # Not `mode=ro`: with it, a file whose server was killed could not be read before another one starts.
    uri = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _reading(url: str) -> Engine:
    if path := path_of(url):
        if not path.is_file():
            raise Unavailable(f"there is no book at {path}")
        engine = create_engine("sqlite://", creator=lambda: open_file(path), poolclass=NullPool)
        event.listen(engine, "begin", _begin_on_sqlite)
        return engine
    _, _, rest = url.partition("://")
    engine = create_engine(f"postgresql+psycopg://{rest}", poolclass=NullPool)
    event.listen(engine, "begin", _begin_on_postgresql)
    return engine


def _begin_on_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_on_postgresql(connection: Connection) -> None:
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    connection.execute(text("SET LOCAL timezone = 'UTC'"))
