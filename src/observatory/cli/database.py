"""`observatory database`: what is done to the database that keeps the book, and not through its HTTP API."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from ..access import operator
from ..errors import NotFound
from ..settings import Settings, read
from .keys import WrongUsage

if TYPE_CHECKING:
    from ..ledger.soundness import Report

database = typer.Typer(no_args_is_help=True, help="The database that keeps the book.")

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="sqlite:///file.db or postgresql://user@host/name.  [default: sqlite:///observatory.db]",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file that is there.")]


def said_settings(**said: object) -> Settings:
    """Returns what the environment says, and above it what the command line says."""
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(read(os.environ), **given)


@database.command()
def upgrade(database_url: DatabaseUrl = None) -> None:
    """Brings the database to the schema of this version; what is in it is kept."""
    from ..ledger.upgrade import head, upgrade

    settings = said_settings(database_url=database_url)
    upgrade(settings.database_url)
    typer.echo(f"the database is at version {head()}")


@database.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to make.", dir_okay=False)],
    force: Force = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Copies a SQLite book to a file, while servers go on writing to it.

    The copy is checked before it appears under its name, and only its owner can read it. The key ring that
    addresses are sealed with is not in it, and is to be kept elsewhere.
    """
    from ..ledger import backup

    backup.backup(_file(database_url, DUMP), file, force)
    typer.echo(f"the book is copied to {file}")


@database.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy made by `backup`.", dir_okay=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the book that is there; its file is kept beside it.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Puts a copy of a SQLite book in its place, at the schema of this version.

    The copy itself is only read. While a server uses the book, nothing is done.
    """
    from ..ledger import backup

    book = _file(database_url, RESTORE)
    old = backup.restore(file, book, datetime.now(UTC), force)
    typer.echo(f"{book} is the book of {file}" + (f"; the one before is kept as {old}" if old else ""))


@database.command()
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Count coverage anew where it does not follow from the releases.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> int:
    """Checks that the book is sound, while servers go on; ends with 1 where it is not.

    Coverage and the length of the longest period are counted from the releases and compared; revisions,
    states, times and JSON are looked at; and of SQLite the pages and keys of the file.
    """
    from ..ledger import soundness

    url = said_settings(database_url=database_url).database_url
    report = soundness.check(url)
    if repair and report.differ:
        asyncio.run(_repair(url, report.differ))
        typer.echo(f"counted anew: datasets {', '.join(map(str, sorted(report.differ)))}")
        report = soundness.check(url)
    _tell(report)
    return 0 if report.is_sound else 1


def dump_all(file: Path | None, database_url: str | None) -> None:
    """Writes a whole book to a file, while servers go on; it holds hashes of keys and sealed addresses."""
    from ..ledger.dump import dump

    if file is None:
        raise WrongUsage("name the file for --all: only its owner shall read it")
    _tell_rows("wrote", dump(said_settings(database_url=database_url).database_url, file, datetime.now(UTC)))


def load_all(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Written by `export --all`.", exists=True, dir_okay=False)
    ],
    database_url: DatabaseUrl = None,
) -> None:
    """Puts a whole book from a file into a database without one, or with an empty one.

    Between SQLite and PostgreSQL too: ids, history, journal, accounts and keys stay as they are, and so must
    the key ring. All is put in and found sound, or nothing is changed. Start the server after it.
    """
    from ..ledger.load import load

    _tell_rows("put in", load(said_settings(database_url=database_url).database_url, file))


def _tell_rows(done: str, counts: dict[str, int]) -> None:
    typer.echo(f"{done} {_rows(counts)}")


def _rows(counts: dict[str, int]) -> str:
    return ", ".join(f"{rows} {name.replace('_', ' ')}" for name, rows in counts.items() if rows)


async def _repair(url: str, dataset_ids: Iterable[int]) -> None:
    from ..ledger import open_database, recount

    book = open_database(url)
    async with book.running():
        for dataset_id in sorted(dataset_ids):
            with suppress(NotFound):  # it was deleted meanwhile
                await book.write(operator(), recount.repair, dataset_id)


def _tell(report: "Report") -> None:
    for sort, number in report.found.items():
        typer.echo(f"{sort}: {number} wrong")
        for fault in report.told[sort]:
            typer.echo(f"  {fault}")
        if number > len(report.told[sort]):
            typer.echo(f"  and {number - len(report.told[sort])} more")
    typer.echo(f"looked at schema {report.version}: {_rows(report.rows)}")
    typer.echo("the book is sound" if report.is_sound else "the book is not sound")


DUMP = """PostgreSQL copies its databases itself, also while servers write:
  pg_dump --format=custom --file=book.dump --dbname={url}
or all of a server, from which a moment can be restored:
  pg_basebackup --pgdata=base --wal-method=stream --checkpoint=fast --dbname={server}"""

RESTORE = """PostgreSQL restores its databases itself. Stop the servers, and then:
  createdb NEW
  pg_restore --exit-on-error --single-transaction --no-owner --dbname={new} book.dump
  observatory database upgrade --database-url {new}
and start the servers with the new URL."""


def _file(database_url: str | None, instead: str) -> Path:
    """Returns the file of a SQLite book; of one in PostgreSQL, raises WrongUsage with what to do instead."""
    from ..ledger import open_database
    from ..ledger.snapshot import path_of
    from ..ledger.upgrade import hidden

    url = said_settings(database_url=database_url).database_url
    open_database(url)  # names a wrong URL
    if path := path_of(url):
        return path
    shown = hidden(url)
    server, new = urlsplit(shown)._replace(path="/"), urlsplit(shown)._replace(path="/NEW")
    raise WrongUsage(instead.format(url=f"'{shown}'", server=f"'{server.geturl()}'", new=f"'{new.geturl()}'"))
