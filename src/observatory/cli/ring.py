"""`observatory keys ring` and `reencrypt`: the keys that addresses are sealed with."""

import asyncio

import typer

from ..access import operator
from ..settings import Settings
from .database import DatabaseUrl, said_settings
from .show import write


def ring() -> None:
    """Makes a line for a key ring, which seals the addresses of datasets in the database.

    The first line of a ring writes, all of them read. Keep it apart from the database.
    """
    from ..ledger.sealing import new_line

    write(f"{new_line()}\n")


def reencrypt(database_url: DatabaseUrl = None) -> None:
    """Seals all addresses anew with the first key of the ring, while servers go on.

    Each server must have been started with the new ring. If it is cut short, run it again. The other keys may
    then be taken out of the ring.
    """
    asyncio.run(seal_all(said_settings(database_url=database_url)))
    typer.echo("every address is sealed with the first key of the ring")


async def seal_all(settings: Settings) -> None:
    """Seals with the first key what is not sealed with it, a bounded part at a time."""
    from ..ledger import open_database
    from ..ledger.keyring import open_ring
    from ..ledger.reencrypt import reencrypt
    from ..ledger.upgrade import check_version

    book = open_database(settings.database_url, ring=open_ring(settings))
    async with book.running():
        await check_version(book)
        last: int | None = 0
        while last is not None:
            last = await book.write(operator(), reencrypt, last)
