"""Ticks become periods: right on the days on which clocks change, contiguous, each told once."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from observatory.errors import Invalid
from observatory.policies.cadence import Expected, check, expected
from observatory.records import Cadence

LONDON, NEW_YORK = "Europe/London", "America/New_York"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Each = Literal["interval", "hour", "day", "month", "year", "snapshot"]


def at(text: str) -> datetime:
    """Returns a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ticks(cron: str, zone: str, begin: str, end: str) -> list[str]:
    """Returns the local times of ticks between two local times, with the offset from UTC."""
    cadence = Cadence(cron, at("1900-01-01"), zone, "snapshot")
    since, until = (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)) for text in (begin, end))
    found = expected(cadence, since.astimezone(UTC), until.astimezone(UTC))
    return [one.due.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for one in found]


def spans(cadence: Cadence, since: str, until: str) -> list[tuple[str, str]]:
    """Returns the periods as texts in UTC."""
    found = expected(cadence, at(since), at(until))
    return [(f"{one.start_date:%Y-%m-%d %H:%M}", f"{one.end_date:%Y-%m-%d %H:%M}") for one in found]


# Hand-checked: London is put forward from 01:00 to 02:00 and back from 02:00 to 01:00, New York from 02:00
# to 03:00 and back from 02:00 to 01:00.
@pytest.mark.parametrize(
    ("cron", "zone", "day", "told"),
    [
        ("30 1 * * *", LONDON, "2024-03-31", ["31 02:00+0100"]),
        ("30 1 * * *", LONDON, "2024-10-27", ["27 01:30+0100"]),
        ("0 1,2 * * *", LONDON, "2024-03-31", ["31 02:00+0100"]),
        ("0 1,2 * * *", LONDON, "2024-10-27", ["27 01:00+0100", "27 02:00+0000"]),
        ("0 0 * * *", LONDON, "2024-03-31", ["31 00:00+0000"]),
        ("0 0 * * *", LONDON, "2024-10-27", ["27 00:00+0100"]),
        ("30 2 * * *", NEW_YORK, "2024-03-10", ["10 03:00-0400"]),
        ("30 1 * * *", NEW_YORK, "2024-03-10", ["10 01:30-0500"]),
        ("30 1 * * *", NEW_YORK, "2024-11-03", ["03 01:30-0400"]),
        ("30 2 * * *", NEW_YORK, "2024-11-03", ["03 02:30-0500"]),
        ("0 12 * * *", NEW_YORK, "2024-11-03", ["03 12:00-0500"]),
        ("0 0 * * *", "Africa/Cairo", "2024-04-26", ["26 01:00+0300"]),
    ],
)
def test_a_time_that_is_skipped_or_repeated_gives_one_tick(
    cron: str, zone: str, day: str, told: list[str]
) -> None:
    assert ticks(cron, zone, f"{day}T00:00", f"{day}T23:59") == told


@pytest.mark.parametrize(
    ("zone", "day", "count", "around"),
    [
        (LONDON, "2024-03-31", 23, ["31 00:00+0000", "31 02:00+0100", "31 03:00+0100"]),
        (LONDON, "2024-10-27", 25, ["27 00:00+0100", "27 01:00+0100", "27 01:00+0000", "27 02:00+0000"]),
        (NEW_YORK, "2024-03-10", 23, ["10 00:00-0500", "10 01:00-0500", "10 03:00-0400"]),
        (NEW_YORK, "2024-11-03", 25, ["03 00:00-0400", "03 01:00-0400", "03 01:00-0500", "03 02:00-0500"]),
        (LONDON, "2024-06-01", 24, ["01 00:00+0100", "01 01:00+0100"]),
    ],
)
def test_an_hourly_cron_ticks_each_hour_that_there_is(
    zone: str, day: str, count: int, around: list[str]
) -> None:
    found = ticks("0 * * * *", zone, f"{day}T00:00", f"{day}T23:59")

    assert len(found) == count
    assert found[: len(around)] == around


def test_a_daily_job_at_a_skipped_time_gives_one_tick_each_day_of_a_century() -> None:
    for zone, cron in ((LONDON, "30 1 * * *"), (NEW_YORK, "30 2 * * *")):
        found = expected(Cadence(cron, at("1950-01-01"), zone), at("1950-01-01"), at("2050-01-01"))
        days = [one.start_date.astimezone(ZoneInfo(zone)).date() for one in found]
        assert len(found) > 36_000
        assert all(after - before == DAY for before, after in pairwise(days))


