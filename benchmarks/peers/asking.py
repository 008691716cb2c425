"""Asking the peers: each is a process that waits for its turn."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..machine import ROOT
from .turns import CAP, Case

# Nothing is told to anybody about what is measured here.
QUIET = {"PYTHONPATH": "", "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "1", "DAGSTER_DISABLE_TELEMETRY": "1"}


class Told(msgspec.Struct):
    """How long an answer took and how many it found; nothing where it took too long."""

    seconds: float | None
    found: int | None


Ask = Callable[[Case, str], float]


@contextmanager
def running(name: str, python: Path) -> Iterator[Ask]:
    """Runs a peer and yields what asks it: it returns the seconds it took, or the cap where it took more."""
    command = [str(python), "-m", f"benchmarks.peers.{name}"]
    environment, pipe = {**os.environ, **QUIET}, subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe) as process:
        # What took too long does so again, and all the more where there are more hours.
        over: dict[tuple[bool, str], int] = {}

        def ask(case: Case, what: str) -> float:
            if case.hours >= over.get((case.block, what), case.hours + 1):
                return CAP
            told = _told(process, case, what)
            if told.seconds is None:
                over[case.block, what] = case.hours
                return CAP
            if told.found != (case.runs if what == "runs" else case.hours // 2):
                raise RuntimeError(f"{name} finds {told.found} {what} missing in {case}")
            return told.seconds

        try:
            yield ask
        finally:
            process.kill()


def _told(process: "subprocess.Popen[bytes]", case: Case, what: str) -> Told:
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps([*case, what]).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ends: the reason is above")
    return msgspec.json.decode(line, type=Told)
