"""The first key of a book that is served inside another application, kept for the client on this machine."""

import asyncio
import logging
from collections.abc import Sequence

from ..access import operator
from ..client.saved import Saved, changing, normal, place
from ..ledger import keys, open_database
from ..ledger.upgrade import check_version
from ..records import NewKey
from ..settings import Settings

LOG = logging.getLogger(__name__)


def let_in(settings: Settings, urls: Sequence[str]) -> None:
    """Makes the first key of a book that has none, and notes which key opens the book at these addresses.

    Where it cannot be kept, none is made: it is shown nowhere else, as logs are read by many.
    """
    file = place(settings)
    try:
        with changing(file):
            pass  # where this cannot be written, there is no key yet that would be lost
        with changing(file) as saved:
            book_id, new = asyncio.run(_first(settings))
            if new is not None:
                saved.books[book_id] = new.secret
                LOG.warning("the first key of this book, which may do everything, is kept in %s", file)
            for url in urls:
                _note(saved, book_id, url)
    except OSError as error:
        cure = "`observatory database key` makes and shows one"
        LOG.warning("no first key is made, as %s cannot be written: %s; %s", file, error.strerror, cure)


async def _first(settings: Settings) -> tuple[str, NewKey | None]:
    book = open_database(settings.database_url)
    async with book.running():
        await check_version(book)
        return await book.write(operator(), keys.first)


def _note(saved: Saved, book_id: str, url: str) -> None:
    """Notes the key of this book for an address, in place of that of another book that was there before.

    What the user logged in with stays.
    """
    if (key := saved.books.get(book_id)) and url:
        known = saved.servers.get(normal(url))
        if known is None or known in saved.books.values():
            saved.servers[normal(url)] = key
