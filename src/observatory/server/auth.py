"""Who asks: the key in a request, and the right that its route declares. Whatever declares none is refused.

This looks before a body is read, so that nobody without a key makes the server work.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic

from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute

from .. import credentials
from ..access import RIGHTS, Caller, operator
from ..errors import Unauthorized
from ..ledger import Database, keys
from .bodies import Asked
from .tags import asks_if_known
from .together import Together

PUBLIC = "public"  # of what tells nothing of the book: whether the server lives, and how its API is used
BEARER = "Bearer "
ANYBODY = operator("read")  # who is not known yet
LEASE = 0.25  # seconds
MOST = 10_000  # keys that are remembered
NOTHING = (0.0, None)


class Gate:
    """Lets callers in, each with its own rights.

    What is known of a key is looked up, and trusted for LEASE seconds from before the look-up began. Whoever
    takes a right away waits for so long before it says that it is done: then no server trusts what it knew
    before, and the key opens nothing from the next request on. No clocks are compared for it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._touching: dict[int, asyncio.Task[None]] = {}
        self._leased: dict[int, tuple[float, keys.Known]] = {}
        self._known = Together(self._look)

    async def admit(self, request: Asked) -> None:
        """Notes in a request who asks; raises Unauthorized or Forbidden where they may not."""
        handler = request.route_handler
        if _is_made_by_litestar(handler) or (right := handler.opt["right"]) == PUBLIC:
            return
        shown = credentials.shown(_told(request))
        id = request.scope["state"].get("request_id", "")
        until, known = self._leased.get(shown.id, NOTHING)
        # Whether an answer is still as it was is asked of the catalogue as it is now: here, or by the route.
        if until < monotonic() or (asks_if_known(request) and not handler.opt.get("asks_catalogue")):
            known = await self._known.find(shown.id)
        admitted = keys.admit(known, shown, right, id, datetime.now(UTC))
        request.scope["auth"] = admitted.caller
        if admitted.is_stale:
            self._touch(admitted.caller, shown.id)

    async def settle(self) -> None:
        """Waits until no server trusts what it knew of keys and accounts when this was called."""
        self._leased.clear()
        await asyncio.sleep(LEASE)

    async def _look(self, ids: list[int]) -> dict[int, keys.Known]:
        until = monotonic() + LEASE
        found = await self._database.read(ANYBODY, keys.known, ids)
        if len(self._leased) > MOST:
            self._leased.clear()
        self._leased |= {id: (until, known) for id, known in found.items()}
        return found

    def _touch(self, caller: Caller, id: int) -> None:
        """Notes that a key is used, which nobody waits for, and which is done once at a time."""
        if id in self._touching:
            return

        def touched(task: "asyncio.Task[None]") -> None:
            del self._touching[id]
            if not task.cancelled():
                task.exception()  # looked at, so that nobody complains: the next request tries again

        self._touching[id] = asyncio.create_task(self._database.write(caller, keys.touch, id))
        self._touching[id].add_done_callback(touched)


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Raises RuntimeError where a route does not say which right it takes: it would be open to all."""
    for route in routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if not _is_made_by_litestar(handler) and handler.opt.get("right") not in (*RIGHTS, PUBLIC):
                raise RuntimeError(f"{sorted(handler.http_methods)} {route.path} declares no right")


def _is_made_by_litestar(handler: HTTPRouteHandler) -> bool:
    """Tells whether a handler answers OPTIONS, which says what methods a path has."""
    return handler.http_methods == {"OPTIONS"}


def _told(request: Asked) -> str:
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            told = value.decode("latin-1")
            if told[: len(BEARER)].lower() != BEARER.lower():
                raise Unauthorized("send the key as `Authorization: Bearer obs_…`")
            return told[len(BEARER) :].strip()
    raise Unauthorized("no key was given: send one as `Authorization: Bearer obs_…`; see `observatory login`")
