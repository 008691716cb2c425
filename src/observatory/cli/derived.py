"""`observatory releases derived` and `observatory stale`: what was made from what is not current any more."""

import sys
from typing import Annotated

import typer

from ..records import Dataset, Organisation, Workflow
from .book import opened
from .keys import id_of
from .missing import SOMETHING_IS_MISSING
from .resources import complete
from .tables import Output, write_json, write_table

RELEASE = ["id", "dataset", "start_date", "end_date"]


def derived(
    context: typer.Context,
    release: Annotated[int, typer.Argument(min=1, metavar="ID", help="The id of the release.")],
    output: Output = "table",
) -> None:
    """Lists what was made from a release, and what was made from that, the nearest first.

    Ends with 3 when some of it is stale: it was made from what was withdrawn or superseded since.
    """
    with opened(context) as api:
        found = api.get_derived_releases(release)
    if output == "json":
        write_json(found)
    else:
        rows = [[*_shown(one.release, RELEASE), one.depth, one.release.state, one.stale] for one in found]
        write_table([*RELEASE, "depth", "state", "stale"], rows)
    stale_ones = sum(one.stale for one in found)
    print(f"{stale_ones} of {len(found)} are stale", file=sys.stderr)
    if stale_ones:
        raise typer.Exit(SOMETHING_IS_MISSING)


def stale(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET", help="Only those of this dataset: its id, or organisation/workflow/dataset."
        ),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            metavar="WORKFLOW", help="Only those of this workflow: its id, or organisation/workflow."
        ),
    ] = None,
    organisation: Annotated[
        str | None,
        typer.Option(metavar="ORGANISATION", help="Only those of this one: its id or its name."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="The most to list; without it, all.")
    ] = None,
    output: Output = "table",
) -> None:
    """Lists the releases that are to be made anew: what they were made from was withdrawn or superseded.

    That may be many steps away; the nearest such inputs are told. Ends with 3 when something is stale, with 0
    when nothing is.
    """
    with opened(context) as api:
        asked = {
            "dataset_id": id_of(api, Dataset, dataset) if dataset else None,
            "workflow_id": id_of(api, Workflow, workflow) if workflow else None,
            "organisation_id": id_of(api, Organisation, organisation) if organisation else None,
        }
        found = complete(lambda: api.get_stale_releases(limit, **asked))
    if output == "json":
        write_json(found)
    else:
        rows = [[*_shown(one.release, RELEASE), ", ".join(map(str, one.inputs)) or None] for one in found]
        write_table([*RELEASE, "inputs"], rows)
    if found:
        raise typer.Exit(SOMETHING_IS_MISSING)


def _shown(release: object, fields: list[str]) -> list[object]:
    return [getattr(release, field) for field in fields]
