"""The route by which what is in storage already comes into the book."""

from typing import Any

import msgspec
from litestar import Response, Router, post

from ..ledger import Database, Transaction, adopt
from ..ledger.replies import Reply, once
from ..records import Adopted, Adoption
from .bodies import Asked
from .releases import CHUNK
from .resources import PathId
from .tags import json


def routes(database: Database) -> Router:
    """Returns the route of adoptions."""

    @post(
        "/datasets/{id:int}/adopt",
        operation_id="adoptReleases",
        summary="Adopt what is in storage already",
        status_code=200,
        opt={"right": "record", "body": Adoption},
    )
    async def adopt_(id: PathId, request: Asked) -> Response[Adopted]:
        told = await request.told(Adoption)
        token = await request.token()
        adopt.check_evidence(told.evidence)
        periods = adopt.periods_of(told)
        parts: list[Adopted] = []
        for at in range(0, len(periods) or 1, CHUNK):
            # Each part is a transaction, and known by itself, so that others get their turn.
            part = token and token._replace(name=f"{token.name}#{at}")
            some = periods[at : at + CHUNK]
            parts.append(
                await database.write(
                    request.caller, once, part, COUNTED, adopt.adopt, id, some, told.reason, told.evidence
                )
            )
        return json(adopt.together(parts))

    return Router("/", route_handlers=[adopt_], tags=["DatasetRelease"])


async def _again(_: Transaction, noted: Any) -> Adopted:
    return msgspec.convert(noted, Adopted)


COUNTED = Reply(msgspec.to_builtins, _again)
