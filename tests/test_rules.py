"""The rules hold for whatever is told: what is accepted is kept as it is meant, the rest is named."""

import json
import math
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observatory import Dataset, DatasetRelease, Invalid, Organisation, Period, Run, Workflow
from observatory.records import Record, unset
from observatory.rules import EXTRAS_BYTES, EXTRAS_DEPTH, normal, period

offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=offsets)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
LARGEST = math.nextafter(2.0**63, 0)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(-LARGEST, LARGEST)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)
BAD: list[object] = [math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, 1e300, "a\x00", "\ud800", "a\udfffb"]
BAD += [{1: 2}, {"a\x00": 1}, {"\ud800": 1}, {"a", "b"}, b"bytes", datetime(2021, 1, 1), object()]
bad_values = st.sampled_from(BAD)
tags = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)


def refusal(record: Record) -> Invalid | None:
    """Returns the error where a record is refused."""
    try:
        normal(record)
    except Invalid as refused:
        return refused
    return None


@given(times)
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
@example(datetime.min.replace(tzinfo=timezone(timedelta(hours=10))))
@example(datetime.max.replace(tzinfo=timezone(timedelta(hours=-10))))
def test_a_time_is_the_same_moment_in_utc_or_refused(time: datetime) -> None:
    told = DatasetRelease(published=time)
    try:
        utc = time.astimezone(UTC)
    except OverflowError:
        with pytest.raises(Invalid) as refused:
            normal(told)
        assert set(refused.value.fields) == {"published"}
    else:
        kept = normal(told).published
        assert kept == utc
        assert kept is not None
        assert kept.tzinfo is UTC
        assert type(kept) is datetime


@given(st.datetimes())
def test_a_time_without_a_zone_is_refused(time: datetime) -> None:
    with pytest.raises(Invalid, match="add one") as refused:
        normal(DatasetRelease(start_date=time))
    assert set(refused.value.fields) == {"start_date"}


@given(st.dates())
def test_a_date_is_its_midnight(day: date) -> None:
    kept = normal(DatasetRelease(start_date=day)).start_date  # type: ignore[arg-type] # works all the same

    assert kept == datetime(day.year, day.month, day.day, tzinfo=UTC)


@pytest.mark.parametrize("value", ["2021-01-01", 1609459200, 1.5, object(), [], True])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(Invalid, match="is no date or datetime"):
        normal(DatasetRelease(start_date=value))


@given(times, times)
def test_a_release_may_not_end_before_it_starts(start: datetime, end: datetime) -> None:
    release = DatasetRelease(start_date=start, end_date=end)
    refused = refusal(release)
    if refused is None:
        assert start <= end
        assert normal(release).period == period(Period(start, end))
        return
    assert (
        end < start if "before" in refused.fields.get("end_date", "") else "outside the years" in str(refused)
    )
    with pytest.raises(Invalid) as named:
        period(Period(start, end), "available[3].")
    assert all(field.startswith("available[3].") for field in named.value.fields)


@given(st.dictionaries(texts, values, max_size=5))
def test_extras_are_kept_as_they_are(extras: dict[str, Any]) -> None:
    before = deepcopy(extras)
    kept = normal(Organisation(name="a", extras=extras)).extras

    assert kept == before == extras
    assert msgspec.json.decode(msgspec.json.encode(kept)) == kept


@given(st.dictionaries(texts, values, max_size=2), texts, bad_values, st.integers(0, 10))
def test_extras_that_json_does_not_have_are_refused(
    extras: dict[str, Any], key: str, bad: object, depth: int
) -> None:
    for level in range(depth):
        bad = [bad] if level % 2 else {"a": bad}
    with pytest.raises(Invalid) as refused:
        normal(Organisation(name="a", extras={**extras, key: bad}))
    assert set(refused.value.fields) == {"extras"}


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_extras_are_neither_too_deep_nor_too_large(wrap: Any) -> None:
    def nested(levels: int) -> Any:
        made: Any = 1
        for _ in range(levels):
            made = wrap(made)
        return {"a": made}

    deepest = EXTRAS_DEPTH - 2  # beside the extras themselves and what is innermost
    assert normal(Organisation(extras=nested(deepest))).extras == nested(deepest)
    for levels in (deepest + 1, 10_000):
        with pytest.raises(Invalid, match="nested deeper"):
            normal(Organisation(extras=nested(levels)))
    with pytest.raises(Invalid, match="bytes"):
        normal(Organisation(extras={"a": "x" * EXTRAS_BYTES}))


@given(st.lists(tags, max_size=8), st.booleans())
def test_tags_are_one_text_however_they_are_told(told: list[str], as_text: bool) -> None:
    spaced = json.dumps(told, indent=2, ensure_ascii=True)
    workflow = Workflow(tags=spaced if as_text else told)  # type: ignore[arg-type] # a list works too
    kept = normal(workflow).tags

    assert json.loads(kept) == list(dict.fromkeys(told))
    assert kept == normal(Workflow(tags=kept)).tags


@given(
    st.text(max_size=30) | st.sampled_from(["[1]", '["a", 2]', "{}", "null", '[["a"]]', '[""]', "[" * 10_000])
)
def test_tags_are_a_list_of_texts_or_refused(told: str) -> None:
    if refused := refusal(Workflow(tags=told)):
        assert set(refused.fields) == {"tags"}
    else:
        kept = json.loads(normal(Workflow(tags=told)).tags)
        assert all(isinstance(tag, str) and tag for tag in kept)


@given(times, times, st.dictionaries(texts, values, max_size=2))
def test_what_is_normal_stays_so_and_what_was_told_is_not_touched(
    start: datetime, end: datetime, extras: dict[str, Any]
) -> None:
    told = DatasetRelease(
        dataset=Dataset(id=3, name="books"),
        start_date=start,
        end_date=end,
        extras=extras,
        run=Run(dag_id="a"),
    )
    before = deepcopy(told)
    try:
        kept = normal(told)
    except Invalid:
        return
    finally:
        assert told == before
    assert normal(kept) == kept
    assert kept.dataset == Dataset(id=3)


@pytest.mark.parametrize("related", [None, 3, "3", Dataset(), Dataset(name="books"), {"id": 3}, unset])
def test_a_related_record_needs_its_id(related: Any) -> None:
    if related is unset:
        assert normal(DatasetRelease(dataset=related)) == DatasetRelease()
        return
    with pytest.raises(Invalid, match="give its id"):
        normal(DatasetRelease(dataset=related))
