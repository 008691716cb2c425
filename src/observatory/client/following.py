"""Waiting for what comes next in the journal, without holding up the event loop in which many wait."""

import os
from typing import NamedTuple

import httpx2

from ..errors import Invalid, Unavailable
from ..records import PAGE, Entry
from ..settings import read
from .connection import Connection
from .saved import key_for
from .transport import DIRECT, decoded, error_in, place_of, strange

WAIT = 10  # seconds for which the server waits until there is something
PATIENCE = 5.0  # seconds more until it is taken to be away


class Part(NamedTuple):
    """Entries in their order, the cursor to go on behind, and whether there is more already."""

    entries: list[Entry]
    cursor: str
    is_more: bool


class Feed:
    """The journal of a book, read by one caller in one event loop.

    To make it may take a while, as certificates are read: do it in a thread.
    """

    def __init__(self, api: Connection) -> None:
        url, api_key, _, _ = api._server
        api_key = api_key or key_for(read(os.environ), url)
        headers = {"Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        try:
            self._http = httpx2.AsyncClient(
                base_url=f"{api.url}/v1/",
                headers=headers,
                timeout=WAIT + PATIENCE,
                verify=url.startswith("https://"),
                mounts=DIRECT,
            )
        except httpx2.InvalidURL as error:
            raise Invalid(f"{url!r} is no address of a server", {"url": str(error)}) from error

    async def part(self, after: str, wait: int = WAIT) -> Part:
        """Returns what follows a cursor, or "now"; it is called again by the caller, and repeats nothing.

        Raises Gone or Invalid for a cursor that leads nowhere, and Unavailable where no answer came.
        """
        request = self._http.build_request(
            "GET", "journal", params={"after": after, "wait": wait, "limit": PAGE}
        )
        try:
            response = await self._http.send(request)
        except httpx2.TransportError as error:
            said = f"{place_of(request)} did not answer: {error or type(error).__name__}"
            raise Unavailable(said) from error
        if not response.is_success:
            raise error_in(response)
        if (cursor := response.headers.get("Journal-Cursor")) is None:
            raise strange(response, "it does not say where to go on")
        return Part(decoded(response, list[Entry]), cursor, "next" in response.links)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
