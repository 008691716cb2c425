"""What keys, rights, journal and tags cost: ours beside the server of the version before, which had none."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from zipfile import ZipFile

from . import calls, ours
from .batch import SIZE
from .calls import Bench
from .machine import ROOT
from .postgresql import Postgres
from .rounds import Sample, Samples, Side, alternate
from .server import CONNECTIONS, Server, asked

COMMIT = "bf6cb80"
FETCHED, LISTED, RECORDED = 3000, 200, 1600
RECORDED_INTO = 11


@contextmanager
def running(postgres: Postgres, folder: Path) -> Iterator[Server | None]:
    """Runs it over a database of its own; None where this clone does not have its commit."""
    command = ["git", "archive", "--format=zip", COMMIT, "src"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        yield None
        return
    with ZipFile(BytesIO(done.stdout)) as packed:
        packed.extractall(folder / "before")
    with ours.running(postgres, folder, database="before", source=folder / "before" / "src") as server:
        yield server


def measure(bench: Bench) -> dict[str, Samples]:
    """Measures the same calls of both, ours and `theirs`, by what they are called."""
    sides = {"ours": bench.mine, "before": bench.theirs}
    days, batches = map(calls.day, count(100_000)), count()

    def fetch(server: Server) -> Sample:
        return asked(server, bench.postgres, [[ours.get_dataset()]] * CONNECTIONS, FETCHED)

    def listed(server: Server) -> Sample:
        return asked(server, bench.postgres, [[ours.list_releases()]] * CONNECTIONS, LISTED)

    def record(datasets: list[int], server: Server) -> Sample:
        each = RECORDED // CONNECTIONS
        requests = [[ours.post_release(dataset, *next(days)) for _ in range(each)] for dataset in datasets]
        return asked(server, bench.postgres, requests, RECORDED, (201,))

    def together(server: Server) -> Sample:
        releases = ours.days(RECORDED_INTO, SIZE, SIZE * next(batches))
        sample = asked(server, bench.postgres, [[ours.batch(releases)]], 1)
        return sample._replace(number=SIZE)

    works: dict[str, Callable[[Server], Sample]] = {
        "get one dataset, nested": fetch,
        "list 1,000 releases": listed,
        "record one release, each connection its own dataset": partial(record, calls.SPREAD),
        "record one release, all the same dataset": partial(record, calls.SHARED),
        "batch of 10,000": together,
    }
    return {
        name: alternate({side: _turn(work, server) for side, server in sides.items()}, bench.rounds)
        for name, work in works.items()
    }


def _turn(work: Callable[[Server], Sample], server: Server) -> Side:
    return lambda _: work(server)
