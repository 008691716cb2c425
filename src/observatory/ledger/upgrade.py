"""Bringing a database to the schema of this version, by migrations that are run one after another."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DatabaseError

from ..access import operator
from ..errors import Unavailable
from .database import Database, Transaction, open_database, row
from .schemas import make_schema
from .statements import Statement
from .tables import schema_version

LOCK = 0x0B5E  # any number that is nobody else's
LOCK_TIMEOUT = "5s"  # a migration that waits for a lock holds up all who come behind it

VERSION = Statement(schema_version.select())


def head() -> str:
    """Returns the version of the schema that this code works with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def revisions() -> set[str]:
    """Returns the versions of the schema that this code can bring to its own."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def upgrade(url: str, to: str = "head") -> None:
    """Brings a database to a version of the schema; what is there is kept. Several may do so at once.

    Raises Unavailable where the database cannot be used, Invalid for a URL that is of none.
    """
    with _migrating(url) as config:
        command.upgrade(config, to)


def downgrade(url: str, to: str) -> None:
    """Takes a database back to an earlier version; `base` removes all that is in it."""
    with _migrating(url) as config:
        command.downgrade(config, to)


async def check_version(database: Database) -> None:
    """Raises Unavailable where the database does not answer, or is not at the version of this code."""
    cure = f"run: observatory database upgrade --database-url {hidden(database.url)}"
    try:
        found = await database.read(operator("read"), _version)
    except Unavailable:
        raise
    except Exception as error:
        # No such table: each driver has its own class for it.
        raise Unavailable(f"the database has no book yet; {cure}") from error
    if found != head():
        raise Unavailable(f"the database is at version {found}, this code needs {head()}; {cure}")


async def _version(tx: Transaction) -> str | None:
    found = await row(tx, VERSION, {})
    return str(found[0]) if found else None


@contextmanager
def _migrating(url: str) -> Iterator[Config]:
    """Gives the configuration of migrations that are all made, or none."""
    open_database(url)  # names a wrong URL, and a driver that is not installed
    engine = engine_of(url)
    try:
        with engine.begin() as connection:
            yield _config(connection)
    except DatabaseError as error:
        raise Unavailable(f"{hidden(url)} cannot be used: {error.orig}") from error
    except CommandError as error:
        # Of a later version of this code, or of another program that is migrated in the same way.
        raise Unavailable(f"{hidden(url)} is at a version that this code does not know: {error}") from error
    finally:
        engine.dispose()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


def engine_of(url: str) -> Engine:
    """Returns what opens transactions that wait for others who migrate, and keep them waiting."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": 30})
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_on_sqlite)
        return engine
    _, _, rest = url.partition("://")
    engine = create_engine(f"postgresql+psycopg://{rest}", poolclass=NullPool)
    event.listen(engine, "begin", _begin_on_postgresql)
    return engine


def _leave_transactions_to_us(connection: object, _: object) -> None:
    # Python's driver begins none before a CREATE TABLE, and a migration must be whole or not at all.
    connection.isolation_level = None  # type: ignore[attr-defined] # typed object by SQLAlchemy's event


def _begin_on_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_on_postgresql(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text("SET LOCAL timezone = 'UTC'"))
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    make_schema(connection)


def hidden(url: str) -> str:
    """Returns a URL without the password that may be in it, before the host or among the parameters."""
    scheme, _, rest = re.sub(r"([?&]\w*password=)[^&]*", r"\1…", url).partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}{colon and ':…'}{at}{place}"
