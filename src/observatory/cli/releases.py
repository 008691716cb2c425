"""`observatory releases` and `observatory coverage`: what of a dataset is there."""

import sys
from datetime import datetime
from typing import Annotated, Any

import typer
from msgspec import structs

from ..records import Dataset, DatasetRelease, Settled, State
from .book import opened
from .keys import id_of
from .options import AS_OF, json_object
from .resources import complete
from .tables import Output, write_json, write_record, write_records, write_table
from .times import Since, Until, typed_time

SHORT = "Releases of a dataset: list, get, add, withdraw, missing, derived."
releases = typer.Typer(no_args_is_help=True, help=DatasetRelease.__doc__, short_help=SHORT)

FIELDS = ["id", "start_date", "end_date", "state", "revision", "version_label", "row_count", "reason"]

Which = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Its id, or organisation/workflow/dataset.", show_default=False),
]
PERIOD = "A date or a time, in UTC where it names no zone."
Start = Annotated[datetime, typer.Argument(parser=typed_time, metavar="START", help=PERIOD)]
End = Annotated[
    datetime, typer.Argument(parser=typed_time, metavar="END", help="The first moment behind it.")
]


def _moment(help: str) -> Any:
    return typer.Option(parser=typed_time, metavar="TIME", help=help)


AsOf = Annotated[datetime | None, _moment(AS_OF)]


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


@releases.command()
def add(
    context: typer.Context,
    dataset: Which,
    start: Start,
    end: End,
    row_count: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="How many rows it has.")
    ] = None,
    digest: Annotated[str | None, typer.Option(metavar="DIGEST", help="A checksum of its data.")] = None,
    version_label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What its source calls it.")
    ] = None,
    published: Annotated[datetime | None, _moment("When its source published it.")] = None,
    ingestion_start: Annotated[datetime | None, _moment("When loading it began.")] = None,
    ingestion_end: Annotated[datetime | None, _moment("When loading it ended.")] = None,
    state: Annotated[Settled | None, typer.Option(help="What became of it.  [default: present]")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why it is in this state.")] = None,
    extras: Annotated[
        str | None, typer.Option(metavar="JSON", help="What else is kept of it, as a JSON object.")
    ] = None,
    made_from: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="ID", help="A release that it was made from; may be repeated."),
    ] = None,
    output: Output = "table",
) -> None:
    """Records a release of the period from START to END, not including END; where both are equal, a snapshot.

    A release that is in the book already is shown as it is there; with other facts it is refused.
    """
    facts: dict[str, Any] = {
        "row_count": row_count,
        "digest": digest,
        "version_label": version_label,
        "published": published,
        "ingestion_start": ingestion_start,
        "ingestion_end": ingestion_end,
        "state": state,
        "reason": reason,
        "extras": None if extras is None else json_object("--extras", extras),
        "made_from": made_from or None,
    }
    given = {field: value for field, value in facts.items() if value is not None}
    with opened(context) as api:
        of = Dataset(id=id_of(api, Dataset, dataset))
        release = DatasetRelease(dataset=of, start_date=start, end_date=end, **given)
        write_record(api.post_dataset_release(release), output)


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
