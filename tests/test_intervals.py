from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.intervals import Period, gaps, merge, moment, subtract

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)


def days(start: int, end: int) -> Period:
    return Period(DAY_0 + timedelta(start), DAY_0 + timedelta(end))


periods = st.tuples(st.integers(0, 12), st.integers(0, 4)).map(lambda p: days(p[0], p[0] + p[1]))


def moments(periods: list[Period]) -> set[float]:
    """The model: a period as the whole and half days in it."""
    found: set[float] = set()
    for period in periods:
        first, last = (period.start_date - DAY_0).days, (period.end_date - DAY_0).days
        found |= {first} if first == last else {half / 2 for half in range(2 * first, 2 * last)}
    return found


@given(st.lists(periods))
def test_merging_keeps_the_moments_in_the_fewest_periods(some: list[Period]) -> None:
    runs = merge(some)

    assert moments(runs) == moments(some)
    for run, behind in pairwise(runs):
        assert run.end_date < behind.start_date or (
            run.end_date == behind.start_date and behind.is_instant and not run.is_instant
        )


@given(st.lists(periods))
def test_merging_again_changes_nothing(some: list[Period]) -> None:
    assert merge(merge(some)) == merge(some)


@given(st.lists(periods), st.lists(periods))
def test_subtracting_leaves_what_is_not_covered(some: list[Period], covered: list[Period]) -> None:
    left = subtract(some, covered)

    assert left == merge(left)
    lasting = [period for period in covered if not period.is_instant]
    assert moments(left) - moments(covered) == moments(some) - moments(covered)
    assert not moments(left) & moments(lasting)


def test_gaps_are_what_the_runs_leave_of_a_span() -> None:
    assert gaps(days(0, 10), [days(2, 3), days(5, 12)]) == [days(0, 2), days(3, 5)]


@pytest.mark.parametrize(
    "value",
    [
        date(2021, 1, 1),
        datetime(2021, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))),
        pendulum.datetime(2021, 1, 1),
        pendulum.datetime(2021, 1, 1, 8, tz="Australia/Perth"),
    ],
)
def test_a_moment_is_a_plain_time_in_utc(value: date) -> None:
    assert moment(value) == DAY_0
    assert type(moment(value)) is datetime
    assert moment(value).tzinfo is UTC


def test_a_time_without_a_zone_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="add one"):
        moment(datetime(2021, 1, 1))
