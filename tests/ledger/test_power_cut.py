"""The power goes while a book is written to: what was acknowledged is there, once, and all of it is sound."""

import importlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from observatory.ledger import upgrade
from observatory.ledger.soundness import check

from .conftest import DAY_0

HERE = Path(__file__).parent
Acknowledged = frozenset[tuple[int, int]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test, which is gone at the end also where it is large."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse here that can be used")
    try:
        importlib.import_module("mfusepy")
    except (ImportError, OSError) as error:
        pytest.skip(f"a file system of our own cannot be mounted here: {error}")
    with tempfile.TemporaryDirectory(prefix="observatory-cut-") as name:
        yield Path(name)


class Machine:
    """A machine with a disk that forgets, on which a process records into a book."""

    def __init__(self, mount: Path, writer: subprocess.Popen[str]) -> None:
        self.mount = mount
        self._writer = writer
        self._acknowledged: set[tuple[int, int]] = set()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self._writer.stdout
        for line in self._writer.stdout:
            dataset, _, number = line.partition(" ")
            self._acknowledged.add((int(dataset), int(number)))

    @property
    def acknowledged(self) -> Acknowledged:
        """Returns what the book has said it keeps."""
        return frozenset(self._acknowledged.copy())

    def wait_for(self, number: int) -> None:
        """Waits until so many releases are acknowledged."""
        until = time.monotonic() + 60
        while len(self._acknowledged) < number:
            assert self._writer.poll() is None, "the writer has ended"
            assert time.monotonic() < until, "nothing is acknowledged"
            time.sleep(0.01)

    def cut(self, disk: Path, seed: int | None) -> Acknowledged:
        """Writes to a folder what is on the disk at this moment; returns what was acknowledged before it."""
        before = self.acknowledged
        told = f"{disk} {'' if seed is None else seed}"
        with open(self.mount / ".cut", "wb", buffering=0) as file:
            file.write(told.encode())
        return before

    def end(self) -> None:
        """Ends the writer."""
        self._writer.kill()
        self._reading.join()
        self._writer.wait()
        assert self._writer.stdout
        self._writer.stdout.close()


@contextmanager
def running(
    folder: Path, begin: Path | None, first: int, synchronous: str | None = None
) -> Iterator[Machine]:
    """Starts a machine with what is on a disk."""
    mount = folder / "mount"
    mount.mkdir(exist_ok=True)
    disk = [] if begin is None else [str(begin)]
    files = subprocess.Popen([sys.executable, HERE / "losing_files.py", mount, *disk])
    try:
        while not mount.is_mount():
            assert files.poll() is None, "the file system did not start"
            time.sleep(0.01)
        told = [str(mount / "book.db"), str(first), *([synchronous] if synchronous else [])]
        writer = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.steady_writer", *told],
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent.parent,
        )
        machine = Machine(mount, writer)
        try:
            yield machine
        finally:
            machine.end()
    finally:
        subprocess.run(["umount", "--lazy", mount], check=False)
        files.wait(30)


def recorded(book: Path) -> Counter[tuple[int, int]]:
    """Returns how often each release is in a book."""
    with closing(sqlite3.connect(book)) as connection:
        rows = connection.execute("SELECT dataset_id, start_date FROM dataset_releases").fetchall()
    days = {(DAY_0 + timedelta(n)).isoformat(timespec="microseconds"): n for n in range(40_000)}
    return Counter((dataset, days[start]) for dataset, start in rows)


def lost(disk: Path, acknowledged: Acknowledged) -> Acknowledged:
    """Starts on a disk as a server does, and returns what was acknowledged and is not there.

    The book is sound, and nothing is in it twice.
    """
    book = disk / "book.db"
    upgrade(f"sqlite:///{book}")
    report = check(f"sqlite:///{book}")
    assert report.is_sound, dict(report.told)
    there = recorded(book)
    assert set(there.values()) <= {1}
    return acknowledged - there.keys()


def cut_often(folder: Path, rounds: int, cuts: int) -> int:
    """Cuts the power at many moments and goes on from the last one each time; returns how often."""
    chance = random.Random(20)
    disk: Path | None = None
    kept: Acknowledged = frozenset()
    for turn in range(rounds):
        with running(folder, disk, first=turn * 1000) as machine:
            machine.wait_for(1)
            taken = []
            for number in range(cuts):
                time.sleep(chance.uniform(0, 0.4))
                at = folder / f"disk{turn}.{number}"
                taken.append((at, machine.cut(at, None if number % 3 == 0 else chance.randrange(10**6))))
        for at, acknowledged in taken:
            assert lost(at, kept | acknowledged) == frozenset()
        disk, acknowledged = taken[-1]
        kept |= acknowledged
        assert len(acknowledged) > 5
        for at, _ in taken[:-1]:
            shutil.rmtree(at)
    return rounds * cuts


def test_what_was_acknowledged_survives_a_power_cut(folder: Path) -> None:
    assert cut_often(folder, rounds=2, cuts=6) == 12


@pytest.mark.long
def test_what_was_acknowledged_survives_many_power_cuts(folder: Path) -> None:
    assert cut_often(folder, rounds=10, cuts=20) == 200


def test_a_cut_while_a_book_is_made_leaves_one_that_can_be_made(folder: Path) -> None:
    taken = []
    with running(folder, None, first=0) as machine:
        number = 0
        while not machine.acknowledged:
            taken.append(folder / f"disk{number}")
            machine.cut(taken[-1], None if number % 2 else number)
            number += 1
            time.sleep(0.005)
    assert len(taken) > 5
    for disk in random.Random(3).sample(taken, 6):
        assert lost(disk, frozenset()) == frozenset()


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_this_file_system_does_lose_what_nobody_waited_for(folder: Path, synchronous: str) -> None:
    with running(folder, None, first=0, synchronous=synchronous) as machine:
        machine.wait_for(50)
        acknowledged = machine.cut(folder / "disk", None)

    assert len(lost(folder / "disk", acknowledged)) > 5
