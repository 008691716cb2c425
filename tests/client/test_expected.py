"""What is expected, asked and settled over HTTP: clocks that change, leap days, lengths of all sorts."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from observatory import Cadence, Dataset, DatasetRelease, ObservatoryApi, Period
from observatory.wants import Offer

DAY, HOUR = timedelta(1), timedelta(hours=1)


def expect(
    api: ObservatoryApi, dataset: Dataset, cron: str, first: datetime, last: datetime, **by: Any
) -> None:
    api.put_dataset(Dataset(id=dataset.id, cadence=Cadence(cron, first, expected_until=last, **by)))


def missing(api: ObservatoryApi, **asked: Any) -> list[Period]:
    return [Period(one.start_date, one.end_date) for one in api.get_missing(**asked)]


def release(dataset: Dataset, period: Period) -> DatasetRelease:
    return DatasetRelease(dataset=dataset, start_date=period.start_date, end_date=period.end_date)


@pytest.mark.parametrize(
    ("zone", "month", "day", "hours"),
    [
        ("Europe/London", 3, 29, 23),
        ("Europe/London", 10, 25, 25),
        ("America/New_York", 3, 8, 23),
        ("America/New_York", 11, 1, 25),
    ],
)
def test_a_day_on_which_the_clocks_change_is_all_of_its_hours(
    api: ObservatoryApi, dataset: Dataset, zone: str, month: int, day: int, hours: int
) -> None:
    local = ZoneInfo(zone)
    noon = datetime(2026, month, day, 12, tzinfo=local)
    before, start, end, after = (noon.replace(hour=0) + n * DAY for n in (-1, 0, 1, 2))
    expect(api, dataset, "0 * * * *", start, end, timezone=zone)
    [run] = api.get_missing_runs()
    assert (run.start_date, run.end_date, run.periods) == (start, end, hours)
    found = missing(api)
    assert {one.end_date - one.start_date for one in found} == {HOUR}

    expect(api, dataset, "0 0 * * *", before, after, timezone=zone)
    days = [Period(*(moment.astimezone(UTC) for moment in ends)) for ends in ((before, start), (start, end))]
    assert missing(api, end_date=noon) == days
    # They are told in local time, of which an hour is there twice, or not at all.
    told = [Period(one.start_date.astimezone(local), one.end_date.astimezone(local)) for one in found]
    api.post_dataset_releases([release(dataset, one) for one in told[:-1]])
    assert days[1] in missing(api)
    api.post_dataset_release(release(dataset, told[-1]))
    assert missing(api, end_date=noon) == days[:1]
    assert api.get_coverage(dataset.id).runs == days[1:]


LEAP = datetime(2024, 2, 29, tzinfo=UTC)
JANUARY, FEBRUARY, MARCH = (datetime(2024, n, 1, tzinfo=UTC) for n in (1, 2, 3))
FOUR_YEARS_AGO, NEXT_YEAR = datetime(2020, 2, 29, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)


def split(period: Period) -> tuple[list[Period], list[Period]]:
    """Returns the leap days of a period, and its other days."""
    starts = [period.start_date + n * DAY for n in range((period.end_date - period.start_date) // DAY)]
    leap: list[Period] = []
    others: list[Period] = []
    for start in starts:
        (leap if (start.month, start.day) == (2, 29) else others).append(Period(start, start + DAY))
    return leap, others


@pytest.mark.parametrize(
    ("cron", "each", "first", "last", "periods"),
    [
        ("0 0 * * *", "interval", LEAP - DAY, MARCH, [(LEAP - DAY, LEAP), (LEAP, MARCH)]),
        ("0 0 1 * *", "month", FEBRUARY, MARCH, [(FEBRUARY, MARCH)]),
        ("0 0 L * *", "month", FEBRUARY, MARCH, [(LEAP, LEAP + 29 * DAY)]),
        ("0 0 1 1 *", "year", JANUARY, NEXT_YEAR, [(JANUARY, NEXT_YEAR)]),
        ("0 0 29 2 *", "interval", FOUR_YEARS_AGO, LEAP, [(FOUR_YEARS_AGO, LEAP)]),
        ("0 0 29 2 *", "year", LEAP, MARCH, [(LEAP, datetime(2025, 2, 28, tzinfo=UTC))]),
        ("0 0 29 2 *", "snapshot", FOUR_YEARS_AGO, MARCH, [(FOUR_YEARS_AGO,) * 2, (LEAP, LEAP)]),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_leap_day_is_a_day_of_all_that_it_is_in(
    api: ObservatoryApi, dataset: Dataset, cron: str, each: Any, first: Any, last: Any, periods: Any
) -> None:
    expected = [Period(*ends) for ends in periods]
    expect(api, dataset, cron, first, last, each=each)
    assert missing(api) == expected
    for at, period in enumerate(expected):
        if period.is_instant:
            api.post_dataset_release(release(dataset, period))
        else:
            leap, others = split(period)
            api.post_dataset_releases([release(dataset, one) for one in others])
            assert (period in missing(api)) == bool(leap)
            api.post_dataset_releases([release(dataset, one) for one in leap])
        assert missing(api) == expected[at + 1 :]


def test_hours_months_and_snapshots_of_one_dataset_are_settled_each_by_its_own(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    year = datetime(2025, 1, 1, tzinfo=UTC)
    month, moment = Period(year, year + 31 * DAY), Period(year, year)
    hours = [Period(year + n * HOUR, year + (n + 1) * HOUR) for n in range(3)]
    api.probe(dataset.id, [Offer(one.start_date, one.end_date) for one in (month, moment, *hours)])
    assert missing(api) == [moment, hours[0], month, *hours[1:]]
    granted = api.claim(dataset.id, 2)
    assert [Period(one.start_date, one.end_date) for one in granted.releases] == [moment, hours[0]]
    assert api.count_missing() == {"claimed": 2, "offered": 3}
    api.post_dataset_release(release(dataset, hours[0]), claim=granted.claim)
    api.post_dataset_release(release(dataset, month))
    assert missing(api) == [moment, *hours[1:]]
    api.post_dataset_release(release(dataset, moment), claim=granted.claim)
    assert granted.claim
    assert api.get_claim(granted.claim.id).ended
    # What a cadence expects is settled by what covers it, of whatever length; a snapshot never is.
    expect(api, dataset, "0 * * * *", year, year + DAY)
    assert missing(api) == hours[1:]
    expect(api, dataset, "0 0 * * *", year, year + 3 * DAY, each="snapshot")
    assert missing(api) == [*hours[1:], *(Period(at, at) for at in (year + DAY, year + 2 * DAY))]
