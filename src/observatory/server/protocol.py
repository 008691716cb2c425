"""What a connection may cost: the size of its headers, and the time its client takes to send and to read.

uvicorn has no such limits with httptools. Nothing here sets a timer: each connection only notes by when it
must have gone on, and the server looks through all of them once a second (`Guarded.look`).
"""

import asyncio
from enum import Enum
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import Problem

if TYPE_CHECKING:
    from .front import Front
    from .running import Config

LINGER = 2.0, 1 << 20  # seconds and bytes in which a client that still sends can read why it is refused
WHOLE = 10  # times the time of a stall, a body must have come and an answer be taken


class Part(Enum):
    """What is expected of the client next."""

    NOTHING = 0
    HEADERS = 1
    BODY = 2
    END = 3


class Guarded(HttpToolsProtocol):
    """A connection that is closed when its client sends too much, or keeps it waiting for too long."""

    def __init__(self, config: "Config", *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._settings = config.settings
        self._part = Part.HEADERS
        self._due = self.loop.time() + config.settings.header_timeout
        self._whole_due = inf
        self._head = 0  # bytes of the headers so far
        self._size = 0  # bytes that came last
        self._is_too_long = False
        self._passed_over = 0
        self._front: Front | None = self.app_state.get("front")
        self._answer: bytes | None = None  # to a request that is turned away
        self._unsent, self._moved, self._taken_by = 0, inf, inf

    def data_received(self, data: bytes) -> None:
        """Reads what has come, and notes by when more must come."""
        if self._part is Part.END:
            self._passed_over += len(data)
            if self._passed_over > LINGER[1]:
                self.transport.abort()
            return
        now = self.loop.time()
        if self._part is Part.NOTHING:
            self._expect_headers(now)
        self._size = len(data)
        super().data_received(data)
        if self._part is Part.HEADERS:
            self._head += self._size
            if self._head > self._settings.max_headers:
                self._refuse_headers()
        elif self._part is Part.BODY:
            self._due = now + self._settings.stall_timeout
            self._whole_due = min(self._whole_due, now + WHOLE * self._settings.stall_timeout)

    def on_message_begin(self) -> None:
        """Notes where headers begin behind a body, as those of requests that are sent without waiting."""
        if self._part is not Part.HEADERS:
            self._expect_headers(self.loop.time())
            self._head = -self._size  # what came with them is not known to be theirs
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Starts the request, unless its headers came all at once and are too long."""
        # They are counted only where they can be too long, because most come in one piece of 300 bytes.
        if (
            self._head + self._size > self._settings.max_headers
            and self._measured() > self._settings.max_headers
        ):
            self._is_too_long = True
            raise ValueError("the headers are too long")
        self._part = Part.BODY
        if self._front is not None and self._front.places.is_full:
            self._answer = self._turned_away(self._front)
        if self._answer is None:
            super().on_headers_complete()
            if self._front is not None and not self.pipeline:
                # Many come at once before the first of them is looked at.
                self._front.places.coming += 1
                self.scope["state"]["is_coming"] = True

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body, and passes over that of a request which is turned away."""
        if self._answer is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expects nothing more of the client."""
        self._part = Part.NOTHING
        self._due = self._whole_due = inf
        if self._answer is None:
            super().on_message_complete()
        else:
            self.transport.write(self._answer)
            self._answer = None
            self.on_response_complete()

    def on_response_complete(self) -> None:
        """Goes on to the next request, or ends where the body of this one was not wanted to its end."""
        if self._part is Part.BODY and not self.transport.is_closing():
            self.server_state.total_requests += 1
            self._linger()
        else:
            super().on_response_complete()

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio asks whether to stay open
        """Lets a client that has said all it had to say read its answer; else the connection is closed."""
        is_asked = self.cycle is not None and not self.cycle.response_complete
        return is_asked and self._part is Part.NOTHING

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, or headers that are too long."""
        if self._is_too_long:
            self._refuse_headers()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "the request is not HTTP")

    def look(self, now: float) -> None:
        """Ends a connection whose client keeps it waiting; called about once a second."""
        self._look_at_answer(now)
        if now <= min(self._due, self._whole_due):
            return
        if self._part is Part.BODY and self.flow.read_paused:
            self._due = now + self._settings.stall_timeout  # it is we who do not read
        elif self._part is Part.BODY:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time")
        else:
            self.transport.abort()

    def _turned_away(self, front: "Front") -> bytes | None:
        """Returns the answer to a request for which there is no room, if it is as simple as most are."""
        if self.cycle is not None and not self.cycle.response_complete:
            return None  # it is answered after the one before it
        told = dict(self.headers)
        is_simple = self.parser.should_keep_alive() and not self.expect_100_continue
        if not is_simple or b"transfer-encoding" in told or len(told.get(b"content-length", b"")) > 4:
            return None
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        return front.turns_away(self.parser.get_method().decode("ascii"), path, url.query or b"", told)

    def _look_at_answer(self, now: float) -> None:
        """Drops a client that does not take its answer, which is kept here as long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and not self._unsent:
            self._taken_by = now + WHOLE * self._settings.stall_timeout
        if unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        if unsent and (now > self._taken_by or now > self._moved + self._settings.stall_timeout):
            self.transport.abort()

    def _expect_headers(self, now: float) -> None:
        self._part = Part.HEADERS
        self._due, self._whole_due = now + self._settings.header_timeout, inf
        self._head = 0

    def _measured(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_headers(self) -> None:
        limit = self._settings.max_headers
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {limit} bytes before the body")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answers a problem before the application is asked, and ends the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.abort()  # an answer in the middle of another would be taken for part of it
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = msgspec.json.encode(Problem("Refused", status, detail))
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self._linger()

    def _linger(self) -> None:
        """Sends what there is and then the end, and passes over what still comes.

        A connection that is closed with something unread is reset, and the client could not read its answer.
        """
        self._unset_keepalive_if_required()
        self._part = Part.END
        self._due, self._whole_due = self.loop.time() + LINGER[0], inf
        self.transport.write_eof()
        self.flow.resume_reading()


def look_through(connections: "set[Any]", loop: asyncio.AbstractEventLoop) -> None:
    """Ends those of the connections whose clients keep them waiting."""
    now = loop.time()
    for connection in list(connections):
        if isinstance(connection, Guarded):
            connection.look(now)
