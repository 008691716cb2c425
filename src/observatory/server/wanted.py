"""The routes of what should be there: probes and offers of sources, what is missing and why, and status."""

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import QueryParameter

from ..intervals import Moment, Period
from ..ledger import Database, Transaction, missing, missing_rows, missing_then, offers, status, withdrawing
from ..ledger.replies import Reply, once
from ..records import DatasetRelease, Reason, Status
from ..wants import DatasetStatus, MissingPage, Offered, Probe, Probed, Withdrawal
from .bodies import Asked
from .releases import Since, Until, span
from .resources import After, Limit, PathId, RelatedId, Text, next_page, page
from .tags import json

READ = {"right": "read"}
NOW = {**READ, "is_tagged": False}  # what changes by time alone
MANY = 10_000  # statuses are small, and an overview is read whole

Many = Annotated[int, QueryParameter(ge=1, le=MANY, description="How many to answer at most.")]
Place = Annotated[
    str | None, QueryParameter(max_length=200, description="Where the page before ended: its `after`.")
]
Runs = Annotated[bool, QueryParameter(description="Runs of periods, or the periods one by one.")]
WasMissing = Annotated[
    Moment | None,
    QueryParameter(description="What was missing of one dataset at this time; without claims and failures."),
]
Reasons = Annotated[list[Reason] | None, QueryParameter(description="Only what is missing for these.")]
Stale = Annotated[
    bool, QueryParameter(description="Also what was made from what is another now, behind the rest.")
]
Counts = Annotated[
    bool, QueryParameter(description="With how many are missing for each reason, on the first page.")
]
Stands = Annotated[Status | None, QueryParameter(name="status", description="Only those that stand so.")]


def routes(database: Database) -> Router:
    """Returns the routes of what should be there."""

    @post(
        "/datasets/{id:int}/probes",
        operation_id="probeDataset",
        summary="Tell what a source offers",
        status_code=200,
        opt={"right": "record", "body": Probe},
    )
    async def probe(id: PathId, request: Asked) -> Response[Probed]:
        told, token = await request.told(Probe), await request.token()
        return json(await database.write(request.caller, once, token, PROBED, offers.probe, id, told))

    @post(
        "/datasets/{id:int}/withdrawals",
        operation_id="withdrawReleases",
        summary="Withdraw all releases within a period",
        status_code=200,
        opt={"right": "record", "body": Withdrawal},
    )
    async def withdraw(id: PathId, request: Asked) -> Response[list[DatasetRelease]]:
        told, token = await request.told(Withdrawal), await request.token()
        work = withdrawing.withdraw
        return json(await database.write(request.caller, once, token, WITHDRAWN, work, id, told))

    @get("/datasets/{id:int}/offers", operation_id="listOffers", summary="List Offers", opt=READ)
    async def offered(
        id: PathId, request: Asked, limit: Limit = 100, after: Place = None
    ) -> Response[list[Offered]]:
        behind = None if after is None else missing.place(after)
        last = None if behind is None else Period(behind.start, behind.end)
        found = await database.scan(request.caller, offers.listed, id, limit, last)
        place = missing_rows.Place(id, found[-1].start_date, found[-1].end_date) if found else None
        return page(request, found, limit, missing.said(place) if place else "")

    @get("/missing", operation_id="getMissing", summary="What is missing, and why", opt=NOW)
    async def tell(
        request: Asked,
        dataset_id: RelatedId = None,
        workflow_id: RelatedId = None,
        organisation_id: RelatedId = None,
        tag: Text = None,
        reason: Reasons = None,
        start_date: Since = None,
        end_date: Until = None,
        stale: Stale = False,
        runs: Runs = True,
        counts: Counts = True,
        limit: Limit = 100,
        after: Place = None,
        as_of: WasMissing = None,
    ) -> Response[MissingPage]:
        within = span(start_date, end_date)
        asked = missing_rows.Asked(
            dataset_id, workflow_id, organisation_id, tag, within, tuple(sorted(set(reason or ()))), stale
        )
        behind = None if after is None else missing.place(after)
        if as_of is None:
            found = await database.scan(request.caller, missing.missing, asked, runs, limit, behind, counts)
        else:
            work = missing_then.missing
            found = await database.scan(request.caller, work, asked, as_of, runs, limit, behind)
        return json(found, headers=next_page(request, found.after) if found.after else None)

    @get("/statuses", operation_id="listStatuses", summary="How it stands with Datasets", opt=NOW)
    async def stands(
        request: Asked,
        dataset_type_id: RelatedId = None,
        workflow_id: RelatedId = None,
        organisation_id: RelatedId = None,
        tag: Text = None,
        standing: Stands = None,
        limit: Many = 100,
        after: After = 0,
    ) -> Response[list[DatasetStatus]]:
        asked: dict[str, Any] = {"workflow_id": workflow_id, "organisation_id": organisation_id, "tag": tag}
        asked |= {"dataset_type_id": dataset_type_id, "status": standing}
        wanted = {name: value for name, value in asked.items() if value is not None}
        found = await database.scan(request.caller, status.listed, wanted, limit, after)
        is_full = len(found) == limit
        return json(found, headers=next_page(request, str(found[-1].dataset.id)) if is_full else None)

    return Router("/", route_handlers=[probe, withdraw, offered, tell, stands], tags=["Missing"])


async def _again(tx: Transaction, noted: Any) -> Probed:
    """Returns what was answered to a probe."""
    return msgspec.convert(noted, Probed)


PROBED = Reply(msgspec.to_builtins, _again)
WITHDRAWN = Reply(lambda found: [release.id for release in found], withdrawing.withdrawn)
