"""What is asked again and has not changed: an answer 304 beside the whole answer, 200."""

from collections.abc import Callable

from . import ours
from .calls import Bench
from .rounds import Sample, Samples, alternate
from .server import CONNECTIONS, answer, asked, with_header

# How many requests make a turn of about a second: of the whole answers, and of those that say "not modified".
FETCHED = (3000, 4000)
LISTED = (200, 3000)


def measure(bench: Bench) -> dict[str, Samples]:
    """Measures both of a record and of a list, by what they are called."""
    return {
        "get one dataset, nested": _both(bench, ours.get_dataset(), FETCHED),
        "list 1,000 releases": _both(bench, ours.list_releases(), LISTED),
    }


def _both(bench: Bench, request: bytes, counts: tuple[int, int]) -> Samples:
    known = answer(bench.mine, request).etag
    again = with_header(request, f"If-None-Match: {known}")

    def asking(request: bytes, number: int, status: int) -> Callable[[int], Sample]:
        return lambda _: asked(bench.mine, bench.postgres, [[request]] * CONNECTIONS, number, (status,))

    sides = {"200": asking(request, counts[0], 200), "304": asking(again, counts[1], 304)}
    return alternate(sides, bench.rounds)
