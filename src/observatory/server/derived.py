"""The routes of what was made from what: what follows from a release, and what is stale."""

from litestar import Response, Router, get

from ..ledger import Database, derived
from ..records import DerivedRelease, StaleRelease
from .bodies import Asked
from .resources import After, Limit, PathId, RelatedId, page
from .tags import by_content

READ = {"right": "read"}


def routes(database: Database) -> Router:
    """Returns the routes of what was made from what."""

    @get(
        "/dataset-releases/{id:int}/derived",
        operation_id="getDerivedReleases",
        summary="Get what was made from a DatasetRelease",
        opt=READ,
    )
    async def below(id: PathId, request: Asked) -> Response[list[DerivedRelease]]:
        """Answers all that was made from it, and what was made from that, to any depth."""
        return by_content(request, await database.scan(request.caller, derived.derived, id))

    @get("/stale", operation_id="listStaleReleases", summary="List DatasetReleases that are stale", opt=READ)
    async def stale(
        request: Asked,
        dataset_id: RelatedId = None,
        workflow_id: RelatedId = None,
        organisation_id: RelatedId = None,
        limit: Limit = 100,
        after: After = 0,
    ) -> Response[list[StaleRelease]]:
        """Answers releases made, at any depth, from one that was withdrawn or superseded since."""
        wanted = derived.Wanted(limit, after, dataset_id, workflow_id, organisation_id)
        found = await database.scan(request.caller, derived.stale, wanted)
        return page(request, found, limit, str(found[-1].release.id) if found else "")

    return Router("/", route_handlers=[below, stale], tags=["DatasetRelease"])
