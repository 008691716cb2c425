from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory import Invalid, Period
from observatory.airflow import partition_key, period_of

MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.dates().map(
    lambda day: datetime.combine(day, datetime.min.time(), UTC)
)


@given(MOMENTS, MOMENTS)
def test_a_key_names_its_period_and_no_other(one: datetime, other: datetime) -> None:
    period = Period(min(one, other), max(one, other))
    key = partition_key(period)
    assert period_of(key) == period
    assert len(key) <= 250


def test_keys_are_written_as_people_write_them() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert partition_key(Period(day, datetime(2026, 2, 1, tzinfo=UTC))) == "2026-01-01/2026-02-01"
    assert partition_key(Period(day, day)) == "2026-01-01"
    hour = timedelta(hours=6)
    assert partition_key(Period(day, day + hour)) == "2026-01-01T00:00:00Z/2026-01-01T06:00:00Z"
    assert period_of("2026-01-01T02:00:00+02:00") == Period(day, day)
    assert period_of("2026-01-01/2026-01-01T06:00:00Z") == Period(day, day + hour)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "january",
        "2026-01-01/",
        "2026-02-01/2026-01-01",
        "2026-01-01/2026-01-02/2026-01-03",
        "2026-01-01T00:00:00",
    ],
)
def test_what_is_no_period_is_refused_with_the_form(key: str) -> None:
    with pytest.raises(Invalid, match="write it as 2026-01-01/2026-02-01"):
        period_of(key)
