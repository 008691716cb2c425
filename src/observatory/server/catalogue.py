"""The route of the whole catalogue, which DAG files are made from: one request, and mostly "not modified"."""

import asyncio
from typing import Annotated

import msgspec
from litestar import Response, Router, get
from litestar.params import QueryParameter

from ..ledger import Database, whole
from ..ledger.reads import Noted
from ..records import Contents
from .bodies import Asked
from .tags import is_known, json, not_modified, tag

Addresses = Annotated[
    bool, QueryParameter(description="Whether to answer the addresses too, of those that may be read.")
]


def routes(database: Database) -> Router:
    """Returns the route of the catalogue."""
    noted = Noted(database)
    known: list[str] = []  # the id of the book, once it was looked up

    @get(
        "/catalogue",
        operation_id="getCatalogue",
        summary="Get the whole catalogue",
        opt={"right": "read"},
        tags=["Catalogue"],
    )
    async def read(request: Asked, addresses: Addresses = False) -> Response[Contents]:
        """Answers all organisations, workflows, datasets and types that may be seen, each once."""
        if not known:
            known.append(await database.read(request.caller, whole.book_id))
        # Another book may have counted as many changes.
        if is_known(request, known[0]):
            return not_modified(request)
        contents = await noted.scan(request.caller, whole.read, addresses)
        body = await asyncio.to_thread(msgspec.json.encode, contents)
        return json(msgspec.Raw(body), etag=tag(request, known[0]))

    return Router("/", route_handlers=[read])
