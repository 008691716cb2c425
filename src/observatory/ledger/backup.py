"""Copies of a book in a SQLite file: made while servers write to it, and put in its place again.

A copy appears under its name only once it is whole, looked at and on the disk.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from ..errors import Conflict, Invalid, Unavailable
from .files import BESIDE, aside, put
from .snapshot import open_file
from .tables import dataset_releases, schema_version
from .upgrade import head, revisions, upgrade

PAGES = 2000  # copied at a time; a signal is answered in between


def backup(book: Path, copy: Path, overwrite: bool = False) -> None:
    """Copies a book to a file that only its owner can read.

    Raises Invalid where the file is there already and is not to be overwritten.
    """
    if copy.exists() and not overwrite:
        raise Invalid(f"{copy} is there already", {"force": "say --force to replace it"})
    with aside(copy) as whole:
        _copy(book, whole)
        _check(whole, book)
        put(whole, copy)


def restore(copy: Path, book: Path, now: datetime, overwrite: bool = False) -> Path | None:
    """Puts a copy in the place of a book, at the schema of this code; returns where the old book is kept.

    Raises Invalid where the copy is none of our books or a book is there that is not to be overwritten, and
    Conflict where it is in use.
    """
    if book.exists() and not overwrite:
        cure = "say --force to replace it; the old file is kept beside it"
        raise Invalid(f"there is a book at {book}", {"force": cure})
    with aside(book) as whole:
        _copy(copy, whole)
        _check(whole, copy)
        upgrade(f"sqlite:///{whole}")
        _count_anew(whole)
        with _alone(book):
            old = _keep(book, now)
            put(whole, book)
    return old


def _count_anew(book: Path) -> None:
    """Lets nothing that was answered before seem to hold still: the book goes on from an earlier time."""
    with closing(sqlite3.connect(book, isolation_level=None)) as connection:
        connection.execute("UPDATE book SET catalogue = catalogue + ?", [secrets.randbelow(2**40)])


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise Unavailable(f"there is no file {source}")
    try:
        with closing(open_file(source)) as reading, closing(sqlite3.connect(target)) as writing:
            # Reading goes on in this one transaction, so all is of one moment. Without it each write of a
            # server would make the copy begin anew, and under steady writing it would never end.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            reading.backup(writing, pages=PAGES)
            # In one file, with nothing beside it; a server sets this anew.
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorname", "") in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            raise Invalid(f"{source} is no sound SQLite file: {error}") from error
        raise Unavailable(f"{source} cannot be copied: {error}") from error
    except OSError as error:
        raise Unavailable(f"{source} cannot be copied: {error.strerror}") from error


def _check(copy: Path, source: Path) -> None:
    """Raises Invalid where a copy of the source is not whole, or is none of our books."""
    with closing(open_file(copy)) as connection:
        wrong = [told for (told,) in connection.execute("PRAGMA integrity_check(3)") if told != "ok"]
        wrong += [
            f"row {row} of {table}" for table, row, *_ in connection.execute("PRAGMA foreign_key_check")
        ]
        if wrong:
            raise Invalid(f"{source} is damaged: {'; '.join(wrong[:3])}")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        if not {schema_version.name, dataset_releases.name} <= tables:
            raise Invalid(f"{source} is a SQLite file, but no book")
        [version] = connection.execute(f"SELECT version_num FROM {schema_version.name}").fetchone() or [None]
        if version not in revisions():
            raise Invalid(f"{source} is of version {version}; this code knows those up to {head()}")


@contextmanager
def _alone(book: Path) -> Iterator[None]:
    """Keeps everybody else from a book, all of which is then in its one file.

    Raises Conflict where a server holds it. Each connection of a server keeps a shared lock on the file as
    long as it is open, so that leaving the mode in which it has a log is refused.
    """
    if not book.exists():
        yield
        return
    with closing(sqlite3.connect(book, isolation_level=None, timeout=1)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
            [mode] = connection.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise Conflict(f"{book} is in use: stop the server first, and then repeat this") from error
            mode = "delete"  # it cannot be read, which is why it is replaced
        if mode != "delete":
            raise Conflict(f"{book} is in use: somebody has opened it just now")
        yield


def _keep(book: Path, now: datetime) -> Path | None:
    """Gives a book and what is beside it a dated name as well; nothing of it stays beside the new one."""
    kept = book.with_name(f"{book.name}.{now:%Y%m%dT%H%M%S%fZ}")
    for end in BESIDE:
        # Of a file that could not be opened. SQLite would take it for a part of the new one.
        if (beside := Path(f"{book}{end}")).exists():
            os.replace(beside, f"{kept}{end}")
    if not book.exists():
        return None
    os.link(book, kept)
    return kept
