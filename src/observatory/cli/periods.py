"""Periods, how many there are, and how long something lasts, as people say them. Pure."""

from datetime import datetime, timedelta

from ..intervals import Period, begun
from .show import moment_text

DAY = timedelta(days=1)
UNITS = {"year": 365 * 86400, "month": 30 * 86400, "day": 86400, "hour": 3600, "minute": 60, "second": 1}


def period_text(start: datetime, end: datetime, are_snapshots: bool = False) -> str:
    """Returns a period with its last day where it is made of days, else with the first moment behind it.

    Of several snapshots, the last is at its end.
    """
    if start == end:
        return moment_text(start)
    if are_snapshots:
        return f"{moment_text(start)}..{moment_text(end)}"
    if begun(start, "day") == start and begun(end, "day") == end:
        last = end - DAY
        return moment_text(start) if last == start else f"{moment_text(start)}..{moment_text(last)}"
    return f"{moment_text(start)}..{moment_text(end)}"


def count_text(periods: int, run: Period, are_snapshots: bool = False) -> str:
    """Returns how many periods make up a run, and of what length where that is plain, as `42 days`."""
    start, end = run.start_date, run.end_date
    length, months = end - start, (end.year - start.year) * 12 + end.month - start.month
    if are_snapshots or run.is_instant:
        return counted(periods, "snapshot")
    if length == periods * DAY:
        return counted(periods, "day")
    if length == periods * timedelta(hours=1):
        return counted(periods, "hour")
    are_months = begun(start, "month") == start and begun(end, "month") == end
    if are_months and months == periods:
        return counted(periods, "month")
    if are_months and months == 12 * periods:
        return counted(periods, "year")
    return counted(periods, "period")


def lasting(seconds: float) -> str:
    """Returns how long something lasts in the largest unit of which there are two, as `36 hours`."""
    whole = max(0, int(seconds))
    unit = next((unit for unit, size in UNITS.items() if whole >= 2 * size), "second")
    return counted(whole // UNITS[unit], unit)


def counted(number: int, what: str) -> str:
    """Returns a number of things, as `1 day` or `2 days`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
