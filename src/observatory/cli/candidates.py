"""The periods that a source offers, as `observatory releases missing` is given them: lines, CSV or JSON."""

import csv
import json
from collections.abc import Iterator
from typing import Any

from ..intervals import Period
from .keys import WrongUsage
from .times import time_of

CURE = "give START END on each line, CSV with the header start_date,end_date, or a JSON list of such objects"


def candidates(text: str) -> Iterator[Period]:
    """Yields the periods of a text; raises WrongUsage, with the place and the cure, for what is none."""
    begins = text.lstrip()
    if not begins:
        # A source that is down offers nothing either; that must not look as if nothing were missing.
        raise WrongUsage(f"no periods were given: {CURE}; an empty list is []")
    if begins.startswith(("[", "{")):
        yield from _of_json(begins)
        return
    lines = text.splitlines()
    if "start_date" in begins.splitlines()[0]:
        yield from _of_csv(lines)
        return
    for at, line in enumerate(lines, 1):
        said = line.partition("#")[0].strip()
        if said:
            # With commas or tabs between them, a time may be written with a space before its time of day.
            separator = next((one for one in ",\t" if one in said), None)
            yield _period(said.split(separator), f"line {at}")


def _of_csv(lines: list[str]) -> Iterator[Period]:
    while not lines[0].strip():
        lines = lines[1:]
    rows = csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ",", skipinitialspace=True)
    for row in rows:
        yield _period([row.get("start_date"), row.get("end_date")], f"line {rows.line_num}")


def _of_json(text: str) -> Iterator[Period]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongUsage(f"the periods are not JSON: {error}") from None
    listed = said if isinstance(said, list) else [said]
    for at, one in enumerate(listed):
        pair = [one.get("start_date"), one.get("end_date")] if isinstance(one, dict) else one
        yield _period(pair, f"[{at}]")


def _period(said: Any, place: str) -> Period:
    if not isinstance(said, list) or len(said) != 2 or not all(isinstance(one, str) for one in said):
        raise WrongUsage(f"{place} of the periods holds no start and end: {CURE}")
    try:
        period = Period(*map(time_of, said))
    except ValueError as error:
        raise WrongUsage(f"{place} of the periods: {error}") from None
    if period.start_date > period.end_date:
        raise WrongUsage(f"{place} of the periods ends before it starts")
    return period
