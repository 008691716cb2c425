"""Processes that use a storage, as tests want them: several at once, or killed in the middle."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
from datetime import UTC, datetime
from pathlib import Path
from observatory.storage import open_storage
storage = open_storage({service!r}, Path({folder!r}))
print("begun", flush=True)
"""


def started(service: str, folder: Path, call: str) -> subprocess.Popen[bytes]:
    """Starts a process that makes a call of `storage`, and returns when it is about to."""
    program = PROGRAM.format(service=service, folder=str(folder)) + textwrap.dedent(call)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    return process


def killed(service: str, folder: Path, call: str, after: float) -> None:
    """Kills a process in the middle of a call of `storage`."""
    process = started(service, folder, call)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
