"""`observatory adopt-from csv`: releases listed in a file, a line for each."""

import csv
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo

import typer

from ...errors import Invalid
from ...intervals import Period, moment
from ...records import Dataset, DatasetRelease, Settled
from ...rules import normal
from ..book import opened
from ..keys import WrongUsage, id_of
from .plan import DatasetName, DryRun, carry_out, read_text

TIMES = ("start_date", "end_date", "published", "ingestion_start", "ingestion_end")
TEXTS = ("version_label", "digest", "state", "reason")
KNOWN = (*TIMES, *TEXTS, "row_count")
NAMED = 20  # so many wrong lines are named


def delivered(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="With a header; - is standard input.")],
    dataset: DatasetName,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Of dates and times that name none, as Europe/London."),
    ] = None,
    skip_wrong: Annotated[
        bool, typer.Option("--skip-wrong", help="Record the others where lines are wrong.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Records the releases that are listed in a CSV file, with the columns start_date and end_date.

    It may have those of row_count, digest, version_label, published, ingestion_start, ingestion_end, state
    and reason. A date is its midnight in UTC or in the zone of --timezone; a time of day needs an offset or
    that option.
    Where a line is wrong it is named, and nothing is recorded.
    """
    zone = _zone(timezone)
    text = read_text(file)
    wrong: list[str] = []
    found = list(_releases(text, zone, wrong, str(file)))
    if wrong:
        more = [f"and {len(wrong) - NAMED} more lines"] if len(wrong) > NAMED else []
        if not skip_wrong:
            raise WrongUsage("\n".join([*wrong[:NAMED], *more, "nothing is recorded: see --skip-wrong"]))
        print("\n".join(f"skipped: {one}" for one in [*wrong[:NAMED], *more]), file=sys.stderr)
    with opened(context) as api:
        id = id_of(api, Dataset, dataset)
        for release in found:
            release.dataset = Dataset(id=id)
        carry_out(api, id, found, dry_run)


def _releases(text: str, zone: ZoneInfo | None, wrong: list[str], file: str) -> Iterator[DatasetRelease]:
    """Yields the releases of the lines that are right, and notes what is wrong with the others."""
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True, strict=True)
    header = rows.fieldnames or []
    if missing := [name for name in ("start_date", "end_date") if name not in header]:
        raise WrongUsage(f"the header has no {' and no '.join(missing)}; known are {', '.join(KNOWN)}")
    if unknown := [name for name in header if name not in KNOWN]:
        raise WrongUsage(f"the columns {', '.join(unknown)} are not known; known are {', '.join(KNOWN)}")
    lines: dict[Period, int] = {}
    try:
        for row in rows:
            try:
                release = _release(row, zone, f"{file}, line {rows.line_num}")
            except ValueError as error:
                wrong.append(f"line {rows.line_num}: {error}")
                continue
            before = lines.setdefault(release.period, rows.line_num)
            if before != rows.line_num:
                wrong.append(f"line {rows.line_num}: is of the same period as line {before}")
                continue
            yield release
    except csv.Error as error:
        raise WrongUsage(f"line {rows.line_num}: {error}") from None


def _release(row: dict[str | Any, Any], zone: ZoneInfo | None, place: str) -> DatasetRelease:
    if None in row or None in row.values():
        raise ValueError("has more or fewer fields than the header")
    said: dict[str, Any] = {name: value.strip() for name, value in row.items() if value.strip()}
    for name in TIMES:
        if name in said:
            said[name] = _time(name, said[name], zone)
    if absent := [name for name in ("start_date", "end_date") if name not in said]:
        raise ValueError(f"{' and '.join(absent)} must be given")
    if count := said.get("row_count"):
        if not (count.isdecimal() and count.isascii() and len(count) < 19):
            raise ValueError(f"row_count {count!r} is no number of rows")
        said["row_count"] = int(count)
    if said.get("state", "present") not in get_args(Settled):
        raise ValueError(f"state {said['state']!r} is none of {', '.join(get_args(Settled))}")
    said["reason"] = f"adopted: {said.get('reason', 'listed in a file')}"
    release = DatasetRelease(extras={"evidence": {"listed": place}}, **said)
    try:
        return normal(release)
    except Invalid as error:
        raise ValueError("; ".join(f"{field} {why}" for field, why in error.fields.items())) from None


def _time(name: str, text: str, zone: ZoneInfo | None) -> datetime:
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no time: write 2021-01-31T12:00:00+02:00") from None
    if said.tzinfo:
        return moment(said)
    if zone is None and not _is_date(text):
        raise ValueError(f"{name} {text!r} has no offset: add one, or say --timezone")
    local: tzinfo = zone or UTC
    at, later = said.replace(tzinfo=local), said.replace(tzinfo=local, fold=1)
    if at.utcoffset() != later.utcoffset():
        raise ValueError(f"{name} {text!r} is twice or never in {zone}, when clocks change: add its offset")
    return moment(at)


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        raise WrongUsage(f"--timezone {name!r} is no time zone: write it as Europe/London") from None
