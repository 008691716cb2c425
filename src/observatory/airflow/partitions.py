"""Periods as Airflow's partition keys, and back: `2026-01-01/2026-02-01`, or one time for an instant.

Times are UTC, as ISO 8601 writes them, and dates where all of them are midnights: keys sort as periods do
among those that are written alike, and no two periods have the same.
"""

from datetime import UTC, date, datetime

from ..errors import Invalid
from ..intervals import Period, moment

FORM = "write it as 2026-01-01/2026-02-01, or 2026-01-01T06:00:00Z for an instant"


def partition_key(period: Period) -> str:
    """Returns the key of a period, which `period_of` reads."""
    times = [period.start_date] if period.is_instant else [period.start_date, period.end_date]
    utc = [time.astimezone(UTC) for time in times]
    if all(time.time() == time.min.time() for time in utc):
        return "/".join(time.date().isoformat() for time in utc)
    return "/".join(time.isoformat().replace("+00:00", "Z") for time in utc)


def period_of(partition_key: str) -> Period:
    """Returns the period that a partition key names; raises Invalid for one that names none.

    A date or time alone is an instant. A time without a zone is not known to be UTC, and refused.
    """
    parts = partition_key.split("/")
    try:
        start, end = (_moment(parts[0]), _moment(parts[-1]))
    except ValueError as error:
        raise Invalid(f"the partition key {partition_key!r} is no period: {error}", {"key": FORM}) from None
    if len(parts) > 2 or start > end:
        raise Invalid(f"the partition key {partition_key!r} is no period", {"key": FORM})
    return Period(start, end)


def _moment(text: str) -> datetime:
    return moment(
        date.fromisoformat(text) if len(text) == len("2026-01-01") else datetime.fromisoformat(text)
    )
