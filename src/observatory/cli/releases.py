"""`observatory releases list`, `get` and `observatory coverage`: what of a dataset is there."""

import sys
from datetime import datetime
from typing import Annotated

import typer
from msgspec import structs

from ..records import Dataset, DatasetRelease, State
from .book import opened
from .keys import id_of
from .options import AS_OF
from .resources import complete
from .tables import Output, write_json, write_record, write_records, write_table
from .times import Since, Until, typed_time

SHORT = "Releases of a dataset: list, get, add, revise, mark, withdraw, missing, derived."
releases = typer.Typer(no_args_is_help=True, help=DatasetRelease.__doc__, short_help=SHORT)

FIELDS = ["id", "start_date", "end_date", "state", "revision", "version_label", "row_count", "reason"]

Which = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Its id, or organisation/workflow/dataset.", show_default=False),
]
AsOf = Annotated[datetime | None, typer.Option(parser=typed_time, metavar="TIME", help=AS_OF)]


@releases.command("list")
def list_(
    context: typer.Context,
    dataset: Which,
    state: Annotated[
        State | None, typer.Option(help="Only those in this state; else all that are settled.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Every revision of every period, whatever its state.")
    ] = False,
    start: Since = None,
    end: Until = None,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="The most to list; without it, all.")
    ] = None,
    as_of: AsOf = None,
    output: Output = "table",
) -> None:
    """Lists the releases of a dataset by period: those that are settled, which are the ones not missing."""
    with opened(context) as api:
        id = id_of(api, Dataset, dataset)
        found = complete(lambda: api.get_dataset_releases(limit, id, start, end, state, history, as_of))
    write_records(found, FIELDS, output)


@releases.command()
def get(
    context: typer.Context,
    release: Annotated[int, typer.Argument(min=1, help="The id of the release.")],
    as_of: AsOf = None,
    output: Output = "table",
) -> None:
    """Shows a release."""
    with opened(context) as api:
        write_record(api.get_dataset_release(release, as_of), output)


def coverage(
    context: typer.Context, dataset: Which, start: Since = None, end: Until = None, output: Output = "table"
) -> None:
    """Shows what of time a dataset covers, and the gaps."""
    with opened(context) as api:
        covered = api.get_coverage(id_of(api, Dataset, dataset), start, end)
    if output == "json":
        write_json(covered)
        return
    parts = [("covered", run) for run in covered.runs] + [("gap", gap) for gap in covered.gaps]
    parts.sort(key=lambda part: part[1])
    write_table(["what", "start_date", "end_date"], [[what, *structs.astuple(one)] for what, one in parts])
    if covered.instants:
        print(f"snapshots beside these, each of one moment: {covered.instants}", file=sys.stderr)
