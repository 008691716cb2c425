"""Three times as much as our server can do: how much is done all the same, how fast the rest is refused.

The load client is kept to one core and the server with PostgreSQL to the others, so that it is not the client
which takes from the server what it is measured by. What it can do is measured in the same way.
"""

from collections.abc import Callable
from itertools import count
from statistics import median
from typing import NamedTuple

import msgspec

from . import calls, ours
from .calls import Bench
from .flood import Flood, Told
from .machine import apart
from .report import Claim, Report, at_least, table
from .rounds import Sample
from .server import asked, load

TIMES = 3
SECONDS = 4.0
ENOUGH = 32  # connections, at which a server of two workers does the most
CONNECTIONS = 600  # more than may be worked on and wait
FETCHED, RECORDED = 4000, 2400

KEPT, REFUSED = 0.8, 0.05  # what we claim: of the best rate, and the seconds to a refusal

Make = Callable[[int], list[bytes]]


class Round(NamedTuple):
    """The best that was done, and what was done of three times as much; CPU in seconds."""

    best: Sample
    flood: Told
    cpu: float

    @property
    def kept(self) -> float:
        """How much is done under overload, of the best rate."""
        return len(self.flood.done) / self.flood.seconds / self.best.rate

    @property
    def kept_by_cpu(self) -> float:
        """The same for a second of CPU of the server and of PostgreSQL, with what it costs to refuse."""
        return len(self.flood.done) / self.cpu * self.best.cpu


def measure(bench: Bench) -> dict[str, list[Round]]:
    """Measures getting and recording, by what they are called."""
    days = map(calls.day, count(200_000))

    def gets(number: int) -> list[bytes]:
        return [ours.get_dataset()] * number

    def posts(number: int) -> list[bytes]:
        each = [next(days) for _ in range(number // len(calls.SPREAD))]
        return [ours.post_release(dataset, *of) for of in each for dataset in calls.SPREAD]

    works: dict[str, tuple[Make, int]] = {
        "get one dataset, nested": (gets, FETCHED),
        "record one release": (posts, RECORDED),
    }
    with apart(bench.mine.pid, bench.postgres.pid):
        return {
            name: [_round(bench, make, number) for _ in range(bench.rounds)]
            for name, (make, number) in works.items()
        }


def tell(report: Report, measured: dict[str, list[Round]]) -> None:
    """Tells of what is done, and how fast the rest is refused, of three times as much as can be done."""
    rows = []
    for name, rounds in measured.items():
        kept, cpu = (median(map(what, rounds)) for what in (_kept, _kept_by_cpu))
        at = [median(_at(each.flood.refused, share) for each in rounds) for share in (0.5, 0.99)]
        best = median(each.best.rate for each in rounds)
        done, refused, sent = (
            median(what(each.flood) / each.flood.seconds for each in rounds)
            for what in (_done, _refused, _sent)
        )
        figures = [f"{each:,.0f}" for each in (best, sent, done, refused)]
        waits = [f"{1000 * each:.1f}" for each in at]
        rows.append([name, *figures, f"{kept:.2f}", f"{cpu:.2f}", *waits])
        said = f"{kept:.2f} of the best (by CPU {cpu:.2f})"
        report.claims.append(at_least(f"three times too much: {name}", said, KEPT, kept, cpu))
        said = f"after {waits[0]} ms, 99 % within {waits[1]}"
        claim = f"within {1000 * REFUSED:.0f} ms"
        report.claims.append(Claim(f"refused: {name}", said, claim, at[1] <= REFUSED))
    heads = "call|best a second|sent|done|refused|done / best|of CPU|ms to a refusal|99 %"
    report.tables.append("### Three times as much as can be done\n\n" + table(heads, rows))


def _round(bench: Bench, make: Make, number: int) -> Round:
    requests = make(number)
    spread = [requests[i::ENOUGH] for i in range(ENOUGH)]
    best = asked(bench.mine, bench.postgres, spread, number, (200, 201))
    rate = TIMES * best.rate
    signed = [*map(bench.mine.signed, make(round(rate * SECONDS * 1.2)))]
    flood = Flood(bench.mine.port, signed, CONNECTIONS, rate, SECONDS)
    answer, *used = load("flood", msgspec.msgpack.encode(flood), bench.mine, bench.postgres)
    return Round(best, msgspec.msgpack.decode(answer, type=Told), sum(used))


def _kept(each: Round) -> float:
    return each.kept


def _kept_by_cpu(each: Round) -> float:
    return each.kept_by_cpu


def _done(told: Told) -> int:
    return len(told.done)


def _refused(told: Told) -> int:
    return len(told.refused)


def _sent(told: Told) -> int:
    return told.sent


def _at(waits: list[float], share: float) -> float:
    return sorted(waits)[int(len(waits) * share)] if waits else 0.0
