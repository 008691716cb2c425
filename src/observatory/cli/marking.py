"""`observatory releases mark`: what is missing and will not come is settled, with its reason."""

import sys
from datetime import datetime
from typing import Annotated, Literal

import typer

from ..client import ObservatoryApi
from ..errors import ObservatoryError
from ..intervals import Period, Step, steps
from ..records import Dataset, DatasetRelease
from .book import opened
from .keys import WrongUsage, id_of
from .periods import counted, period_text
from .releases import FIELDS, Which
from .tables import Output, write_records
from .times import typed_time


def mark(
    context: typer.Context,
    state: Annotated[
        Literal["empty", "unobtainable"],
        typer.Argument(
            metavar="empty|unobtainable", help="Nothing was published, or the source no longer has it."
        ),
    ],
    dataset: Which,
    start: Annotated[
        datetime, typer.Option("--from", parser=typed_time, metavar="TIME", help="The first moment of it.")
    ],
    until: Annotated[
        datetime, typer.Option(parser=typed_time, metavar="TIME", help="The first moment behind it.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with each release.")],
    step: Annotated[
        Step | None,
        typer.Option(
            help="Of each period so long, in UTC; without it, of those that the book knows are missing."
        ),
    ] = None,
    output: Output = "table",
) -> None:
    """Records that what is missing within a span of time is empty or unobtainable: nobody need look for it.

    What is there already is left as it is. Ends with 1 where some could not be marked, such as what somebody
    is loading just now.
    """
    with opened(context) as api:
        of = Dataset(id=id_of(api, Dataset, dataset))
        due = _due(api, of.id, Period(start, until), step)
        told = [
            DatasetRelease(dataset=of, start_date=s, end_date=e, state=state, reason=reason) for s, e in due
        ]
        answers = api.post_dataset_releases(told, atomic=False)
    marked = [one for one in answers if isinstance(one, DatasetRelease)]
    write_records(marked, FIELDS, output)
    for period, answer in zip(due, answers, strict=True):
        if isinstance(answer, ObservatoryError):
            print(f"error: {period_text(*period)}: {answer}", file=sys.stderr)
    print(f"{len(marked)} of {counted(len(due), 'missing period')} marked {state}", file=sys.stderr)
    if len(marked) < len(due):
        raise typer.Exit(1)


def _due(
    api: ObservatoryApi, dataset_id: int, span: Period, step: Step | None
) -> list[tuple[datetime, datetime]]:
    """Returns the missing periods that lie within the span, and are to be marked."""
    if span.start_date >= span.end_date:
        raise WrongUsage("--until must be after --from")
    if step is None:
        known = api.get_missing(dataset_id=dataset_id, start_date=span.start_date, end_date=span.end_date)
        # A list is of what touches a span; what reaches beyond it is another matter.
        within = [one for one in known if one.start_date >= span.start_date and one.end_date <= span.end_date]
        return [(one.start_date, one.end_date) for one in within]
    try:
        candidates = list(steps(span, step))
    except ValueError as error:
        raise WrongUsage(f"--step {step}: {error}") from None
    return [(one.start_date, one.end_date) for one in api.get_missing_releases(dataset_id, candidates)]
