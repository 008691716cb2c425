"""What a record must be beyond the types of its fields: times, relations, tags and extras. Pure.

The client applies the rules to what it sends and the ledger to what it is told, so that a mistake is named
where it is made, and nothing else is ever stored.
"""

import json
import re
from copy import copy
from datetime import UTC, date, datetime
from functools import cache
from math import isfinite
from typing import Any, get_args

import msgspec
from msgspec import UNSET

from .errors import Invalid
from .intervals import Moment, Period, moment
from .records import (
    Cadence,
    Dataset,
    DatasetRelease,
    R,
    Record,
    Run,
    Workflow,
    is_given,
    kind_of,
    relations,
)
from .wants import Offer

EXTRAS_DEPTH = 16
EXTRAS_BYTES = 64 * 1024
TAG_LENGTH = 250
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def normal(record: R) -> R:
    """Returns the record as it is sent and stored: times in UTC, a related record by its id only.

    Raises Invalid, naming the field and the cure, where a rule is broken.
    """
    kind = kind_of(record)
    made = copy(record)
    times, related = _shape(kind)
    for field in times:
        value = getattr(made, field)
        if value is UNSET or value is None or (type(value) is datetime and value.tzinfo is UTC):
            continue
        setattr(made, field, _moment(kind, field, value))
    for field, other in related:
        value = getattr(made, field)
        if value is not UNSET:
            setattr(made, field, other(id=_id(kind, field, value)))
    if extras := getattr(made, "extras", None):
        _check_extras(kind, extras)
    _settle(made)
    return made


