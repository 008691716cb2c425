"""The days on which nothing is expected, from what there is of them: public holidays, and calendar files.

Each function returns days as `Cadence.exclude` takes them. The packages that know holidays and calendar files
are imported when they are asked for, and come with `pip install 'observatory-ledger[calendars]'`.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from ..errors import Invalid

DAY = timedelta(days=1)


def exclusions(*calendars: Iterable[date]) -> list[date]:
    """Returns the days of all the calendars, each once and in order.

    A calendar is a list or a set of days, or a mapping by day, such as those of the package holidays. Raises
    Invalid for what is no day: a time would be one day here and another one there.
    """
    days = {day for calendar in calendars for day in calendar}
    for day in days:
        if not isinstance(day, date) or isinstance(day, datetime):
            raise Invalid("a calendar holds something else than days", {"exclude": f"{day!r} is no date"})
    return sorted(days)


def holidays_of(country: str, years: Iterable[int], subdiv: str | None = None) -> list[date]:
    """Returns the public holidays of a country, as "GB", or of a part of it, as "SCT", in some years.

    Raises Invalid for a country or a part that the package holidays does not know.
    """
    try:
        import holidays
    except ImportError as error:
        raise _not_installed(error) from error
    try:
        return exclusions(holidays.country_holidays(country, subdiv=subdiv, years=years))
    except NotImplementedError as error:
        raise Invalid("nothing is known of these holidays", {"country": str(error)}) from None


def days_of_calendar(text: str | bytes, years: Iterable[int]) -> list[date]:
    """Returns the days in some years on which a calendar file (iCalendar, RFC 5545) has a whole-day event.

    Events that last several days or recur have all their days, less exceptions and what was cancelled. Events
    with times of the day are passed over. Raises Invalid for a text that is no calendar.
    """
    try:
        from icalendar import Calendar
        from recurring_ical_events import of
    except ImportError as error:
        raise _not_installed(error) from error
    found: set[date] = set()
    try:
        events = of(Calendar.from_ical(text), components=["VEVENT"])
        for year in set(years):
            for event in events.between(date(year, 1, 1), date(year + 1, 1, 1)):
                if event.get("STATUS") != "CANCELLED":
                    found |= {day for day in _days(event.start, event.end) if day.year == year}
    except (ValueError, KeyError) as error:
        raise Invalid("this is no calendar that can be read", {"text": str(error)}) from error
    return sorted(found)


def _days(start: date, end: date) -> Iterable[date]:
    if isinstance(start, datetime) or isinstance(end, datetime):
        return
    while start < end:
        yield start
        start += DAY


def _not_installed(error: ImportError) -> Invalid:
    cure = "pip install 'observatory-ledger[calendars]'"
    return Invalid(f"calendars need the package {error.name}", {"calendars": cure})
