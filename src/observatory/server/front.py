"""What every request passes before and after the application: it is let in, counted, logged and traced.

One layer does all of it, and works out what it can only for those who must wait, because it is paid for by
each request.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from math import ceil
from typing import cast

import msgspec
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from ..access import Caller
from ..errors import ObservatoryError, Throttled, Unavailable
from ..ledger import Database
from ..ledger.database import Pooled
from ..settings import Settings
from . import logs
from .admission import Places, Rates, urgency
from .metrics import Metrics
from .problems import MEDIA
from .tracing import Spans

Headers = dict[bytes, bytes]

ALWAYS = frozenset({"/livez", "/readyz", "/metrics"})  # asked by whoever must know how the server is
PLACES = 8  # for each connection to the database: those who wait for one cost little
SANE = re.compile(rb"[!-~]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN = "unknown"  # what anybody can make up, such as paths, would make counts without end
HUNG_UP = 499  # what nginx calls it when nobody is there any more to be answered
BUSY = "the server has more to do than it can; repeat it"
TOO_OFTEN = "this key, or address without one, asks too much in a short time"
ANSWER = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: %s\r\ncontent-length: %d\r\nretry-after: 1\r\n"
LEAVING = "the server is about to stop; ask another one"


class Front:
    """The limits and the counts of one process."""

    def __init__(self, settings: Settings, spans: Spans | None = None) -> None:
        self.places = Places(settings.in_flight or PLACES * settings.connections)
        self.rates = Rates(settings.rate) if settings.rate else None
        self.metrics = Metrics()
        self.spans = spans
        self.turned_away = 0
        body = msgspec.json.encode(Unavailable(BUSY).problem())
        self._turned_away = ANSWER % (MEDIA.encode(), len(body)) + b"x-request-id: %s\r\n\r\n" + body
        self._prefix, self._numbers = secrets.token_hex(6), count(1)

    def before(self, app: ASGIApp) -> ASGIApp:
        """Returns an application that is behind this."""

        async def passing(scope: Scope, receive: Receive, send: Send) -> None:
            # uvicorn is told of no other kind, and what starts the application is not asked through this.
            await Passage(self, cast("HTTPScope", scope), receive, send).through(app)

        return passing

    def turns_away(self, method: str, path: str, query: bytes, told: Headers) -> bytes | None:
        """Returns the whole answer to a request for which there is no room, and None where there is.

        The protocol asks it before anything is made for the request: where three times as much comes as can
        be done, most of what comes is turned away, and must cost next to nothing.
        """
        purpose = told.get(b"observatory-purpose")
        if path in ALWAYS or self.places.has_room(urgency(method, path, query, purpose)):
            return None
        self.turned_away += 1
        self.metrics.rejected("busy")
        self.metrics.answered(UNKNOWN, method, 503, 0.0)
        logs.tell(method, UNKNOWN, 503, 0.0, None, is_warning=False)
        return self._turned_away % self.request_id(told).encode()

    @asynccontextmanager
    async def watching(self, database: Database) -> AsyncIterator[None]:
        """Notes once a second how much is going on, and tells the log if requests were turned away."""
        task = asyncio.create_task(self._watch(database))
        try:
            yield
        finally:
            task.cancel()
            if self.spans:
                await asyncio.to_thread(self.spans.close)

    def request_id(self, headers: Headers) -> str:
        """Returns the id that the caller gave the request, if it is sane, or else a new one."""
        told = headers.get(b"x-request-id")
        if told and SANE.fullmatch(told):
            return told.decode()
        return f"{self._prefix}{next(self._numbers):x}"

    def wait(self, scope: HTTPScope, headers: Headers, now: float) -> float:
        """Returns for how many seconds a caller must wait who has asked too much lately."""
        if not self.rates:
            return 0.0
        # Not by the id in a key, which others know and could use up; nor is the key itself kept.
        key = headers.get(b"authorization")
        return self.rates.wait(hash(key) if key else (scope["client"] or ("",))[0], now)

    async def _watch(self, database: Database) -> None:
        while True:
            self.metrics.write()
            self.metrics.in_flight.set(self.places.places - self.places.free)
            self.metrics.waiting.set(self.places.waiting)
            if isinstance(database, Pooled):
                self.metrics.pool(*database.pool())
            if self.turned_away:
                logs.REQUESTS.warning("busy: %d requests were turned away", self.turned_away)
                self.turned_away = 0
            await asyncio.sleep(1)


class Passage:
    """One request on its way through."""

    __slots__ = (
        "_first",
        "_front",
        "_headers",
        "_id",
        "_is_in",
        "_is_late",
        "_is_refused",
        "_is_whole",
        "_receive",
        "_scope",
        "_send",
        "_status",
    )

    def __init__(self, front: Front, scope: HTTPScope, receive: Receive, send: Send) -> None:
        self._front, self._scope, self._receive, self._send = front, scope, receive, send
        self._headers = dict(scope["headers"])
        self._id = front.request_id(self._headers)
        self._first: HTTPReceiveMessage | None = None  # of the body
        self._is_whole = True  # the body has come
        self._is_in = self._is_late = False  # has a place; gave it away until the body has come
        self._is_refused = False
        self._status = HUNG_UP

    async def through(self, app: ASGIApp) -> None:
        """Lets the request through to the application if there is a place, and counts what becomes of it."""
        front, scope = self._front, self._scope
        started = time.monotonic()
        scope["state"]["request_id"] = self._id
        if scope["state"].pop("is_coming", False):
            front.places.coming -= 1
        scope["state"]["step_aside"] = self.leave  # for a route that waits for long, and then works little
        logs.REQUEST_ID.set(self._id)
        span = front.spans.begin(scope, self._headers) if front.spans else None
        try:
            if scope["path"] in ALWAYS:
                is_let_in = scope["path"] != "/readyz" or await self._is_staying()
            elif wait := front.wait(scope, self._headers, started):
                is_let_in = await self._refuse("rate", Throttled(TOO_OFTEN), ceil(wait))
            else:
                is_let_in = await self._has_begun() and (self._takes_free_place() or await self._enters())
            if is_let_in:
                await app(scope, self._heard if self._first else self._receive, self._told)
        except BaseException:
            self._status = 500
            raise
        finally:
            self.leave()
            self._count(time.monotonic() - started)
            if span:
                span.end(scope.get("path_template"), self._status)

    def leave(self) -> None:
        """Gives the place to another; does nothing where it was given already."""
        if self._is_in:
            self._is_in = False
            self._front.places.leave()

    async def _is_staying(self) -> bool:
        return not self._is_leaving() or await self._refuse("leaving", Unavailable(LEAVING), 1)

    async def _has_begun(self) -> bool:
        """Waits for the beginning of a body, which for most is all of it, and tells whether it came."""
        if b"content-length" not in self._headers and b"transfer-encoding" not in self._headers:
            return True
        self._first = cast("HTTPReceiveMessage", await self._receive())
        return self._first["type"] == "http.request"

    def _takes_free_place(self) -> bool:
        places = self._front.places
        if not places.free:
            return False
        places.free -= 1
        self._is_in = True
        return True

    async def _enters(self) -> bool:
        """Waits for a place, and answers the request if there is none."""
        scope, purpose = self._scope, self._headers.get(b"observatory-purpose")
        urgent = urgency(scope["method"], scope["path"], scope["query_string"], purpose)
        if why := await self._front.places.enter(urgent):
            self._front.turned_away += 1
            return await self._refuse(why, Unavailable(BUSY), 1)
        self._is_in = True
        return True

    async def _heard(self) -> HTTPReceiveMessage:
        """Receives a part of the body. While the rest of a long one comes, others have the place."""
        if self._first is not None:
            message, self._first = self._first, None
            self._is_whole = not message.get("more_body")
            return message
        if self._is_whole:
            return cast("HTTPReceiveMessage", await self._receive())
        self._is_late |= self._is_in
        self.leave()
        message = cast("HTTPReceiveMessage", await self._receive())
        self._is_whole = not message.get("more_body")
        if self._is_whole and self._is_late:
            await self._front.places.come_back()
            self._is_in = True
        return message

    async def _told(self, message: Message) -> None:
        """Sends a part of the answer. With its beginning it is ready: how fast it is read holds up nobody."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self._id.encode())]
            if self._is_leaving():
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            self.leave()
        await self._send(message)

    async def _refuse(self, why: str, error: ObservatoryError, wait: int) -> bool:
        """Answers a problem, and that the request is not let in."""
        self._is_refused = True
        self._front.metrics.rejected(why)
        body = msgspec.json.encode(error.problem())
        headers = [
            (b"content-type", MEDIA.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % wait),
        ]
        await self._told({"type": "http.response.start", "status": error.answered, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        return False

    def _is_leaving(self) -> bool:
        leaving = self._scope["state"].get("leaving")
        return leaving is not None and leaving.is_set()

    def _count(self, seconds: float) -> None:
        """Counts the request and logs it."""
        scope, status = self._scope, self._status
        method: str = scope["method"]
        operation = getattr(scope.get("route_handler"), "operation_id", None) or scope.get("path_template")
        if operation is None:
            operation, method = UNKNOWN, method if method in METHODS else UNKNOWN
        self._front.metrics.answered(operation, method, status, seconds)
        caller = scope.get("auth")
        account = caller.account_id if isinstance(caller, Caller) else None
        logs.tell(
            method, operation, status, seconds, account, is_warning=status >= 500 and not self._is_refused
        )
