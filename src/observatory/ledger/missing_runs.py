"""What is missing as runs of periods, put together from the rows where they begin and end."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from ..records import Reason
from ..wants import MissingRun
from . import spots
from .database import Transaction
from .holdings import named
from .missing_rows import Asked, Place
from .neighbours import COUNTED, given
from .spots import AHEAD, Spot

CHUNK = 2000  # rows that are read at a time, at least, where not every run is asked for
FEWEST = 4  # rows in which there is a whole run and the beginning of the next, whatever they are


class Run(NamedTuple):
    """Rows one behind another that are missing for the same reason, of which not all are read."""

    first: Spot
    last: Spot
    periods: int  # that are read
    has_others: bool


async def runs_of(
    tx: Transaction, asked: Asked, limit: int, after: Place | None
) -> tuple[list[MissingRun], Place | None]:
    """Returns a page of the runs behind a place, and behind which place the next page is, if there is one."""
    # In a span few rows are expected, and those of runs that begin before it would have to be looked for.
    is_whole = asked.span is not None
    read = spots.all_of if is_whole else spots.edges
    # Of scattered rows each is a run; where they are more, what is left is read with the next ones.
    size = max(limit + 2, CHUNK if asked.reasons else FEWEST)
    found: list[Run] = []
    growing: list[Run] = []
    place, is_last = after, False
    while not is_last and len(found) <= limit:
        told, is_last = await read(tx, asked, size, place)
        place = told[-1].place if told else place
        grow(growing, told, is_whole)
        done = growing if is_last else growing[:-1]
        found += [run for run in done if _is_asked(run, asked)]
        growing = growing[-1:]
    page = found[:limit]
    return await as_told(tx, page), page[-1].last.place if len(found) > limit else None


def grow(runs: list[Run], told: Iterable[Spot], is_whole: bool) -> None:
    """Adds rows in their order to runs, the last of which may go on; `is_whole` if none is left out."""
    for spot in told:
        if runs and _goes_on(runs[-1].last, spot, is_whole):
            run = runs[-1]
            is_known = is_whole or spot.apart or run.last.apart or spot.is_next_to(run.last)
            runs[-1] = Run(run.first, spot, run.periods + 1, run.has_others or not is_known)
        else:
            runs.append(Run(spot, spot, 1, False))


def _goes_on(last: Spot, spot: Spot, is_whole: bool) -> bool:
    if (last.dataset, last.reason, last.note) != (spot.dataset, spot.reason, spot.note):
        return False
    # Where all are told, those that have a length and go on are next to one another.
    may_be_apart = last.start == last.end and spot.start == spot.end if is_whole else True
    return spot.is_next_to(last) or (may_be_apart and spot.touches_before())


def _is_asked(run: Run, asked: Asked) -> bool:
    reason = run.first.reason
    return reason in asked.reasons if asked.reasons else reason != AHEAD


async def as_told(tx: Transaction, runs: Sequence[Run]) -> list[MissingRun]:
    """Returns runs as they are told, with the rows counted that were not read."""
    datasets = await named(tx, {run.first.dataset for run in runs}) if runs else {}
    partial = [(*run.first[:3], *run.last[1:3]) for run in runs if run.has_others]
    rows = await tx.rows(COUNTED, {"places": given(partial)}) if partial else []
    counts = iter([periods for _, periods in sorted(tuple(row) for row in rows)])
    return [
        MissingRun(
            datasets[run.first.dataset],
            run.first.start,
            run.last.end,
            next(counts) if run.has_others else run.periods,
            cast(Reason, run.first.reason),
            run.first.since,
            run.first.note,
            run.first.start == run.first.end,
        )
        for run in runs
    ]
