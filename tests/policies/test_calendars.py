"""Holidays and calendar files become days on which nothing is expected."""

import builtins
from datetime import UTC, date, datetime
from typing import Any

import pytest

from observatory.errors import Invalid
from observatory.policies.calendars import days_of_calendar, exclusions, holidays_of

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:tests
BEGIN:VEVENT
UID:christmas
DTSTART;VALUE=DATE:20241224
DTEND;VALUE=DATE:20241227
RRULE:FREQ=YEARLY
EXDATE;VALUE=DATE:20251224
END:VEVENT
BEGIN:VEVENT
UID:new-year
DTSTART;VALUE=DATE:20241231
DTEND;VALUE=DATE:20250102
END:VEVENT
BEGIN:VEVENT
UID:meeting
DTSTART:20240501T090000Z
DTEND:20240501T100000Z
END:VEVENT
BEGIN:VEVENT
UID:cancelled
DTSTART;VALUE=DATE:20240601
STATUS:CANCELLED
END:VEVENT
BEGIN:VEVENT
UID:moved
DTSTART;VALUE=DATE:20240701
RRULE:FREQ=MONTHLY;COUNT=2
END:VEVENT
BEGIN:VEVENT
UID:moved
RECURRENCE-ID;VALUE=DATE:20240801
DTSTART;VALUE=DATE:20240805
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")


def test_whole_days_of_a_calendar_file_are_found_also_where_they_recur() -> None:
    of_2024 = [(7, 1), (8, 5), (12, 24), (12, 25), (12, 26), (12, 31)]

    assert days_of_calendar(CALENDAR, [2024]) == [date(2024, *day) for day in of_2024]
    assert days_of_calendar(CALENDAR.encode(), range(2025, 2027)) == [
        date(2025, 1, 1),  # the second day of an event that begins in the year before; its exception is kept
        *(date(2026, 12, day) for day in (24, 25, 26)),
    ]


@pytest.mark.parametrize("text", ["", "<html></html>", "BEGIN:VEVENT\r\nSUMMARY:no date\r\nEND:VEVENT"])
def test_what_is_no_calendar_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        days_of_calendar(text, [2024])

    assert set(refused.value.fields) == {"text"}


def test_holidays_are_those_of_a_part_of_a_country() -> None:
    scotland = holidays_of("GB", range(2024, 2026), "SCT")

    assert date(2024, 1, 2) in scotland
    assert date(2024, 1, 2) not in holidays_of("GB", [2024], "ENG")
    assert {day.year for day in scotland} == {2024, 2025}
    with pytest.raises(Invalid) as refused:
        holidays_of("XX", [2024])
    assert set(refused.value.fields) == {"country"}


def test_calendars_are_joined_in_order_and_hold_days_only() -> None:
    first, second = date(2024, 1, 1), date(2024, 5, 1)

    assert exclusions({second: "Labour Day"}, [first, second], {first}) == [first, second]
    with pytest.raises(Invalid):
        exclusions([datetime(2024, 1, 1, tzinfo=UTC)])


def test_a_package_that_is_absent_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.partition(".")[0] in ("holidays", "icalendar"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return there(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Invalid, match=r"holidays.*pip install 'observatory-ledger\[calendars\]'"):
        holidays_of("GB", [2024])
    with pytest.raises(Invalid, match=r"icalendar.*pip install 'observatory-ledger\[calendars\]'"):
        days_of_calendar(CALENDAR, [2024])
