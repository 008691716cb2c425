"""Processes that load what is missing, killed while they hold claims: nothing is loaded by two at once.

A line in the file `loads` is a table in the storage. What is there twice was loaded by one that was killed,
or whose time was over, and by the one that took it over; and only the latter is in the book.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from observatory import Dataset, ObservatoryApi, Period
from observatory.wants import Offer

from .conftest import Served
from .test_crashes import furnished

DAY_0, DAY = datetime(2015, 1, 1, tzinfo=UTC), timedelta(1)
STALLING = {"c0", "c5", "c10"}  # they let their first claim run out, and live to see themselves refused


class Claimants:
    """Processes that load, of which each that is killed is followed by another."""

    def __init__(self, url: str, dataset: int, folder: Path) -> None:
        self.url, self.dataset, self.folder = url, dataset, folder
        self.killed: list[str] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._made = 0

    def start(self) -> None:
        """Starts one more."""
        number, self._made = self._made, self._made + 1
        name = f"c{number}"
        told = [self.url, str(self.dataset), str(self.folder), name, str(number)]
        command = [sys.executable, "-m", "tests.server.claimant", *told, str(int(name in STALLING))]
        self._running[name] = subprocess.Popen(command)

    def kill(self, seed: int, times: int, pause: float) -> None:
        """Kills one that holds a claim, so many times, and starts another for it, while anything is left."""
        chance = random.Random(seed)
        with ObservatoryApi(self.url) as api:
            while times and api.count_missing(dataset_id=self.dataset):
                time.sleep(chance.uniform(0, pause))
                live = {claim.holder for claim in api.get_claims(dataset_id=self.dataset, live=True)}
                with self._lock:
                    found = sorted(live & self._running.keys() - STALLING)
                    if found and self._end(name := chance.choice(found), signal.SIGKILL):
                        self.killed.append(name)
                        times -= 1
                        self.start()

    def join(self) -> None:
        """Waits for those that were not killed; each ends well when nothing is missing any more."""
        for name, process in self._running.items():
            assert process.wait(60) == 0, name

    def stop(self) -> None:
        for name in list(self._running):
            self._end(name, signal.SIGTERM)

    def _end(self, name: str, how: int) -> bool:
        process = self._running[name]
        if process.poll() is not None:
            return False
        process.send_signal(how)
        process.wait()
        del self._running[name]
        return True


def read(folder: Path, name: str) -> list[list[str]]:
    file = folder / name
    return [line.split("\t") for line in file.read_text().splitlines()] if file.exists() else []


def claims(folder: Path, name: str) -> Counter[tuple[str, int]]:
    """Returns how often a period stands in a file with a claim."""
    return Counter((period, int(claim)) for period, claim in read(folder, name))


def check_grants(folder: Path, returned: Counter[tuple[str, int]]) -> int:
    """Sees that nobody was granted what another held; returns how many were taken over."""
    of: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for period, claim, since, until in read(folder, "granted"):
        of[period].append((int(claim), since, until))
    taken_over = 0
    for period, granted in of.items():
        granted.sort()
        for (before, _, until), (after, since, _) in pairwise(granted):
            if (period, before) not in returned:
                assert datetime.fromisoformat(since) >= datetime.fromisoformat(until), (period, before, after)
                taken_over += 1
    return taken_over


def test_what_is_claimed_is_loaded_by_one_at_a_time_whoever_is_killed(
    server_url: str, tmp_path: Path
) -> None:
    load(server_url, tmp_path, 20, claimants=3, killers=1, times=1, pause=0.1)


@pytest.mark.long
def test_sixteen_that_are_killed_by_four_load_two_thousand_periods_one_at_a_time(
    served: Callable[..., Served], database_url: str, tmp_path: Path
) -> None:
    load(served(database_url, workers=2).url, tmp_path, 2000, claimants=16, killers=4, times=40, pause=2)


def load(
    url: str, folder: Path, periods: int, claimants: int, killers: int, times: int, pause: float
) -> None:
    """Lets processes load days, each of some threads kill so many of them, and looks at what became of it."""
    with ObservatoryApi(url) as api:
        [dataset] = furnished(api, 1)
        api.probe(dataset.id, [Offer(DAY_0 + n * DAY, DAY_0 + (n + 1) * DAY) for n in range(periods)])
        those = Claimants(url, dataset.id, folder)
        try:
            those.start()
            while not (folder / "granted").exists():  # the one that is to be refused has its claim
                time.sleep(0.01)
            for _ in range(claimants - 1):
                those.start()
            with ThreadPoolExecutor(killers) as pool:
                for one in [pool.submit(those.kill, seed, times, pause) for seed in range(killers)]:
                    one.result()
            those.join()
        finally:
            those.stop()
        check(api, dataset, folder, periods)
    assert those.killed


def check(api: ObservatoryApi, dataset: Dataset, folder: Path, periods: int) -> None:
    recorded = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert [one.start_date for one in recorded] == [DAY_0 + n * DAY for n in range(periods)]
    assert {one.revision for one in recorded} == {1}
    assert api.count_missing(dataset_id=dataset.id) == {}
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + periods * DAY)]

    loads, in_vain = claims(folder, "loads"), claims(folder, "refused") + claims(folder, "late")
    winner = {str(one.start_date): int(one.extras["claim"]) for one in recorded}
    assert set(loads.values()) == {1}
    assert winner.items() <= loads.keys()
    # Whoever loaded it in vain had claimed it earlier, and it was taken over.
    assert all(claim < winner[period] for period, claim in loads.keys() - winner.items())
    assert in_vain
    assert all(claim < winner[period] for period, claim in in_vain)
    assert check_grants(folder, claims(folder, "returned")) > 0
