"""What is to be recorded of the releases that something else knows of; the same for all who know any."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ...client import ObservatoryApi
from ...errors import ObservatoryError
from ...intervals import Period
from ...records import SETTLED, DatasetRelease, is_given
from ..keys import WrongUsage
from ..tables import write_table

FACTS = ("version_label", "published", "row_count", "digest", "state")
SHOWN = ["what", "start_date", "end_date", "row_count", "version_label", "why"]

DatasetName = Annotated[
    str,
    typer.Option("--dataset", metavar="DATASET", help="Its id, or organisation/workflow/dataset."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Record nothing, and list what would be recorded.")]


class Plan(NamedTuple):
    """What is to be recorded, how much is there already, and what the book says otherwise, with why."""

    new: list[DatasetRelease]
    there_already: int
    conflicts: list[tuple[DatasetRelease, str]]


def planned(recorded: Iterable[DatasetRelease], found: Iterable[DatasetRelease]) -> Plan:
    """Compares what is found with the book; of several for a period the last one counts."""
    current = {one.period: one for one in recorded}  # ordered by revision
    by_period: dict[Period, DatasetRelease] = {one.period: one for one in found}
    conflicts = [(one, why) for one in by_period.values() if (why := _differs(current.get(one.period), one))]
    new = [one for period, one in by_period.items() if period not in current]
    return Plan(new, len(by_period) - len(new) - len(conflicts), conflicts)


def carry_out(api: ObservatoryApi, dataset_id: int, found: Iterable[DatasetRelease], dry_run: bool) -> None:
    """Records what is to be recorded, or lists it; exits with 1 where the book says otherwise."""
    plan = planned(api.get_dataset_releases(dataset_id=dataset_id, history=True), found)
    conflicts = plan.conflicts
    if not dry_run:
        answers = zip(plan.new, api.post_dataset_releases(plan.new, atomic=False), strict=True)
        refused = [(one, str(answer)) for one, answer in answers if isinstance(answer, ObservatoryError)]
        conflicts = [*conflicts, *refused]
    rows = [_row("new", one, None) for one in plan.new] if dry_run else []
    rows += [_row("conflict", one, why) for one, why in conflicts]
    if rows:
        write_table(SHOWN, rows)
    done = "would be recorded" if dry_run else "recorded"
    count = len(plan.new) + len(plan.conflicts) - len(conflicts)
    counts = f"{count} {done}, {plan.there_already} there already, {len(conflicts)} in conflict"
    print(counts, file=sys.stderr)
    if conflicts:
        raise typer.Exit(1)


def read_text(file: Path) -> str:
    """Returns what a file holds; `-` is standard input."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongUsage(f"{file} is not UTF-8") from None


def _differs(here: DatasetRelease | None, told: DatasetRelease) -> str | None:
    """Returns what the book says otherwise, if anything."""
    if here is None:
        return None
    if here.state not in SETTLED:
        return f"release {here.id} is {here.state} in the book" + (f": {here.reason}" if here.reason else "")
    wanted = {fact: getattr(told, fact) for fact in FACTS} | {"state": told.state or "present"}
    other = [
        f"{fact} is {getattr(here, fact)!s} in the book, not {value!s}"
        for fact, value in wanted.items()
        if is_given(value) and value is not None and value != getattr(here, fact)
    ]
    return "; ".join(other) or None


def _row(what: str, release: DatasetRelease, why: str | None) -> list[Any]:
    facts = [getattr(release, field) for field in SHOWN[1:-1]]
    return [what, *(fact if is_given(fact) else None for fact in facts), why]
