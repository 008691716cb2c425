"""Whether the process lives, and whether it can serve: for whoever restarts it or sends it requests."""

from litestar import Router, get

from ..ledger import Database
from ..ledger.upgrade import check_version
from .auth import PUBLIC


def routes(database: Database) -> Router:
    """Returns the two routes."""

    @get("/livez", operation_id="isAlive", summary="Whether the process lives", sync_to_thread=False)
    def alive() -> dict[str, str]:
        """Answers without touching anything, so that a slow database gets no process killed."""
        return {"status": "alive"}

    @get("/readyz", operation_id="isReady", summary="Whether requests can be served")
    async def ready() -> dict[str, str]:
        """Answers 503 where the database is out of reach, or at another version than this code."""
        await check_version(database)
        return {"status": "ready"}

    return Router("/", route_handlers=[alive, ready], tags=["Health"], opt={"right": PUBLIC})
