"""`observatory adopt`: what is in storage already is taken into the book, in ranges."""

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from ..intervals import Period, Step
from ..records import Adopted, Dataset
from .book import opened
from .keys import WrongUsage, id_of
from .releases import Which
from .tables import Output, write_json, write_table
from .times import typed_time

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why they are adopted; kept with each release.")]


def adopt(
    context: typer.Context,
    dataset: Which,
    start: Annotated[
        datetime,
        typer.Option("--from", parser=typed_time, metavar="TIME", help="The first moment that is there."),
    ],
    until: Annotated[
        datetime, typer.Option(parser=typed_time, metavar="TIME", help="The first moment behind it.")
    ],
    evidence: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE", help="What was looked at, as table=sales or rows=120; may be repeated."
        ),
    ],
    reason: Reason,
    step: Annotated[
        Step | None,
        typer.Option(help="How long a period each release covers, in UTC; without it, all is one."),
    ] = None,
    output: Output = "table",
) -> None:
    """Takes into the book what is in storage already: a release for each step of a span of time.

    What is there already is left as it is. So is what the book says otherwise, as of what was withdrawn,
    which is listed. Ends with 1 where there is such a conflict.
    """
    shown = _evidence(evidence)
    with opened(context) as api:
        id = id_of(api, Dataset, dataset)
        span = Period(start, until)
        done = api.adopt_releases(id, span=span, step=step, evidence=shown, reason=reason)
    _tell(done, output)
    if done.in_conflict:
        raise typer.Exit(1)


def _evidence(said: list[str]) -> dict[str, Any]:
    """Returns what is said as KEY=VALUE, whole numbers as such."""
    made: dict[str, Any] = {}
    for one in said:
        key, is_there, value = one.partition("=")
        if not (key and is_there):
            raise WrongUsage(f"--evidence {one!r} says nothing: write it as KEY=VALUE, as in table=sales")
        made[key] = int(value) if value.isdecimal() and value.isascii() and len(value) < 19 else value
    return made


def _tell(done: Adopted, output: str) -> None:
    if output == "json":
        write_json(done)
        return
    rows = [[one.start_date, one.end_date, one.why] for one in done.conflicts]
    if rows:
        write_table(["start_date", "end_date", "why"], rows)
    counts = f"{done.recorded} recorded, {done.there_already} there already, {done.in_conflict} in conflict"
    print(counts, file=sys.stderr)
