"""What a source offers, as `observatory probe` is given it: a JSON object on each line, or CSV."""

import csv
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from ..wants import Offer
from .keys import WrongUsage
from .times import time_of

FIELDS = Offer.__struct_fields__
TIMES = ("start_date", "end_date", "published")
CURE = f"give a JSON object on each line, or CSV, with {', '.join(FIELDS)}"


def offers_of(text: str) -> Iterator[Offer]:
    """Yields the offers of a text; raises WrongUsage, with the place and the cure, for what is none."""
    begins = text.lstrip()
    if not begins:
        # A source that is down says nothing either; that must not look as if it offered nothing.
        raise WrongUsage(f"no offers were given: {CURE}; of a source that offers nothing, the header only")
    lines = text.splitlines()
    rows = _of_json(lines) if begins.startswith("{") else _of_csv(lines)
    for line, said in rows:
        yield _offer(said, line)


def _of_json(lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WrongUsage(f"line {line} of the offers is not JSON: {error}") from None
        if not isinstance(said, dict):
            raise WrongUsage(f"line {line} of the offers is no object: {CURE}")
        yield line, said


def _of_csv(lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    blank = next(at for at, line in enumerate(lines) if line.strip())
    lines = lines[blank:]
    rows = csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ",", skipinitialspace=True)
    for required in ("start_date", "end_date"):
        if required not in (rows.fieldnames or ()):
            raise WrongUsage(f"the offers begin with no header that names {required}: {CURE}")
    for row in rows:
        line = blank + rows.line_num
        if None in row:
            raise WrongUsage(f"line {line} of the offers has more values than the header names")
        # Nothing between two commas is not given; of JSON, an object or a number is meant.
        yield line, {field: _plain(field, value) for field, value in row.items() if value}


def _plain(field: str, value: str) -> Any:
    if field == "size" and value.isdecimal() and value.isascii():
        return int(value)
    return value


def _offer(said: dict[str, Any], line: int) -> Offer:
    if unknown := [field for field in said if field not in FIELDS]:
        raise WrongUsage(
            f"line {line} of the offers has {unknown[0]!r}, which is none of {', '.join(FIELDS)}"
        )
    try:
        times = {field: time_of(said[field]) for field in TIMES if isinstance(said.get(field), str)}
        return msgspec.convert({**said, **times}, Offer)
    except (ValueError, msgspec.ValidationError) as error:
        raise WrongUsage(f"line {line} of the offers: {error}") from None
