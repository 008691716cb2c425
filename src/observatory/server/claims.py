"""The routes of claims: who loads what is missing takes it first, so that nobody else loads it too."""

from typing import Annotated, Any

from litestar import Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from ..leases import Claiming, Granted, Renewal, Renewed, Return
from ..ledger import Database, Transaction, claims, granting
from ..ledger.replies import Reply, once
from ..records import Claim
from .bodies import Asked
from .resources import After, Limit, PathId, RelatedId, page
from .tags import by_content, json

READ, RECORD = {"right": "read"}, {"right": "record"}
Live = Annotated[bool, QueryParameter(description="Only those that last now.")]


def routes(database: Database) -> Router:
    """Returns the routes of claims."""

    @get("/claims", operation_id="listClaims", summary="List Claims", opt=READ)
    async def list_(
        request: Asked, dataset_id: RelatedId = None, live: Live = False, limit: Limit = 100, after: After = 0
    ) -> Response[list[Claim]]:
        found = await database.read(request.caller, claims.listed, limit, after, dataset_id, live)
        return page(request, found, limit, str(found[-1].id) if found else "")

    @get("/claims/{id:int}", operation_id="getClaim", summary="Get Claim", opt=READ)
    async def fetch(id: PathId, request: Asked) -> Response[Claim]:
        found = await database.read(request.caller, claims.fetch, id)
        return by_content(request, found, found.version)

    @post(
        "/claims",
        operation_id="claimReleases",
        summary="Claim missing periods",
        responses={200: ResponseSpec(Granted, description="Nothing is missing that nobody holds.")},
        opt={**RECORD, "body": Claiming},
    )
    async def claim(request: Asked) -> Response[Granted]:
        told, token = await request.told(Claiming), await request.token()
        granted = await database.write(request.caller, once, token, GRANTED, granting.claim, told)
        return json(granted, 200 if granted.claim is None else 201)

    @post(
        "/claims/{id:int}/renew",
        operation_id="renewClaim",
        summary="Let a Claim last longer",
        status_code=200,
        opt={**RECORD, "body": Renewal},
    )
    async def renew(id: PathId, request: Asked) -> Response[Renewed]:
        told = await request.told(Renewal)
        # Told again it lasts from then on, so it needs no name; a wrong one is refused as everywhere.
        await request.token()
        return json(await database.write(request.caller, claims.renew, id, told.seconds))

    @post(
        "/claims/{id:int}/give-back",
        operation_id="giveBackClaim",
        summary="Give back what a Claim holds",
        status_code=200,
        opt={**RECORD, "body": Return},
    )
    async def give_back(id: PathId, request: Asked) -> Response[Claim]:
        told, token = await request.told(Return), await request.token()
        return json(await database.write(request.caller, once, token, GIVEN_BACK, claims.give_back, id, told))

    return Router("/", route_handlers=[list_, fetch, claim, renew, give_back], tags=["Claim"])


def _noted(granted: Granted) -> int | None:
    return None if granted.claim is None else granted.claim.id


async def _fetch(tx: Transaction, id: Any) -> Claim:
    return await claims.fetch(tx, id)


GRANTED = Reply(_noted, claims.again)
GIVEN_BACK = Reply(lambda claim: claim.id, _fetch)
