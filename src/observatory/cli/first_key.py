"""The first key of a new book: made when it is first served, shown once, and kept for this user."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..client import ObservatoryApi
from ..client.saved import changing, load, normal, place
from ..errors import ObservatoryError, Unauthorized
from ..settings import Settings
from .database import DatabaseUrl, database, said_settings
from .ring import seal_all

if TYPE_CHECKING:
    from ..ledger import Transaction
    from ..records import NewKey

Account = Annotated[str, typer.Option(metavar="NAME", help="The account, which is made if it is not there.")]


def open_book(settings: Settings) -> str:
    """Checks that the book can be served, makes its first key if it has none, and returns its id."""
    from ..ledger import keys

    async def first(tx: "Transaction") -> "tuple[str, NewKey | None]":
        id, new = await keys.first(tx)
        if new is not None:
            load(place(settings))  # what is wrong with the file is named while there is no key yet
        return id, new

    id: str
    id, new = asyncio.run(_with_book(settings, first))
    if new is not None:
        typer.echo(f"the first key of this book, which may do everything: {new.secret}", err=True)
        _keep(settings, id, new.secret)
    if settings.database_url.startswith("sqlite"):
        # Servers of the version before, which sealed nothing, do not share a file with this one.
        asyncio.run(seal_all(settings))
    return id


def be_found(settings: Settings, book_id: str, url: str) -> None:
    """Notes for the command line and the client of this user which key opens the book that is served here.

    What the user logged in with stays, if it opens this book and not another one that was here before.
    """
    file, here = place(settings), normal(url)
    try:
        saved = load(file)
        known = saved.servers.get(here)
        if known != saved.books.get(book_id) and (known is None or not _opens(here, known)):
            with changing(file) as saved:
                saved.servers.pop(here, None)
                if key := saved.books.get(book_id):
                    saved.servers[here] = key
    except OSError as error:
        typer.echo(f"note: {file} cannot be written: {error.strerror}", err=True)
    except ObservatoryError as error:
        typer.echo(f"note: {error}", err=True)
    else:
        asked = settings.url or saved.url
        if asked and normal(asked) != here:
            typer.echo(f"note: commands ask {asked} unless they say --url {here}", err=True)


@database.command("key")
def make_key(database_url: DatabaseUrl = None, account: Account = "admin") -> None:
    """Makes a key that may do everything, for whoever can reach the database: when all others are lost."""
    from ..ledger import keys

    settings = said_settings(database_url=database_url)
    new = asyncio.run(_with_book(settings, keys.for_admin, account))
    typer.echo(f"key {new.key.id} of {account!r}, until {new.key.expires:%Y-%m-%d}:", err=True)
    typer.echo(new.secret)


async def _with_book(settings: Settings, work: Any, *args: object) -> Any:
    """Does something in the book as whoever can reach its database."""
    from ..access import operator
    from ..ledger import open_database
    from ..ledger.upgrade import check_version

    book = open_database(settings.database_url)
    async with book.running():
        await check_version(book)
        return await book.write(operator(), work, *args)


def _keep(settings: Settings, book_id: str, secret: str) -> None:
    file = place(settings)
    try:
        with changing(file) as saved:
            saved.books[book_id] = secret
    except OSError as error:
        typer.echo(f"note it down: {file} cannot be written: {error.strerror}", err=True)
    else:
        typer.echo(f"it is kept in {file}, where the command line and Python find it", err=True)


def _opens(url: str, key: str) -> bool:
    with ObservatoryApi(url, key) as api:
        try:
            api.whoami()
        except Unauthorized:
            return False
    return True
