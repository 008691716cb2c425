"""`observatory claim`, `give-back` and `claims`: taking what is missing, to load it."""

import sys
from datetime import datetime
from typing import Annotated, get_args

import typer

from ..intervals import Period
from ..leases import GivenBack, Order, Return
from ..records import Claim, Dataset, Reason
from .book import opened
from .keys import WrongUsage, id_of
from .periods import counted
from .releases import Which
from .resources import complete
from .show import moment_text
from .tables import Output, write_json, write_record, write_records, write_table
from .times import Since, Until, typed_time

SHORT = "Claims on what is missing: list, renew."
claims = typer.Typer(no_args_is_help=True, help=Claim.__doc__, short_help=SHORT)

FIELDS = ["id", "holder", "until", "ended", "periods", "dataset"]
TO_LOAD = ["start_date", "end_date", "reason", "version_label", "failures", "error"]

Number = Annotated[int, typer.Argument(metavar="CLAIM", min=1, help="The number of the claim.")]
Seconds = Annotated[int, typer.Option(min=1, metavar="NUMBER", help="For so long, from now on.")]


def claim(
    context: typer.Context,
    dataset: Which,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="The most to take.")] = 1,
    seconds: Seconds = 900,
    holder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whom others are told about; else the account.")
    ] = None,
    order: Annotated[Order, typer.Option(help="Which of them are taken first.")] = "oldest",
    start: Since = None,
    end: Until = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(get_args(Reason)), help="Only what is missing for this reason; may be repeated."
        ),
    ] = None,
    output: Output = "table",
) -> None:
    """Takes some of the missing periods of a dataset, so that nobody else loads them meanwhile.

    Show the number of the claim when you record them. What you do not load, give back.
    """
    # Typer knows no lists of a Literal.
    if wrong := sorted({*(reason or ())} - {*get_args(Reason)}):
        raise WrongUsage(f"--reason {wrong[0]}: give one of {', '.join(get_args(Reason))}")
    with opened(context) as api:
        id = id_of(api, Dataset, dataset)
        asked = {"holder": holder, "seconds": seconds, "reasons": reason or None}
        granted = api.claim(id, limit, order=order, start_date=start, end_date=end, **asked)  # type: ignore[arg-type] # each is of its type
    if output == "json":
        write_json(granted)
    else:
        write_table(TO_LOAD, [[getattr(one, name) for name in TO_LOAD] for one in granted.releases])
    if granted.claim is None:
        print("nothing is missing that nobody holds", file=sys.stderr)
    else:
        made = granted.claim
        print(
            f"claim {made.id}: {counted(made.periods, 'period')} until {moment_text(made.until)}",
            file=sys.stderr,
        )


def give_back(
    context: typer.Context,
    number: Number,
    start: Annotated[
        datetime | None,
        typer.Argument(parser=typed_time, metavar="START", help="Of one period; else all that is left."),
    ] = None,
    end: Annotated[
        datetime | None, typer.Argument(parser=typed_time, metavar="END", help="The first moment behind it.")
    ] = None,
    outcome: Annotated[GivenBack, typer.Option(help="What became of it.")] = "done",
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What went wrong, of what failed.")
    ] = None,
    retry_after: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="When it is granted again; else the longer the more often it failed.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it is empty or unobtainable, which is recorded.")
    ] = None,
    output: Output = "table",
) -> None:
    """Gives back what a claim holds: it is done, or failed, or there is nothing to load."""
    if (start is None) != (end is None):
        raise WrongUsage("a period has a START and an END")
    only = [Period(start, end)] if start and end else None
    told = Return(outcome, error=error, retry_after=retry_after, reason=reason)
    with opened(context) as api:
        write_record(api.give_back_claim(number, told, only), output)


@claims.command("list")
def list_(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="DATASET", help="Its id, or organisation/workflow/dataset; else of all."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Only those that last now.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="The most to list; without it, all.")
    ] = None,
    output: Output = "table",
) -> None:
    """Lists who claimed what, the oldest first."""
    with opened(context) as api:
        of = None if dataset is None else id_of(api, Dataset, dataset)
        write_records(complete(lambda: api.get_claims(limit, of, live)), FIELDS, output)


@claims.command()
def renew(context: typer.Context, number: Number, seconds: Seconds = 900, output: Output = "table") -> None:
    """Lets a claim last longer, and shows what it still holds."""
    with opened(context) as api:
        renewed = api.renew_claim(number, seconds)
    if output == "json":
        write_json(renewed)
        return
    write_table(["start_date", "end_date"], [[p.start_date, p.end_date] for p in renewed.releases])
    held = f"holds {len(renewed.releases)} of its {counted(renewed.claim.periods, 'period')}"
    print(f"{held} until {moment_text(renewed.claim.until)}", file=sys.stderr)
