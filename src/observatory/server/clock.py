"""What changes by time alone: periods become due and late, and what is expected is written out further.

Each process looks, and whoever comes first does it: whether it is still to be done is asked once the dataset
is held.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

from ..access import Caller, operator
from ..errors import NotFound, Unavailable
from ..ledger import Database, expecting, status

EVERY = 1.0  # seconds
AT_ONCE = 200  # datasets that are looked up at a time
AGAIN = 300  # seconds after which one that could not be looked at is tried again
LOG = logging.getLogger(__name__)


@asynccontextmanager
async def ticking(database: Database) -> AsyncIterator[None]:
    """Looks until the context ends."""
    task = asyncio.create_task(_tick(database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _tick(database: Database) -> None:
    by = operator("record")
    left: dict[int, float] = {}  # datasets that could not be looked at, and until when they are left
    while True:
        left = {id: until for id, until in left.items() if until > monotonic()}
        try:
            for id in await database.read(by, status.due, AT_ONCE + len(left)):
                if id not in left and not await _look(database, by, id):
                    left[id] = monotonic() + AGAIN
        except Unavailable as error:
            LOG.warning("what is due or late is not written down yet: %s", error)
        await asyncio.sleep(EVERY)


async def _look(database: Database, by: Caller, id: int) -> bool:
    """Looks at one dataset, and tells whether it could: what is wrong with it stops nobody else's clock."""
    try:
        await database.write(by, expecting.look, id)
    except NotFound:
        pass  # deleted since
    except Unavailable:
        raise
    except Exception:
        LOG.exception("dataset %d cannot be looked at, and is left for %d s", id, AGAIN)
        return False
    return True
