"""`observatory releases withdraw`: what was found bad is to be loaded again."""

import sys
from datetime import timedelta
from typing import Annotated

import typer

from ..client import ObservatoryApi
from ..errors import NotFound, ObservatoryError
from ..intervals import Period
from ..records import Dataset, DatasetRelease
from .asking import agreed
from .book import opened
from .keys import WrongUsage, id_of, is_id
from .releases import FIELDS
from .show import moment_text
from .tables import Output, write_records
from .times import typed_time


def withdraw(
    context: typer.Context,
    which: Annotated[
        list[str],
        typer.Argument(metavar="WHICH", help="Ids of releases; or DATASET START END, those within a period."),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: what was found wrong.")],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even where there are several.")
    ] = False,
    output: Output = "table",
) -> None:
    """Withdraws releases that were found bad: their periods are missing again, and can be recorded anew.

    Of a period, all releases that lie within it are withdrawn; those that reach beyond it are not.
    """
    with opened(context) as api:
        of = None if all(map(is_id, which)) else _span(api, which)
        # All are read before the first is changed, so that a wrong id changes nothing.
        found = _within(api, *of) if of else [api.get_dataset_release(int(id)) for id in dict.fromkeys(which)]
        if len(found) > 1 and not yes:
            _show(found)
            if not agreed(f"Withdraw these {len(found)} releases?", yes, "say --yes to withdraw them"):
                return
        if of:
            dataset_id, within = of
            done = api.withdraw_releases(dataset_id, within.start_date, within.end_date, reason)
        else:
            done = _withdrawn(api, found, reason)
        write_records(done, FIELDS, output)


def _span(api: ObservatoryApi, which: list[str]) -> tuple[int, Period]:
    if len(which) != 3:
        raise WrongUsage("give the ids of releases, or DATASET START END")
    dataset, start, end = which
    within = Period(typed_time(start), typed_time(end))
    return id_of(api, Dataset, dataset), within


def _within(api: ObservatoryApi, dataset_id: int, within: Period) -> list[DatasetRelease]:
    # A list is of a span of time, and an instant has no length.
    end = max(within.end_date, within.start_date + timedelta(microseconds=1))
    touching = api.get_dataset_releases(None, dataset_id, within.start_date, end)
    found = [r for r in touching if r.start_date >= within.start_date and r.end_date <= within.end_date]
    if beyond := len(touching) - len(found):
        print(f"note: {beyond} more reach beyond the period and are left as they are", file=sys.stderr)
    if not found:
        period = f"{moment_text(within.start_date)} to {moment_text(within.end_date)}"
        raise NotFound(f"no release lies within {period}: see `observatory releases list {dataset_id}`")
    return found


def _show(found: list[DatasetRelease]) -> None:
    """Shows what is asked about, beside what the command answers."""
    for release in found:
        period = f"{moment_text(release.start_date)} to {moment_text(release.end_date)}"
        print(f"{release.id}\t{period}\t{release.state}", file=sys.stderr)


def _withdrawn(api: ObservatoryApi, found: list[DatasetRelease], reason: str) -> list[DatasetRelease]:
    done: list[DatasetRelease] = []
    for release in found:
        try:
            done.append(
                api.put_dataset_release(DatasetRelease(id=release.id, state="withdrawn", reason=reason))
            )
        except ObservatoryError:
            if done:
                print(
                    f"{len(done)} of {len(found)} were withdrawn; do it again for the rest", file=sys.stderr
                )
            raise
    return done
