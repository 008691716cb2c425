"""Single calls over 8 connections: ours, the predecessor's, and pgbench with the statements of ours."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

from . import ours, pgbench, predecessor
from .postgresql import Postgres
from .rounds import Sample, Samples, Side, alternate
from .server import CONNECTIONS, Server, asked

SPREAD = [*range(2, 2 + CONNECTIONS)]  # each connection records into a dataset of its own
SHARED = [10] * CONNECTIONS  # all record into the same one, whose coverage is one thing
CAPTURED = 13  # only the requests whose statements are captured record into it

# How many requests make a turn of a second or two, for each of both sides.
FETCHED = (3000, 400)
LISTED = (200, 8)
RECORDED = (1600, 240)
PGBENCH_SECONDS = 1

# The captured release is of this hour; pgbench takes another hour for each transaction.
HOUR = ("2500-01-01T00:00:00Z", "2500-01-01T01:00:00Z")
NTH_HOUR = "timestamptz '2500-01-01' + (:client_id * 1000000 + :n + {}) * interval '1 hour'"


class Bench(NamedTuple):
    """Both servers on their PostgreSQL, and how many rounds they are measured."""

    postgres: Postgres
    mine: Server
    theirs: Server
    rounds: int


def measure(bench: Bench) -> dict[str, Samples]:
    """Measures all of them, by what they are called."""
    return {
        "get one dataset, nested": fetch(bench),
        "list 1,000 releases": listed(bench),
        "record one release, each connection its own dataset": record(bench, SPREAD),
        "record one release, all the same dataset": record(bench, SHARED),
    }


def fetch(bench: Bench) -> Samples:
    """Measures getting one dataset with all that is nested in it."""
    return _read(bench, ours.get_dataset(), predecessor.get_dataset(), FETCHED)


def listed(bench: Bench) -> Samples:
    """Measures a list of 1,000 releases."""
    return _read(bench, ours.list_releases(), predecessor.list_releases(), LISTED)


def record(bench: Bench, datasets: list[int]) -> Samples:
    """Measures recording new releases, one a call; each connection into its own of the datasets."""
    of_ours, of_theirs = RECORDED
    days = map(day, count())

    def posting(post: Callable[[int, str, str], bytes], number: int) -> list[list[bytes]]:
        return [[post(dataset, *next(days)) for _ in range(number // CONNECTIONS)] for dataset in datasets]

    def mine(_: int) -> Sample:
        requests = posting(ours.post_release, of_ours)
        return asked(bench.mine, bench.postgres, requests, of_ours, (201,))

    def theirs(_: int) -> Sample:
        requests = posting(predecessor.post_release, of_theirs)
        return asked(bench.theirs, bench.postgres, requests, of_theirs, (201,))

    sides: dict[str, Side] = {"ours": mine, "theirs": theirs}
    if datasets == SHARED:
        # The one statement of a new release does nothing where another was faster; pgbench would count it.
        return alternate(sides, bench.rounds)
    varied = {
        str(CAPTURED): ":client_id + 2",
        "2500-01-01 00:00:00+00": NTH_HOUR.format(0),
        "2500-01-01 01:00:00+00": NTH_HOUR.format(1),
    }
    pair = ours.post_release(CAPTURED, *next(days)), ours.post_release(CAPTURED, *HOUR)
    # The hour may have been recorded for an earlier capture, and must be new.
    ours.forget(bench.mine, CAPTURED)
    script = pgbench.script(bench.postgres, bench.mine, *pair, varied)
    return alternate(sides | {"pgbench": _pgbench(bench, script)}, bench.rounds)


def _read(bench: Bench, mine: bytes, theirs: bytes, counts: tuple[int, int]) -> Samples:
    script = pgbench.script(bench.postgres, bench.mine, mine, mine, {})

    def asking(server: Server, request: bytes, number: int) -> Callable[[int], Sample]:
        return lambda _: asked(server, bench.postgres, [[request]] * CONNECTIONS, number)

    sides = {
        "ours": asking(bench.mine, mine, counts[0]),
        "theirs": asking(bench.theirs, theirs, counts[1]),
        "pgbench": _pgbench(bench, script),
    }
    return alternate(sides, bench.rounds)


def _pgbench(bench: Bench, script: str) -> Callable[[int], Sample]:
    def turn(turn: int) -> Sample:
        return pgbench.run(bench.postgres, bench.mine, script, PGBENCH_SECONDS, turn * 100_000)

    return turn


def day(number: int) -> tuple[str, str]:
    """Returns a day in a time of which nothing else is recorded, as it is sent."""
    start = datetime(2100, 1, 1, tzinfo=UTC) + timedelta(days=number)
    return start.isoformat(), (start + timedelta(days=1)).isoformat()