def test_a_day_has_as_many_hours_as_the_clocks_give_it() -> None:
    ways: list[Each] = ["interval", "day"]
    for each in ways:
        london = Cadence("0 0 * * *", at("2024-01-01"), LONDON, each)
        assert spans(london, "2024-03-31T12:00", "2024-04-02") == [
            ("2024-03-31 00:00", "2024-03-31 23:00"),
            ("2024-03-31 23:00", "2024-04-01 23:00"),
        ]
        assert spans(london, "2024-10-27T01:00", "2024-10-28T01:00") == [
            ("2024-10-26 23:00", "2024-10-28 00:00"),
        ]
    new_york = Cadence("0 0 * * *", at("2024-01-01"), NEW_YORK, "day")
    lengths = [
        one.end_date - one.start_date for one in expected(new_york, at("2024-01-02"), at("2025-01-01"))
    ]
    assert [lengths.count(hours * HOUR) for hours in (23, 24, 25)] == [1, 363, 1]


def test_a_day_whose_midnight_is_skipped_ends_at_the_next_midnight() -> None:
    cairo = Cadence("0 0 * * *", at("2024-04-20"), "Africa/Cairo", "day")

    assert spans(cairo, "2024-04-25T22:00", "2024-04-28") == [
        ("2024-04-24 22:00", "2024-04-25 22:00"),
        ("2024-04-25 22:00", "2024-04-26 21:00"),
        ("2024-04-26 21:00", "2024-04-27 21:00"),
    ]


def test_an_hour_is_an_hour_on_any_day() -> None:
    hourly = Cadence("0 * * * *", at("2024-01-01"), LONDON, "hour")

    found = expected(hourly, at("2024-10-26T12:00"), at("2024-10-28"))

    assert len(found) == 36
    assert all(one.end_date - one.start_date == HOUR for one in found)
    assert all(before.end_date == after.start_date for before, after in pairwise(found))


def test_months_and_leap_years_have_their_days() -> None:
    monthly = Cadence("0 0 1 * *", at("2024-01-01"), each="month")
    assert spans(monthly, "2024-02-01", "2024-04-01") == [
        ("2024-01-01 00:00", "2024-02-01 00:00"),
        ("2024-02-01 00:00", "2024-03-01 00:00"),
    ]
    yearly = Cadence("0 0 29 2 *", at("2020-01-01"))
    assert spans(yearly, "2020-03-01", "2029-01-01") == [
        ("2020-02-29 00:00", "2024-02-29 00:00"),
        ("2024-02-29 00:00", "2028-02-29 00:00"),
    ]
    of_a_year = Cadence("0 0 29 2 *", at("2020-01-01"), each="year")
    assert spans(of_a_year, "2020-03-01", "2026-01-01") == [
        ("2020-02-29 00:00", "2021-02-28 00:00"),
        ("2024-02-29 00:00", "2025-02-28 00:00"),
    ]
    assert spans(Cadence("0 0 29 2 *", at("1896-01-01")), "1897-01-01", "1905-01-01") == [
        ("1896-02-29 00:00", "1904-02-29 00:00")
    ]


def test_the_last_day_of_a_month_is_named_by_its_letter() -> None:
    ends = Cadence("0 0 L * *", at("2023-12-01"))

    assert spans(ends, "2024-01-01", "2024-04-01") == [
        ("2023-12-31 00:00", "2024-01-31 00:00"),
        ("2024-01-31 00:00", "2024-02-29 00:00"),
        ("2024-02-29 00:00", "2024-03-31 00:00"),
    ]


def test_business_days_without_holidays_last_up_to_the_next_one() -> None:
    christmas = [date(2024, 12, 25), date(2024, 12, 26)]
    daily = Cadence("0 18 * * MON-FRI", at("2024-12-01"), LONDON, exclude=christmas)

    assert spans(daily, "2024-12-24", "2024-12-31") == [
        ("2024-12-23 18:00", "2024-12-24 18:00"),
        ("2024-12-24 18:00", "2024-12-27 18:00"),
        ("2024-12-27 18:00", "2024-12-30 18:00"),
    ]
    snapshots = Cadence("0 18 * * MON-FRI", at("2024-12-01"), LONDON, "snapshot", exclude=christmas)
    assert [start for start, _ in spans(snapshots, "2024-12-24", "2024-12-30")] == [
        "2024-12-24 18:00",
        "2024-12-27 18:00",
    ]


