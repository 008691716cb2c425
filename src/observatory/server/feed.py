"""The route of the journal: pages of it, waiting for what comes next, and a stream of events."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.params import QueryParameter
from litestar.response import Stream

from ..access import operator
from ..errors import ObservatoryError
from ..intervals import Moment
from ..ledger import Database, feed, horizon
from ..ledger.feed import Wanted
from ..ledger.horizon import BEGINNING, Position
from ..records import PAGE, Entry
from .bodies import Asked
from .resources import Limit, RelatedId, Text
from .tags import json

EVENTS = "text/event-stream"
LOOKS = 0.2  # seconds between two looks for something new, while somebody waits for it
HEARTBEAT = 15  # seconds after which a stream says that it lives
STREAMED = 300  # seconds after which it ends, so that a key that was revoked opens no endless one
NOW = "now"

Cursor = Annotated[
    str | None,
    QueryParameter(
        max_length=50,
        description="Only what follows the entry with this cursor; `now` for what is yet to come.",
    ),
]
Wait = Annotated[
    int, QueryParameter(ge=0, le=30, description="So many seconds to wait until there is something.")
]
Kind = Annotated[
    Literal[
        "Organisation",
        "WorkflowType",
        "Workflow",
        "TableType",
        "DatasetType",
        "Dataset",
        "DatasetRelease",
        "Claim",
        "Probe",
        "DatasetStatus",
        "Account",
        "Key",
    ]
    | None,
    QueryParameter(description="Only what is about records of this kind."),
]
Since = Annotated[Moment | None, QueryParameter(description="Only what happened at this time or later.")]
Until = Annotated[Moment | None, QueryParameter(description="Only what happened before this time.")]


class Watch:
    """Tells all in this process who wait how far the journal goes, by one look at the database for all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[asyncio.Future[Position], tuple[Position, asyncio.Event | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def end(self) -> Position:
        """Returns how far the journal goes now."""
        return await self._database.read(operator("read"), horizon.end)

    async def beyond(
        self, position: Position, seconds: float, leaving: asyncio.Event | None
    ) -> Position | None:
        """Waits until the journal goes on behind a place, and returns how far.

        Returns None after so many seconds, or when the server is about to stop.
        """
        promise: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._waiting[promise] = position, leaving
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            return await asyncio.wait_for(promise, seconds)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(promise, None)

    async def _look(self) -> None:
        while self._waiting:
            try:
                self._tell(await self.end())
            except ObservatoryError as error:
                for promise in list(self._waiting):
                    if not promise.done():
                        promise.set_exception(error)
            await asyncio.sleep(LOOKS)

    def _tell(self, end: Position) -> None:
        for promise, (position, leaving) in list(self._waiting.items()):
            if not promise.done():
                if leaving is not None and leaving.is_set():
                    promise.set_exception(TimeoutError())
                elif end > position:
                    promise.set_result(end)


class Reading:
    """One caller's way through the journal."""

    def __init__(self, database: Database, watch: Watch, request: Asked, wanted: Wanted) -> None:
        self._database, self._watch, self._wanted = database, watch, wanted
        self._caller = request.caller
        state = request.scope["state"]
        self._leaving: asyncio.Event | None = state.get("leaving")
        self._step_aside: Callable[[], None] = state.get("step_aside", lambda: None)
        self.reached = self._end = BEGINNING

    @property
    def is_over(self) -> bool:
        """Whether the server is about to stop."""
        return self._leaving is not None and self._leaving.is_set()

    @property
    def is_behind(self) -> bool:
        """Whether there is more that was not looked at."""
        return self.reached < self._end

    async def begin(self, after: str | None) -> None:
        """Finds where to begin; raises Gone or Invalid where a cursor leads nowhere."""
        self._end = await self._watch.end()
        if after == NOW:
            self.reached = self._end
        elif after is not None:
            self.reached = await self._database.read(self._caller, horizon.behind, after)

    async def part(self, limit: int) -> list[Entry]:
        """Returns what comes next; it may be nothing, though there is more."""
        part = await self._database.scan(
            self._caller, feed.entries, self._wanted, self.reached, self._end, limit
        )
        self.reached = max(self.reached, part.reached)
        return part.entries

    async def next(self, limit: int, seconds: float) -> list[Entry]:
        """Returns what comes next, for which it waits some seconds; nothing after these."""
        until = time.monotonic() + seconds
        while True:
            if self.is_behind and (found := await self.part(limit)):
                return found
            left = until - time.monotonic()
            if self.is_behind and left > 0:
                continue
            if left <= 0 or self.is_over:
                return []
            # Whoever waits keeps nobody from being served.
            self._step_aside()
            end = await self._watch.beyond(self.reached, left, self._leaving)
            self._end = end or self._end
            if end is None:
                return []

    async def events(self, limit: int) -> AsyncIterator[bytes]:
        """Yields events without end, or a comment where there were none for a while."""
        until = time.monotonic() + STREAMED
        yield b"retry: 1000\n\n"
        while time.monotonic() < until and not self.is_over:
            found = await self.next(limit, HEARTBEAT)
            yield b"".join(map(_event, found)) or b":\nid: %s\n\n" % str(self.reached).encode()


def routes(database: Database) -> Router:
    """Returns the route of the journal."""
    watch = Watch(database)

    @get(
        "/journal",
        operation_id="listEntries",
        summary="List entries of the journal",
        opt={"right": "read", "is_tagged": False},
        tags=["Journal"],
        response_headers=[
            ResponseHeader(
                name="Journal-Cursor", description="Up to where it was looked: go on behind it.", value=""
            )
        ],
    )
    async def list_(
        request: Asked,
        after: Cursor = None,
        organisation_id: RelatedId = None,
        kind: Kind = None,
        record_id: RelatedId = None,
        dataset_id: RelatedId = None,
        actor: Text = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = 100,
        wait: Wait = 0,
    ) -> Response[list[Entry]]:
        """Answers entries in their order. With `Accept: text/event-stream` it streams them without end."""
        wanted = Wanted(organisation_id, kind, record_id, dataset_id, actor, since, until)
        reading = Reading(database, watch, request, wanted)
        if EVENTS in request.headers.get("accept", ""):
            await reading.begin(request.headers.get("last-event-id") or after)
            return _stream(reading)
        await reading.begin(after)
        found = await (reading.next(limit, wait) if wait else reading.part(limit))
        headers = {"Journal-Cursor": str(reading.reached)}
        if reading.is_behind:
            asked = {**dict(request.query_params), "after": str(reading.reached)}
            headers["Link"] = f'<?{urlencode(asked)}>; rel="next"'
        return json(found, headers=headers)

    return Router("/", route_handlers=[list_])


def _stream(reading: Reading) -> Response[Any]:
    # A proxy that collects an answer before it passes it on would pass on nothing.
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return Stream(reading.events(PAGE), media_type=EVENTS, headers=headers)


def _event(entry: Entry) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (entry.cursor.encode(), msgspec.json.encode(entry))