def merged(kept: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Returns an object with a JSON merge patch applied (RFC 7396): what is null in it is removed."""
    made = dict(kept)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            below = made.get(key)
            made[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            made[key] = value
    return made


def period(told: Period, at: str = "") -> Period:
    """Returns a period in UTC; raises Invalid, naming the field and where it is, as normal does."""
    start, end = told.start_date, told.end_date
    if start.tzinfo is not UTC or end.tzinfo is not UTC:
        start = _moment(Period, f"{at}start_date", start)
        end = _moment(Period, f"{at}end_date", end)
        told = Period(start, end)
    if start > end:
        raise Invalid("Period ends before it starts", {f"{at}end_date": "must not be before start_date"})
    return told


def offer(told: Offer, at: str = "") -> Offer:
    """Returns an offer in UTC; raises Invalid, naming the field and where it is, as normal does."""
    covers = period(Period(told.start_date, told.end_date), at)
    published = told.published
    if published is not None and published.tzinfo is not UTC:
        published = _moment(Offer, f"{at}published", published)
    if told.extras:
        _check_extras(Offer, told.extras)
    facts = (told.version_label, published, told.size, told.digest, told.extras or None)
    return Offer(covers.start_date, covers.end_date, *facts)


def given(record: Record) -> dict[str, Any]:
    """Returns the fields that are given, with a related record as `<field>_id`."""
    related = {field for field, _ in _shape(kind_of(record))[1]}
    said: dict[str, Any] = {}
    for field in record.__struct_fields__:
        if (value := getattr(record, field)) is not UNSET:
            if field in related:
                said[f"{field}_id"] = value.id
            else:
                said[field] = value
    return said


def _settle(made: Record) -> None:
    """Brings into one spelling what only one kind has."""
    if isinstance(made, Workflow) and is_given(made.tags):
        made.tags = _tags(made.tags)
    if isinstance(made, Dataset) and isinstance(made.cadence, Cadence):
        made.cadence = _cadence(made.cadence)
    if isinstance(made, Dataset) and made.inputs:
        made.inputs = sorted(set(made.inputs))
    if isinstance(made, DatasetRelease):
        _check_period(made)
        if is_given(made.made_from):
            made.made_from = sorted(set(made.made_from or ())) or None
        if isinstance(made.run, Run) and type(made.run) is not Run:
            made.run = Run(*msgspec.structs.astuple(made.run))


@cache
def _shape(kind: type[Record]) -> tuple[list[str], list[tuple[str, type[Record]]]]:
    """Returns the fields that are times, and those that are related records."""
    fields = msgspec.structs.fields(kind)
    times = [f.name for f in fields if f.type == Moment or Moment in get_args(f.type)]
    return times, list(relations(kind).items())


def _moment(kind: type[msgspec.Struct], field: str, value: Any) -> datetime:
    if not isinstance(value, date):
        raise Invalid(f"{kind.__name__} has a wrong time", {field: f"{value!r} is no date or datetime"})
    try:
        return moment(value)
    except ValueError as error:
        raise Invalid(f"{kind.__name__} has a wrong time", {field: str(error)}) from None


def _id(kind: type[Record], field: str, value: Any) -> int:
    id = getattr(value, "id", UNSET)
    if not isinstance(id, int):
        raise Invalid(f"{kind.__name__} refers to a record without id", {field: "give its id"})
    return id


def _check_period(release: DatasetRelease) -> None:
    start, end = release.start_date, release.end_date
    if is_given(start) and is_given(end) and start > end:
        raise Invalid("DatasetRelease ends before it starts", {"end_date": "must not be before start_date"})


def _cadence(told: Cadence) -> Cadence:
    """Returns a cadence in one spelling; whether its cron and zone can be followed, the ledger knows."""
    begin = _moment(Cadence, "cadence.expected_from", told.expected_from)
    end = told.expected_until
    if end is not None and (end := _moment(Cadence, "cadence.expected_until", end)) <= begin:
        cure = {"cadence.expected_until": "must be after expected_from"}
        raise Invalid("Cadence ends before it begins", cure)
    for day in told.exclude:
        if not isinstance(day, date) or isinstance(day, datetime):
            raise Invalid("Cadence has a wrong date", {"cadence.exclude": f"{day!r} is no date"})
    exclude = sorted({date(day.year, day.month, day.day) for day in told.exclude})
    include = sorted({_moment(Cadence, "cadence.include", moment) for moment in told.include})
    return Cadence(told.cron, begin, told.timezone, told.each, exclude, include, end, told.grace)


def _tags(tags: Any) -> str:
    """Returns the tags in one spelling, whatever spaces the caller wrote in their JSON."""
    try:
        listed = json.loads(tags)
    except (TypeError, ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
        raise Invalid("Workflow has wrong tags", {"tags": 'must be a JSON list of texts, as in ["sales"]'})
    for tag in listed:
        if not 1 <= len(tag) <= TAG_LENGTH or _CONTROL.search(tag) or not tag.isprintable():
            cure = f"{tag[:40]!r} must be 1 to {TAG_LENGTH} printable characters"
            raise Invalid("Workflow has wrong tags", {"tags": cure})
    made = json.dumps(list(dict.fromkeys(listed)), ensure_ascii=False)
    if len(made.encode()) > EXTRAS_BYTES:
        raise Invalid("Workflow has wrong tags", {"tags": f"more than {EXTRAS_BYTES} bytes"})
    return made


def _check_extras(kind: type[msgspec.Struct], extras: Any) -> None:
    if not isinstance(extras, dict):
        raise Invalid(f"{kind.__name__} has wrong extras", {"extras": "must be an object"})
    if wrong := _unstorable(extras, EXTRAS_DEPTH):
        raise Invalid(f"{kind.__name__} has wrong extras", {"extras": wrong})
    if len(msgspec.json.encode(extras)) > EXTRAS_BYTES:
        raise Invalid(f"{kind.__name__} has wrong extras", {"extras": f"more than {EXTRAS_BYTES} bytes"})


def _unstorable(value: Any, depth: int) -> str | None:
    """Returns why a value cannot be kept as JSON, or None."""
    if depth == 0:
        return f"nested deeper than {EXTRAS_DEPTH}"
    match value:
        case None | bool():
            return None
        case str():
            return _unstorable_text(value)
        case int():
            return None if -(2**63) <= value < 2**63 else "a number of more than 64 bits: write it as text"
        case float():
            if not isfinite(value):
                return "a number that JSON does not have"
            # PostgreSQL answers it as a whole number, which must then be one that can be kept again.
            return None if abs(value) < 2**63 else "a number of 2^63 or more: write it as text"
        case dict():
            if any(not isinstance(key, str) for key in value):
                return "a key that is no text"
            return _first(
                _unstorable_text(key) or _unstorable(item, depth - 1) for key, item in value.items()
            )
        case list() | tuple():
            return _first(_unstorable(item, depth - 1) for item in value)
    return f"a {type(value).__name__}, which JSON does not have"


def _unstorable_text(text: str) -> str | None:
    if "\x00" in text:
        return "a NUL character, which cannot be stored"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "half of a surrogate pair, which is no character"
    return None


def _first(reasons: Any) -> str | None:
    return next((reason for reason in reasons if reason), None)
