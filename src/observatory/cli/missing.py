"""`observatory missing`: what is missing and why; `releases missing`: of the periods that it is given."""

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..client import ObservatoryApi
from ..intervals import Period
from ..records import Dataset, Organisation, Reason, Record, Workflow
from ..wants import Missing, MissingRun
from .book import opened
from .candidates import candidates
from .keys import WrongUsage, id_of, singular
from .periods import count_text, counted, period_text
from .releases import Which
from .resources import complete
from .show import is_for_people
from .source_text import source_text
from .tables import Output, write_json, write_records, write_table
from .times import Since, Until, typed_time

SOMETHING_IS_MISSING = 3

WhichWorkflow = Annotated[
    str | None,
    typer.Option(
        "--workflow",
        metavar="WORKFLOW",
        help="Only those of this workflow: its id, or organisation/workflow.",
    ),
]
WhichOrganisation = Annotated[
    str | None,
    typer.Option(
        "--organisation", metavar="ORGANISATION", help="Only those of this one: its id or its name."
    ),
]
Tag = Annotated[str | None, typer.Option(help="Only those of workflows with this tag.", metavar="TAG")]
Most = Annotated[int | None, typer.Option(min=0, metavar="NUMBER", help="The most to list; without it, all.")]


def missing(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="DATASET", help="Its id, or organisation/workflow/dataset."),
    ] = None,
    workflow: WhichWorkflow = None,
    organisation: WhichOrganisation = None,
    tag: Tag = None,
    everything: Annotated[bool, typer.Option("--all", help="Of all datasets.")] = False,
    runs: Annotated[
        bool, typer.Option("--runs/--periods", help="Runs of periods, or each by itself with all about it.")
    ] = True,
    why: Annotated[bool, typer.Option("--why/--no-why", help="With the reasons, or only which.")] = True,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(get_args(Reason)), help="Only what is missing for this reason; may be repeated."
        ),
    ] = None,
    start: Since = None,
    end: Until = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=typed_time, metavar="TIME", help="What was missing of DATASET then, but for claims."
        ),
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Also what was made from what is withdrawn or revised.")
    ] = False,
    limit: Most = None,
    output: Output = "table",
) -> None:
    """Lists what should be there and is not, and why, as runs of periods with the same reason.

    Below stands how many periods are missing, by reason. On a terminal, a run of days is shown with its last
    day; in lines with tabs and in JSON, end_date is the first moment behind it. Ends with 3 when something is
    missing, with 0 when nothing is.
    """
    if not (dataset or workflow or organisation or tag or everything):
        raise WrongUsage("give a DATASET, --workflow, --organisation or --tag; or --all for all datasets")
    # Typer knows no lists of a Literal.
    if wrong := sorted({*(reason or ())} - {*get_args(Reason)}):
        raise WrongUsage(f"--reason {wrong[0]}: give one of {', '.join(get_args(Reason))}")
    with opened(context) as api:
        asked = asked_of(api, dataset, workflow, organisation) | {"tag": tag, "reasons": reason or ()}
        asked |= {"start_date": start, "end_date": end, "as_of": as_of, "stale": stale}
        listed: Any = api.get_missing_runs if runs else api.get_missing
        found = complete(lambda: listed(limit, **asked))
        counts = _counts(found) if limit is None else api.count_missing(**asked)
    if output == "json":
        write_json(found)
    else:
        _write(found, runs, why)
    _tell(counts)
    if counts:
        raise typer.Exit(SOMETHING_IS_MISSING)


def asked_of(
    api: ObservatoryApi, dataset: str | None, workflow: str | None, organisation: str | None
) -> dict[str, Any]:
    """Returns what a list is asked for, by the ids of what was named."""
    named: list[tuple[type[Record], str | None]]
    named = [(Dataset, dataset), (Workflow, workflow), (Organisation, organisation)]
    return {f"{singular(kind)}_id": id_of(api, kind, said) for kind, said in named if said}


def compared(
    context: typer.Context,
    dataset: Which,
    file: Annotated[
        Path | None,
        typer.Option(help="The periods that the source offers; without it, standard input.", metavar="FILE"),
    ] = None,
    output: Output = "table",
) -> None:
    """Compares the periods that a source offers with the book, and lists those that are missing.

    The periods are lines of START END, CSV with the header start_date,end_date, or a JSON list of objects
    with start_date and end_date. Ends with 3 when something is missing, with 0 when nothing is.
    """
    offered = list(candidates(source_text(file, "type the periods, START END on each line")))
    with opened(context) as api:
        found = api.get_missing_releases(id_of(api, Dataset, dataset), offered)
    write_records(found, ["start_date", "end_date"], output)
    print(f"{len(found)} of {len(set(offered))} periods are missing", file=sys.stderr)
    if found:
        raise typer.Exit(SOMETHING_IS_MISSING)


def _counts(found: list[MissingRun] | list[Missing]) -> Counter[Reason]:
    """Returns how many periods are missing for which reason, where all of them are listed."""
    counts: Counter[Reason] = Counter()
    for one in found:
        counts[one.reason] += one.periods if isinstance(one, MissingRun) else 1
    return counts


def _write(found: list[MissingRun] | list[Missing], runs: bool, why: bool) -> None:
    rows = [_row(one, why) for one in found]
    # Of nothing there is a heading too, with the same columns.
    when = ["period"] if is_for_people() else ["start_date", "end_date"]
    counts = ["count"] if runs else []
    more = [] if runs else ["holder", "claimed_until", "failures", "retry_at", "version_label"]
    write_table(["dataset", *when, *counts, *(["why", "since", *more] if why else [])], rows)


def _row(one: MissingRun | Missing, why: bool) -> list[Any]:
    for_people = is_for_people()
    start, end = one.start_date, one.end_date
    are_snapshots = start == end if isinstance(one, Missing) else one.are_snapshots
    row = [one.dataset, period_text(start, end, are_snapshots)] if for_people else [one.dataset, start, end]
    if isinstance(one, MissingRun):
        said = count_text(one.periods, Period(start, end), are_snapshots)
        row.append(said if for_people else one.periods)
    if not why:
        return row
    row += [one.reason if one.note is None else f'{one.reason}, "{one.note}"', one.since]
    if isinstance(one, Missing):
        row += [one.holder, one.claimed_until, one.failures or None, one.retry_at, one.version_label]
    return row


def _tell(counts: dict[Reason, int]) -> None:
    if not counts:
        print("nothing is missing", file=sys.stderr)
        return
    said = ", ".join(f"{counts[one]} {one}" for one in get_args(Reason) if counts.get(one))
    print(f"{counted(sum(counts.values()), 'period')} missing: {said}", file=sys.stderr)
