"""Ends processes with whoever started them, even where that is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

# Ends all processes of the sessions it is told of when who tells it them is gone, however that came.
KEEPER = """
import os, shutil, signal, sys
sessions = {int(line) for line in sys.stdin}
again = True
while again:
    again = False
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if os.getsid(pid) in sessions and open(f"/proc/{pid}/stat").read().rpartition(")")[2][1] != "Z":
                os.kill(pid, signal.SIGKILL)
                again = True
        except (ProcessLookupError, FileNotFoundError):
            pass
for folder in sys.argv[1:]:
    shutil.rmtree(folder, ignore_errors=True)
"""


class Keeper:
    """A process that waits for the end of this one, and then ends others and removes folders."""

    def __init__(self, *folders: object) -> None:
        command = [sys.executable, "-c", KEEPER, *map(str, folders)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def watch(self, leader: int) -> None:
        """Ends all processes of a session too, in the end."""
        assert self._process.stdin
        print(leader, file=self._process.stdin, flush=True)

    def end(self) -> None:
        """Ends them now."""
        self._process.communicate()


def kill(leader: int) -> None:
    """Kills all processes of a session: some of them, such as tasks of Airflow, have groups of their own."""
    for pid in _session(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> Iterator[int]:
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == leader:
                yield pid
