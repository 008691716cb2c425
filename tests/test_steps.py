"""Spans of whole hours, days, months and years, and the texts and names of tables that mean one."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.intervals import Period, Step, begun, merge, step_from, steps
from observatory.naming import period_named, table_name, table_period

times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
granularities = st.sampled_from(get_args(Step))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(times, st.integers(1, 40), granularities)
def test_steps_make_up_their_span_without_a_hole(start: datetime, count: int, step: Step) -> None:
    start = end = begun(start, step)
    for _ in range(count):
        end = step_from(end, step).end_date
    made = list(steps(Period(start, end), step))

    assert len(made) == count
    assert merge(made) == [Period(start, end)]
    assert all(one.end_date == next_one.start_date for one, next_one in pairwise(made))


def test_months_and_years_have_their_own_lengths() -> None:
    months = list(steps(Period(at("2023-12-01"), at("2024-04-01")), "month"))
    assert [(one.end_date - one.start_date).days for one in months] == [31, 31, 29, 31]
    years = list(steps(Period(at("2023-01-01"), at("2025-01-01")), "year"))
    assert [(one.end_date - one.start_date).days for one in years] == [365, 366]


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        ("2024-01-01T01:00", "2024-01-02", "day"),
        ("2024-01-01", "2024-01-02T00:30", "hour"),
        ("2024-01-02", "2024-02-01", "month"),
        ("2024-01-01", "2024-02-01", "year"),
    ],
)
def test_a_span_that_ends_within_a_step_is_refused(start: str, end: str, step: Step) -> None:
    with pytest.raises(ValueError, match=f"is not the beginning of a {step} in UTC"):
        list(steps(Period(at(start), at(end)), step))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2021", "2021-01-01", "2022-01-01"),
        ("202112", "2021-12-01", "2022-01-01"),
        ("2021-02", "2021-02-01", "2021-03-01"),
        ("20210102", "2021-01-02", "2021-01-03"),
        ("2021-01-02", "2021-01-02", "2021-01-03"),
        ("2021010223", "2021-01-02T23:00", "2021-01-03"),
        ("2021-01-02T05", "2021-01-02T05:00", "2021-01-02T06:00"),
    ],
)
def test_a_text_names_a_period_as_long_as_it_is_exact(text: str, start: str, end: str) -> None:
    assert period_named(text) == Period(at(start), at(end))


@pytest.mark.parametrize("text", ["", "US", "1", "2021-13", "20210230", "2021010224", "9999", "20210102x"])
def test_what_names_no_period_is_none(text: str) -> None:
    assert period_named(text) is None


def test_a_time_begins_a_period_whose_length_something_else_says() -> None:
    assert period_named("2021-01-02T00:00:00") is None
    assert period_named("2021-01-02T00:00:00", "day") == Period(at("2021-01-02"), at("2021-01-03"))
    assert period_named("2021-02-01T02:00:00+02:00", "month") == Period(at("2021-02-01"), at("2021-03-01"))
    assert period_named("2021-01-02T05:00:00", "day") is None


@given(times, granularities)
def test_the_period_of_a_table_is_what_its_name_was_made_of(start: datetime, step: Step) -> None:
    period = step_from(begun(start, step), step)
    name = table_name("t", "partitioned", step, period.start_date, period.end_date)
    assert table_period(name.removeprefix("t$"), "partitioned", step) == period

    snapshot = Period(period.start_date, period.start_date)
    name = table_name("t", "sharded", step, snapshot.start_date, snapshot.end_date)
    assert table_period(name.removeprefix("t"), "sharded", step) == snapshot


def test_a_table_of_another_kind_has_no_period_by_its_name() -> None:
    assert table_period("20210102", "regular") is None
    assert table_period("20210102", "partitioned") is None
    assert table_period("202101", "partitioned_day", "day") is None
    assert table_period("202101", "sharded") is None
    assert table_period("__NULL__", "partitioned", "day") is None
    day = timedelta(1)
    assert table_period("20210102", "partitioned_day", "day") == Period(
        at("2021-01-02"), at("2021-01-02") + day
    )
