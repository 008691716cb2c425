"""Fair turns: the sides take them one after another, so that a busy machine hits all alike. Ratios count."""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple


class Sample(NamedTuple):
    """One turn of one side. CPU in seconds, of the server's processes and of PostgreSQL's."""

    number: int
    seconds: float
    server_cpu: float = 0
    database_cpu: float = 0
    slowest: float = 0  # the 99th percentile, in seconds
    length: int = 0  # of an answer, in bytes

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.number / self.seconds

    @property
    def cpu(self) -> float:
        """The CPU seconds of one, of server and database together."""
        return (self.server_cpu + self.database_cpu) / self.number


Samples = dict[str, list[Sample]]
Side = Callable[[int], Sample]


def timed(number: int, work: Callable[[], object]) -> Sample:
    """Runs work of so many things and returns how long it took."""
    started = time.perf_counter()
    work()
    return Sample(number, time.perf_counter() - started)


def alternate(sides: dict[str, Side], rounds: int) -> Samples:
    """Gives each side its turn in each round, and returns the samples of each; a turn is told its number."""
    samples: Samples = {name: [] for name in sides}
    for turn in range(rounds):
        # Every second round backwards, so that nobody always comes after the same one.
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            samples[name].append(sides[name](turn))
    return samples


def middle(samples: list[Sample], what: Callable[[Sample], float]) -> float:
    """Returns the median of something over the rounds."""
    return median(what(sample) for sample in samples)


def ratio(ours: list[Sample], theirs: list[Sample], what: Callable[[Sample], float]) -> float:
    """Returns the median over the rounds of ours by theirs, each within its round."""
    return median(what(a) / what(b) for a, b in zip(ours, theirs, strict=True))
