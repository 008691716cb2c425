"""`python -m benchmarks`: measures what we claim, all in one run, and tells what holds."""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import (
    batch,
    before,
    calls,
    depth,
    holes,
    missing,
    ours,
    overload,
    parsing,
    postgresql,
    predecessor,
    profiles,
    report,
    startup,
    tags,
    waiting,
)
from .calls import Bench
from .machine import WORK
from .report import Report

STARTED = time.perf_counter()
PARTS = ["calls", "before", "tags", "overload", "missing", "holes", "batch", "depth"]
PARTS += ["parsing", "waiting", "startup"]


def main() -> None:
    """Measures the parts that are asked for; all that was started is stopped, also after Ctrl-C."""
    asked = _arguments()
    load = os.getloadavg()[0]
    rounds = asked.rounds or (2 if asked.quick else 7)
    # Both unwind and leave no server behind. A shell has a command that it runs behind it ignore Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _folder() as folder:
        if asked.profile:
            print(profiles.measure(folder))
            return
        told = _measured(folder, set(asked.only or PARTS), rounds, asked.quick)
    figures = report.text(told, rounds, load)
    print(figures)
    if asked.write:
        report.write(figures)
    if asked.check and not all(claim.holds for claim in told.claims):
        sys.exit("not all that we claim holds")


def _measured(folder: Path, parts: set[str], rounds: int, quick: bool) -> Report:
    told = Report([], [])
    with postgresql.running(folder / "postgresql") as postgres, ours.running(postgres, folder) as mine:
        if "calls" in parts:
            _say("single calls")
            with predecessor.running(postgres, folder) as theirs:
                report.calls(told, calls.measure(Bench(postgres, mine, theirs, rounds)))
        if "before" in parts:
            _say("the version before")
            with before.running(postgres, folder) as old:
                found = before.measure(Bench(postgres, mine, old, rounds)) if old else {}
                report.before(told, found)
        if parts & {"batch", "missing", "holes", "depth", "tags", "overload"}:
            _others(told, Bench(postgres, mine, mine, min(rounds, 5)), parts, quick)
        if "parsing" in parts:
            _say("DAG files")
            bench = Bench(postgres, mine, mine, min(rounds, 5))
            parsing.tell(told, parsing.measure(bench, folder))
    if "waiting" in parts:
        _say("sensors")
        waiting.tell(told, waiting.measure(folder / "waiting"))
    if "startup" in parts:
        _say("startup")
        report.startup(told, startup.measure(rounds), startup.packages())
    return told


def _others(told: Report, bench: Bench, parts: set[str], quick: bool) -> None:
    """Measures what our server is measured by alone."""
    if "tags" in parts:
        _say("not modified")
        report.tags(told, tags.measure(bench))
    if "overload" in parts:
        _say("overload")
        overload.tell(told, overload.measure(bench))
    if "batch" in parts:
        _say("many at once")
        report.batch(told, batch.measure(bench))
    if "missing" in parts:
        _say("missing")
        report.missing(told, missing.measure(bench))
    if "holes" in parts:
        _say("holes")
        holes.tell(told, holes.measure(bench, quick))
    if "depth" in parts:
        _say("depth")
        recorded = 200_000 if quick else 10_000_000
        report.depth(told, depth.measure(bench, recorded), recorded)


@contextmanager
def _folder() -> Iterator[Path]:
    """Makes the folder of this run, which other runs at the same time do not share."""
    folder = WORK / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _say(what: str) -> None:
    print(f"{time.perf_counter() - STARTED:5.0f} s  {what}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and a shorter list: 5 minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some parts only")
    parser.add_argument("--rounds", type=int, help="how many rounds (7, or 2 with --quick)")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    parser.add_argument("--check", action="store_true", help="fail where a claim does not hold")
    parser.add_argument("--profile", action="store_true", help="where our server's time goes, instead")
    return parser.parse_args()


if __name__ == "__main__":
    main()