def test_a_local_date_is_excluded_whatever_date_it_is_in_utc() -> None:
    tokyo = Cadence("0 8 * * *", at("2024-01-01"), "Asia/Tokyo", "snapshot", exclude=[date(2024, 1, 3)])

    # 8 o'clock on the third is 23 o'clock on the second in UTC.
    assert [start for start, _ in spans(tokyo, "2024-01-01", "2024-01-05")] == [
        "2024-01-01 23:00",
        "2024-01-03 23:00",
        "2024-01-04 23:00",
    ]


def test_a_moment_that_is_included_begins_a_period_even_on_an_excluded_date() -> None:
    extra = [at("2024-01-06T12:00"), at("2024-01-02"), at("2023-12-31")]
    daily = Cadence("0 0 * * *", at("2024-01-01"), exclude=[date(2024, 1, 6)], include=extra)

    assert spans(daily, "2024-01-05", "2024-01-08") == [
        ("2024-01-04 00:00", "2024-01-05 00:00"),
        ("2024-01-05 00:00", "2024-01-06 12:00"),
        ("2024-01-06 12:00", "2024-01-07 00:00"),
    ]
    assert spans(daily, "2024-01-01", "2024-01-02") == []


def test_only_what_begins_in_the_time_of_the_cadence_is_expected() -> None:
    daily = Cadence("0 0 * * *", at("2024-01-02T00:00"), expected_until=at("2024-01-04"), grace=3600)

    found = expected(daily, at("2000-01-01"), at("2100-01-01"))

    days = [at(f"2024-01-0{n}") for n in (2, 3, 4)]
    assert found == [Expected(s, e, e, e + HOUR) for s, e in pairwise(days)]
    assert expected(daily, at("2024-01-04"), at("2024-01-05")) == found[1:]  # the last one ends as it does
    assert expected(daily, at("2024-01-05"), at("2100-01-01")) == []
    assert expected(daily, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)) == found


def test_what_ends_on_one_day_is_told_in_the_order_in_which_it_is_due() -> None:
    monthly = Cadence("0 1,23 28-31 * *", at("2023-01-01"), each="month")

    found = expected(monthly, at("2023-02-01"), at("2023-03-01"))

    assert len(found) == 8
    assert found == sorted(found, key=lambda one: (one.due, one.start_date))


