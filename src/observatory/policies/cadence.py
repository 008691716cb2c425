"""The periods that a cadence expects: from each tick of its cron expression, as long as it says. Pure.

The library reads the expression and says which days match. The ticks of a day on which the clocks do not
change are then all found at once, which is many times as quick as to ask it for one after another. A time of
day that the clocks skip is the moment at which they do, one that they repeat is the first of the two, as in
Debian's cron; an expression whose minute or hour begins with a star ticks through both.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from heapq import merge
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ..errors import Invalid
from ..records import Cadence

MOST = 1_000_000  # periods that a cadence may expect, up to a year from now
DAY = timedelta(days=1)
YEAR = timedelta(days=366)
# As far as periods are expected: neither a zone nor a unit leads from here out of the years 1 to 9999.
FIRST, LAST = datetime(3, 1, 1, tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)
MONTHS = {"month": 1, "year": 12}
# No period is longer; a whole day was once skipped, in Samoa.
REACH = {
    "snapshot": timedelta(),
    "hour": timedelta(hours=1),
    "day": 3 * DAY,
    "month": 34 * DAY,
    "year": 369 * DAY,
}

# A moment, and what the clocks in the zone said then, or should have said had they not been put forward.
Tick = tuple[datetime, datetime]


class Expected(NamedTuple):
    """A period that is expected: due once it is over, late after the grace."""

    start_date: datetime
    end_date: datetime
    due: datetime
    late: datetime


def check(cadence: Cadence, now: datetime) -> None:
    """Raises Invalid, naming the field and the cure, for a cadence whose periods cannot be told."""
    said = "Cadence cannot be followed"
    try:
        ZoneInfo(cadence.timezone)
    except (KeyError, ValueError, OSError):
        cure = f"{cadence.timezone[:60]!r} is no time zone: give its IANA name, as in 'Europe/London'"
        raise Invalid(said, {"cadence.timezone": cure}) from None
    try:
        cron = _read(cadence.cron)
    except (CronSimError, ValueError) as error:
        form = "give minute, hour, day of month, month and day of week, as in '30 6 * * MON-FRI'"
        raise Invalid(said, {"cadence.cron": f"{error}: {form}"}) from None
    until = min(cadence.expected_until or LAST, now + YEAR)
    count = sum(len(cron.days(*month)) for month in _months(cron, cadence.expected_from.date(), until.date()))
    if count * len(cron.times) > MOST:
        cure = f"gives more than {MOST:,} periods up to a year from now: tick less often or begin later"
        raise Invalid(said, {"cadence.cron": cure})


def expected(cadence: Cadence, since: datetime, until: datetime) -> list[Expected]:
    """Returns the periods that become due from `since` up to, not including, `until`, in that order.

    A period of a day, month or year ends at the same time of the local clock, or at the last day of a month
    that is too short: what begins on 31 January or 29 February lasts up to the 28th. None is told that is due
    before the year 3 or after the year 9989.
    """
    since, until = max(since, FIRST), min(until, LAST)
    grace = timedelta(seconds=cadence.grace)
    if cadence.each == "interval":
        found = _intervals(cadence, since, until)
        return [Expected(start, end, end, end + grace) for start, end in found]
    begin = max(since - REACH[cadence.each], cadence.expected_from)
    ticks = _ticks(cadence, begin, min(until, cadence.expected_until or until))
    ended = ((tick[0], _end(cadence, tick)) for tick in ticks)
    due = [Expected(start, end, end, end + grace) for start, end in ended if since <= end < until]
    # Ticks of several days may end on the one last day of a month.
    return sorted(due, key=attrgetter("due", "start_date"))


class _Cron:
    """A cron expression that was read: which days match, and which times of each."""

    def __init__(self, expression: str) -> None:
        if len(expression.split()) != 5:
            raise ValueError("not five fields")
        self.expression = expression
        self.parsed = CronSim(expression, datetime(2000, 1, 1))
        self.months = self.parsed.months
        minutes, hours = sorted(self.parsed.minutes), sorted(self.parsed.hours)
        self.times = [timedelta(hours=hour, minutes=minute) for hour in hours for minute in minutes]
        self.is_fixed = not any(field.startswith("*") for field in expression.split()[:2])
        self._days: dict[tuple[int, int], list[int]] = {}

    def days(self, year: int, month: int) -> list[int]:
        """Returns the days of a month that match; it depends on its first weekday and length alone."""
        shape = monthrange(year, month)
        if shape not in self._days:
            all_days = range(1, shape[1] + 1)
            self._days[shape] = [day for day in all_days if self.parsed.match_day(date(year, month, day))]
        return self._days[shape]


@lru_cache(maxsize=1000)
def _read(expression: str) -> _Cron:
    return _Cron(expression)


def _intervals(cadence: Cadence, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    begin = _last_tick(cadence, since)
    for (start, _), (end, _) in pairwise(_ticks(cadence, begin, until)):
        if cadence.expected_until and start >= cadence.expected_until:
            return
        yield start, end


def _last_tick(cadence: Cadence, before: datetime) -> datetime:
    """Returns the last tick before a moment, or the moment from which on there are any."""
    end, span = before, DAY
    earliest = max(cadence.expected_from, FIRST - YEAR)
    while end > earliest:
        begin = end - min(span, end - earliest)
        if found := list(_ticks(cadence, begin, end)):
            return found[-1][0]
        end, span = begin, span * 2
    return earliest


def _end(cadence: Cadence, tick: Tick) -> datetime:
    start, wall = tick
    match cadence.each:
        case "snapshot":
            return start
        case "hour":
            return start + timedelta(hours=1)
        case "day":
            return _resolved(wall + DAY, ZoneInfo(cadence.timezone))
    years, month = divmod(wall.month - 1 + MONTHS[cadence.each], 12)
    year, month = wall.year + years, month + 1
    day = min(wall.day, monthrange(year, month)[1])
    return _resolved(wall.replace(year=year, month=month, day=day), ZoneInfo(cadence.timezone))


def _ticks(cadence: Cadence, begin: datetime, end: datetime) -> Iterator[Tick]:
    """Yields the ticks that count from one moment up to, not including, another, each once."""
    ticks = _cron_ticks(cadence, begin, end)
    if cadence.include:
        zone = ZoneInfo(cadence.timezone)
        ticks = merge(ticks, ((moment, _wall(moment, zone)) for moment in sorted(cadence.include)))
    before = begin - timedelta.resolution
    for tick in ticks:
        if tick[0] >= end:
            return
        if tick[0] > before:
            yield tick
            before = tick[0]


def _cron_ticks(cadence: Cadence, begin: datetime, end: datetime) -> Iterator[Tick]:
    """Yields the ticks of the cron expression on all local days of the span, and on the one before it.

    The last of that day may be the first moment of the span, if the clocks were put forward at midnight.
    """
    cron, zone = _read(cadence.cron), ZoneInfo(cadence.timezone)
    excluded = frozenset(cadence.exclude)
    first, last = _wall(begin, zone) - 2 * DAY, _wall(end, zone)
    for year, month in _months(cron, first, last):
        offsets = _offsets(zone, year, month)
        for number in cron.days(year, month):
            day = datetime(year, month, number)
            if not first < day <= last or day.date() in excluded:
                continue
            if offsets[number - 1] != offsets[number]:
                yield from _ticks_of_change(cron, day, zone)
                continue
            midnight = datetime(year, month, number, tzinfo=UTC) - offsets[number]
            for time in cron.times:
                yield midnight + time, day + time


def _months(cron: _Cron, first: date, last: date) -> Iterator[tuple[int, int]]:
    for at in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        if at % 12 + 1 in cron.months:
            yield at // 12, at % 12 + 1


@lru_cache(maxsize=10_000)
def _offsets(zone: ZoneInfo, year: int, month: int) -> list[timedelta]:
    """Returns how far a zone is from UTC at each midnight of a month, and at the one that ends it."""
    first = datetime(year, month, 1, tzinfo=zone)
    midnights = (first + number * DAY for number in range(monthrange(year, month)[1] + 1))
    return [midnight.utcoffset() or timedelta() for midnight in midnights]


def _ticks_of_change(cron: _Cron, day: datetime, zone: ZoneInfo) -> list[Tick]:
    """Returns the ticks of a day on which the clocks change; more than one may be of the same moment."""
    walls = [day + time for time in cron.times]
    if cron.is_fixed:
        return [(_resolved(wall, zone), wall) for wall in walls]
    told = {(_moment(wall, zone, fold), wall) for wall in walls for fold in (0, 1)}
    return sorted((moment, wall) for moment, wall in told if _wall(moment, zone) == wall)


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """Returns what the clocks in a zone say at a moment."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moment(wall: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """Returns the moment at which the clocks in a zone say this for the first or second time."""
    return datetime.combine(wall, wall.time().replace(fold=fold), zone).astimezone(UTC)


def _resolved(wall: datetime, zone: ZoneInfo) -> datetime:
    """Returns the first moment at which the clocks in a zone say this, or at which they skip it."""
    while _wall(moment := _moment(wall, zone), zone) != wall:
        wall = wall.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return moment
