"""Which of 100,000 available periods are missing from 1,000,000 recorded ones, asked in several ways."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import psycopg

from observatory import DatasetRelease

from . import fill, ours
from .calls import Bench
from .rounds import Sample, Samples, alternate, timed
from .server import answer

DATASET = 11
RECORDED = 1_000_000
CANDIDATES = 100_000
PLANTED = 1000
FIRST = datetime(2000, 1, 1, tzinfo=UTC)

Pair = tuple[datetime, datetime]
Way = Callable[[], set[Pair]]

# What the server has to find out, and nothing else; the states are those that are not missing. The arrays are
# sent in binary, since as text they take longer than the search.
BARE = """
    SELECT start_date, end_date
    FROM unnest(%b::timestamptz[], %b::timestamptz[]) AS given (start_date, end_date)
    WHERE NOT EXISTS (
        SELECT FROM dataset_releases AS recorded
        WHERE dataset_id = %s
            AND recorded.start_date = given.start_date AND recorded.end_date = given.end_date
            AND state IN ('present', 'empty', 'unobtainable', 'expired')
    )
"""
ALL = """
    SELECT start_date, end_date FROM dataset_releases
    WHERE dataset_id = %s AND state IN ('present', 'empty', 'unobtainable', 'expired')
"""


class Found(msgspec.Struct):
    """Of a release that is missing, what is compared."""

    start_date: datetime
    end_date: datetime


def measure(bench: Bench) -> Samples:
    """Measures all ways; raises RuntimeError where one does not find exactly the planted gaps."""
    candidates, planted = _prepare(bench)
    asked = ours.missing(DATASET, candidates)
    with (
        ours.client(bench.mine) as api,
        psycopg.connect(bench.mine.database_url, autocommit=True) as connection,
    ):
        cursor = connection.cursor(binary=True)

        def server() -> set[Pair]:
            found = msgspec.json.decode(answer(bench.mine, asked).body, type=list[Found])
            return {(each.start_date, each.end_date) for each in found}

        def client() -> set[Pair]:
            return {_pair(release) for release in api.get_missing_releases(DATASET, candidates)}

        def bare() -> set[Pair]:
            starts, ends = map(list, zip(*candidates, strict=True))
            return {*cursor.execute(BARE, [starts, ends, DATASET]).fetchall()}

        def rows() -> set[Pair]:
            return {*candidates} - {*cursor.execute(ALL, [DATASET]).fetchall()}

        def everything() -> set[Pair]:
            recorded = api.get_dataset_releases(dataset_id=DATASET)
            return {*candidates} - {_pair(release) for release in recorded}

        ways: dict[str, Way] = {"server": server, "client": client, "bare": bare, "rows": rows}
        samples = alternate({name: _exact(way, planted) for name, way in ways.items()}, bench.rounds)
        # It takes so long that once must do.
        return samples | alternate({"everything": _exact(everything, planted)}, 1)


def _prepare(bench: Bench) -> tuple[list[Pair], set[Pair]]:
    """Records the million without the gaps; returns the candidates, and those of them that are missing."""
    step = RECORDED // CANDIDATES
    offered = [step * i for i in range(1, CANDIDATES + 1)]
    gaps = sorted(random.Random(7).sample(offered, PLANTED))
    fill.minutes(bench.mine, DATASET, FIRST, RECORDED + PLANTED, gaps)
    return [_minute(i) for i in offered], {_minute(i) for i in gaps}


def _minute(number: int) -> Pair:
    start = FIRST + number * fill.MINUTE
    return start, start + fill.MINUTE


def _pair(release: DatasetRelease) -> Pair:
    return release.start_date, release.end_date


def _exact(way: Way, planted: set[Pair]) -> Callable[[int], Sample]:
    def turn(_: int) -> Sample:
        found: set[Pair] = set()
        sample = timed(1, lambda: found.update(way()))
        if found != planted:
            raise RuntimeError(f"{len(found ^ planted)} periods are wrongly missing or wrongly present")
        return sample

    return turn
