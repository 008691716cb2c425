"""How long a program waits for its client, and how much a bare install brings."""

import os
import subprocess
import time
from pathlib import Path

from . import environments
from .rounds import Sample, Samples, alternate

OURS = "import observatory as o; o.ObservatoryApi('http://127.0.0.1:5002')"
THEIRS = """
from observatory.api.client import ApiClient, Configuration
from observatory.api.client.api.observatory_api import ObservatoryApi
ObservatoryApi(api_client=ApiClient(Configuration(host='http://127.0.0.1:5002')))
"""


def measure(rounds: int) -> Samples:
    """Measures importing and building both clients, and Python that does nothing, each in a new process."""
    mine, theirs = environments.bare(), environments.predecessor()
    sides = {
        "ours": lambda _: _run(mine, OURS),
        "theirs": lambda _: _run(theirs, THEIRS),
        "nothing": lambda _: _run(mine, "pass"),
    }
    # The first turn also writes the compiled modules.
    return {name: found[1:] for name, found in alternate(sides, rounds + 1).items()}


def packages() -> list[str]:
    """Returns what our bare install brings beside itself."""
    return [name for name in environments.packages(environments.bare()) if name != "observatory-ledger"]


def _run(python: Path, code: str) -> Sample:
    started = time.perf_counter()
    # Isolated, so that it sees its own environment and not this folder.
    child = subprocess.Popen([python, "-I", "-c", code])
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{python} cannot build its client")
    return Sample(1, seconds, used.ru_utime + used.ru_stime)
