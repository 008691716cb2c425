"""Where the time of our server goes: one worker under load, sampled from outside by py-spy."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from . import environments, fill, ours, postgresql
from .batch import hours
from .missing import DATASET, FIRST, RECORDED
from .postgresql import Postgres
from .server import CONNECTIONS, Server, asked

SECONDS = 6
# A frame of py-spy: a function and its file, or a library where the code is not Python.
FRAME = re.compile(r"(?P<name>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")
BATCHES = 20


class Work(NamedTuple):
    """What one worker is asked while it is sampled: requests for each connection, and how many in all."""

    requests: list[list[bytes]]
    number: int


def measure(folder: Path) -> str:
    """Returns, for each kind of request, where the server is when it is sampled."""
    told = []
    with postgresql.running(folder / "postgresql") as postgres, ours.running(postgres, folder, 1) as server:
        fill.minutes(server, DATASET, FIRST, RECORDED, [])
        for name, work in _works().items():
            stacks = _sampled(folder, postgres, server, work())
            told.append(f"## {name}\n\n{stacks}")
    return "\n".join(told)


def _works() -> dict[str, Callable[[], Work]]:
    candidates = [(FIRST + i * fill.MINUTE, FIRST + (i + 1) * fill.MINUTE) for i in range(0, RECORDED, 10)]
    batches = [ours.batch(hours(12, turn)) for turn in range(BATCHES)]
    return {
        "get": lambda: Work([[ours.get_dataset()]] * CONNECTIONS, 12_000),
        "post": lambda: Work(_posts(8000), 8000),
        "list": lambda: Work([[ours.list_releases()]] * CONNECTIONS, 800),
        "missing": lambda: Work([[ours.missing(DATASET, candidates)]], 10),
        "batch": lambda: Work([batches], BATCHES),
        "batch again": lambda: Work([batches], BATCHES),
    }


def _posts(number: int) -> list[list[bytes]]:
    first = datetime(2100, 1, 1, tzinfo=UTC)
    times = [(first + timedelta(hours=i)).isoformat() for i in range(number // CONNECTIONS + 1)]
    pairs = [*pairwise(times)]
    return [[ours.post_release(2 + k, *pair) for pair in pairs] for k in range(CONNECTIONS)]


def _sampled(folder: Path, postgres: Postgres, server: Server, work: Work) -> str:
    output = folder / "stacks.txt"
    options = (
        f"record --pid {server.pid} --duration {SECONDS} --rate 400 --format raw --full-filenames --native"
    )
    command = [str(environments.profiler()), *options.split(), "--output", str(output)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as profiler:
        sample = asked(server, postgres, work.requests, work.number, (200, 201))
        said = profiler.communicate()[1]
    if profiler.returncode:
        raise RuntimeError(f"py-spy fails:\n{said}")
    cost = (
        f"{1000 * sample.server_cpu / sample.number:.2f} ms of the server's CPU for one, "
        f"{1000 * sample.database_cpu / sample.number:.2f} ms of PostgreSQL's"
    )
    return f"{cost}\n\n{_summary(output.read_text())}"


def _summary(stacks: str) -> str:
    """Returns the share of samples by part, by innermost Python, and within our functions."""
    parts: Counter[str] = Counter()
    inner: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, weight = line.rpartition(" ")
        frames = [frame for frame in map(FRAME.match, stack.split(";")) if frame]
        places = [_place(frame["file"]) for frame in frames]
        named = [f"{place} {frame['name']}" for place, frame in zip(places, frames, strict=True)]
        python = [name for name, frame in zip(named, frames, strict=True) if frame["file"].endswith(".py")]
        parts[places[-1] if places else "?"] += int(weight)
        inner[python[-1] if python else "?"] += int(weight)
        for name in {name for name in named if name.startswith("observatory")}:
            ours[name] += int(weight)
    total = parts.total()
    tables = {"part": _shares(parts, total, 12), "innermost Python": _shares(inner, total, 25)}
    tables["within our functions"] = _shares(ours, total, 30)
    return "\n".join(line for name, lines in tables.items() for line in (f"{name}:", *lines, ""))


def _place(file: str) -> str:
    """Returns the part that a file belongs to: a file of ours, or the name of a library."""
    if match := re.search(r"src/(observatory/.*)\.py$", file):
        return match[1]
    if match := re.search(r"site-packages/(\w+)", file):
        return match[1]
    if match := re.search(r"lib/python3\.\d+/(\w+)", file):
        return match[1]
    return Path(file).name


def _shares(counted: Counter[str], total: int, most: int) -> list[str]:
    return [f"  {100 * n / total:5.1f} %  {name}" for name, n in counted.most_common(most)]
