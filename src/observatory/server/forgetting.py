"""What is kept for some days only is removed once an hour, by each process that answers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from ..access import operator
from ..errors import Unavailable
from ..ledger import Database, replies

HOUR = 3600  # seconds


@asynccontextmanager
async def forgetting(database: Database) -> AsyncIterator[None]:
    """Removes it until the context ends."""
    task = asyncio.create_task(_forget(database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _forget(database: Database) -> None:
    while True:
        try:
            await database.write(operator(), replies.forget, datetime.now(UTC))
        except Unavailable as error:
            logging.getLogger(__name__).warning("what was answered is not forgotten yet: %s", error)
        await asyncio.sleep(HOUR)
