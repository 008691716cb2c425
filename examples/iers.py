"""How the Earth turns, as the IERS observes and predicts it: the table finals2000A of its Bulletin A.

    the Python package astropy-iers-data

A version is the second at which the data was collected, about once a week. Each has all days since 1973. In
between, days of the last year are observed or revised, and the predictions for a year ahead are made anew.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

PACKAGE, TABLE = "astropy-iers-data", "finals2000A.all"

# From which byte to which, and in what unit: the file's own description, ReadMe.finals2000A.
NUMBERS = {
    "x_arcsec": (18, 27),
    "x_error_arcsec": (27, 36),
    "y_arcsec": (37, 46),
    "y_error_arcsec": (46, 55),
    "ut1_utc_s": (58, 68),
    "ut1_utc_error_s": (68, 78),
    "lod_ms": (79, 86),
    "lod_error_ms": (86, 93),
    "dx_mas": (97, 106),
    "dx_error_mas": (106, 115),
    "dy_mas": (116, 125),
    "dy_error_mas": (125, 134),
    "bulletin_b_x_arcsec": (134, 144),
    "bulletin_b_y_arcsec": (144, 154),
    "bulletin_b_ut1_utc_s": (154, 165),
    "bulletin_b_dx_mas": (165, 175),
    "bulletin_b_dy_mas": (175, 185),
}
# Whether a value is observed by the IERS (I) or predicted (P).
FLAGS = {"polar_motion_flag": 16, "ut1_utc_flag": 57, "nutation_flag": 95}
FIRST_DAY = date(1858, 11, 17)


def collected_at(version: str) -> datetime | None:
    """Returns when the data of a version was collected, as in 0.2026.11.2.0.34.55, or None."""
    if not re.fullmatch(r"0(\.\d+){6}", version):
        return None
    try:
        return datetime(*(int(part) for part in version.split(".")[1:]), tzinfo=UTC)  # type: ignore[misc,arg-type]  # six
    except ValueError:
        return None


def read_days(text: str, since: date = date.min) -> Iterator[dict[str, Any]]:
    """Returns a row for each day from a day on, by its Modified Julian Date `mjd`; what is not known is null.

    The last rows have nothing but their day. Raises ValueError for a line that is in another format.
    """
    for line in text.splitlines():
        mjd = float(line[7:15])
        day = FIRST_DAY + timedelta(days=mjd)
        if mjd != int(mjd) or f"{day:%y%m%d}" != f"{int(line[:2]):02}{int(line[2:4]):02}{int(line[4:6]):02}":
            raise ValueError(f"the date {line[:6]!r} is not that of the day {line[7:15]!r}")
        if day < since:
            continue
        flags = {name: line[place : place + 1].strip() or None for name, place in FLAGS.items()}
        numbers = {name: _number(line[begin:end]) for name, (begin, end) in NUMBERS.items()}
        yield {"mjd": int(mjd), "day": day, **flags, **numbers}


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None