units: st.SearchStrategy[Each] = st.sampled_from(["interval", "hour", "day", "month", "year", "snapshot"])
zones = st.sampled_from([LONDON, NEW_YORK, "UTC", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Nuuk"])
crons = st.sampled_from(
    [
        "0 0 * * *",
        "30 1 * * *",
        "30 2 * * *",
        "0 * * * *",
        "*/20 * * * *",
        "15 */3 * * *",
        "0,30 1-3 * * *",
        "30 23 * * SAT",
        "0 6 * * MON-FRI",
        "0 0 1 * *",
        "30 1 28-31 * *",
        "0 0 L * *",
        "0 12 * * FRI#2",
        "0 0 29 2 *",
        "0 3 1,15 * MON",
    ]
)
moments = st.datetimes(datetime(2019, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))
near = st.integers(0, 60 * 24 * 40).map(lambda minutes: timedelta(minutes=minutes))


@st.composite
def cadences(draw: st.DrawFn) -> Cadence:
    begin = draw(moments)
    end = draw(st.none() | near.map(lambda length: begin + length))
    exclude = draw(st.lists(st.dates(date(2019, 1, 1), date(2026, 1, 1)), max_size=30))
    include = draw(st.lists(moments, max_size=5))
    return Cadence(
        draw(crons), begin, draw(zones), draw(units), exclude, include, end, draw(st.integers(0, 99))
    )


@settings(deadline=None)
@given(cadences(), moments, near, near)
def test_what_is_expected_of_two_times_together_is_what_is_of_each(
    cadence: Cadence, a: datetime, to_b: timedelta, to_c: timedelta
) -> None:
    b = a + to_b
    c = b + to_c

    whole = expected(cadence, a, c)

    assert whole == expected(cadence, a, b) + expected(cadence, b, c)
    assert whole == sorted(set(whole), key=lambda one: (one.due, one.start_date))
    assert all(a <= one.due == one.end_date < c for one in whole)
    assert all(one.late - one.due == timedelta(seconds=cadence.grace) for one in whole)
    assert all(cadence.expected_from <= one.start_date for one in whole)
    assert all(not cadence.expected_until or one.start_date < cadence.expected_until for one in whole)
    if cadence.each == "interval":
        assert all(before.end_date == after.start_date for before, after in pairwise(whole))
    if cadence.each == "snapshot":
        assert all(one.start_date == one.end_date for one in whole)


fields = [
    st.sampled_from(["*", "0", "30", "*/15", "5,59", "0-10/3"]),
    st.sampled_from(["*", "0", "1", "2", "23", "*/2", "0-4", "1,2,3", "22,23"]),
    st.sampled_from(["*", "1", "15", "L", "LW", "28-31", "*/2"]),
    st.sampled_from(["*", "3", "10,11", "2", "*/4"]),
    st.sampled_from(["*", "SUN", "MON-FRI", "6L", "MON#1", "7"]),
]
# Where clocks change by whole hours: of changes by half an hour, the library loses ticks of hourly crons.
WHOLE = [LONDON, NEW_YORK, "UTC", "America/Nuuk", "America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia"]


@settings(deadline=None)
@given(
    st.tuples(*fields).map(" ".join),
    st.sampled_from(WHOLE),
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),
)
def test_the_ticks_are_those_of_the_library(cron: str, zone: str, start: datetime) -> None:
    begin = start.replace(tzinfo=UTC, second=0, microsecond=0)
    asked = CronSim(cron, (begin - timedelta(seconds=1)).astimezone(ZoneInfo(zone)))
    end = begin + 20 * DAY
    theirs = [tick.astimezone(UTC) for tick in takewhile(lambda tick: tick < end, asked)]

    found = expected(Cadence(cron, begin, zone, "snapshot"), begin, end)

    assert [one.due for one in found] == list(dict.fromkeys(theirs))


NOW = at("2026-01-01")


@pytest.mark.parametrize(
    ("field", "cadence"),
    [
        ("cadence.timezone", Cadence("0 0 * * *", NOW, "Europe/Londn")),
        ("cadence.timezone", Cadence("0 0 * * *", NOW, "../../etc/passwd")),
        ("cadence.timezone", Cadence("0 0 * * *", NOW, "Europe")),
        ("cadence.timezone", Cadence("0 0 * * *", NOW, "a" * 250)),
        ("cadence.cron", Cadence("0 0 * *", NOW)),
        ("cadence.cron", Cadence("0 0 0 * * *", NOW)),
        ("cadence.cron", Cadence("@daily", NOW)),
        ("cadence.cron", Cadence("H H * * *", NOW)),
        ("cadence.cron", Cadence("R R * * *", NOW)),
        ("cadence.cron", Cadence("60 0 * * *", NOW)),
        ("cadence.cron", Cadence("0 0 31 2 *", NOW)),
        ("cadence.cron", Cadence("", NOW)),
        ("cadence.cron", Cadence("* * * * *", at("0001-01-01"))),
        ("cadence.cron", Cadence("* * * * *", at("2025-01-01"))),
    ],
)
def test_a_cadence_that_cannot_be_followed_is_refused_by_its_field(field: str, cadence: Cadence) -> None:
    with pytest.raises(Invalid) as refused:
        check(cadence, NOW)

    assert set(refused.value.fields) == {field}


@pytest.mark.parametrize(
    "cadence",
    [
        Cadence("* * * * *", NOW),
        Cadence("* * * * *", at("1990-01-01"), expected_until=at("1991-01-01")),
        Cadence("0 0 * * *", at("0001-01-01"), LONDON),
        Cadence("0 * * * *", at("1990-01-01"), NEW_YORK),
        Cadence("0 0 LW * *", NOW),
        Cadence("0 0 * JAN-MAR MON#1", NOW),
    ],
)
def test_a_cadence_that_can_be_followed_is_accepted(cadence: Cadence) -> None:
    check(cadence, NOW)


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("0123456789*/,-#LWHR? ", max_size=30), st.text(max_size=20))
def test_whatever_is_no_cron_and_no_zone_is_refused_and_nothing_else_happens(cron: str, zone: str) -> None:
    for cadence in (Cadence(cron, NOW), Cadence("0 0 * * *", NOW, zone)):
        try:
            check(cadence, NOW)
        except Invalid:
            continue
        expected(cadence, NOW, NOW + DAY)
