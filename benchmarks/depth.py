"""A list of very many releases: its first page beside one far behind."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from . import fill, ours
from .calls import Bench
from .rounds import Sample, Samples, alternate
from .server import answer, asked, json_request

DATASET = 15
FIRST = datetime(2000, 1, 1, tzinfo=UTC)
REQUESTS = 40


def measure(bench: Bench, recorded: int) -> Samples:
    """Measures both pages, and the same number of releases of a small list; one connection."""
    fill.minutes(bench.mine, DATASET, FIRST, recorded, [])
    place = _place(bench, FIRST + timedelta(minutes=recorded * 0.95))
    deep = json_request("GET", f"/v1/dataset-releases?limit=1000&dataset_id={DATASET}&{place}")

    def asking(request: bytes) -> Callable[[int], Sample]:
        return lambda _: asked(bench.mine, bench.postgres, [[request]], REQUESTS)

    sides = {
        "first": asking(ours.list_releases(DATASET)),
        "deep": asking(deep),
        "small": asking(ours.list_releases()),
    }
    return alternate(sides, bench.rounds)


def _place(bench: Bench, start: datetime) -> str:
    """Returns the query that goes on behind a release far behind, as the link to a next page has it."""
    path = f"/v1/dataset-releases?limit=1&dataset_id={DATASET}&start_date={quote(start.isoformat())}"
    link = re.match(r"<(.*?)>", answer(bench.mine, json_request("GET", path)).link)
    if link is None:
        raise RuntimeError("a page that is not the last has no link to the next")
    said = parse_qs(urlsplit(link[1]).query)
    # Where the list was asked from is left out: the place alone must lead there.
    told = ("limit", "dataset_id", "start_date")
    return urlencode({name: values[0] for name, values in said.items() if name not in told})
