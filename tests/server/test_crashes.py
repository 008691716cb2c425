"""A server that is killed again and again loses nothing it answered, and stores nothing twice or by half."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from observatory import (
    Dataset,
    DatasetRelease,
    DatasetType,
    ObservatoryApi,
    Organisation,
    Period,
    Unavailable,
    Workflow,
    WorkflowType,
)
from observatory.intervals import merge

from .conftest import Served

DAY_0 = datetime(1990, 1, 1, tzinfo=UTC)
THREADS = 6
SIZE = 40  # releases in a batch


def furnished(api: ObservatoryApi, count: int) -> list[Dataset]:
    """Creates datasets to record into."""
    workflow = api.post_workflow(
        Workflow(
            name="w",
            organisation=api.post_organisation(Organisation(name="o")),
            workflow_type=api.post_workflow_type(WorkflowType(type_id="t", name="t")),
        )
    )
    kind = api.post_dataset_type(
        DatasetType(type_id="t", name="t", table_type=api.get_table_type(type_id="regular"))
    )
    return [
        api.post_dataset(
            Dataset(name=f"d{i}", service="s", address="a", workflow=workflow, dataset_type=kind)
        )
        for i in range(count)
    ]


def day(dataset: Dataset, number: int) -> DatasetRelease:
    """Returns the release of a day; every seventh day is never delivered, so that there are gaps."""
    at = DAY_0 + timedelta(number + number // 6)
    return DatasetRelease(dataset=dataset, start_date=at, end_date=at + timedelta(1), row_count=number)


class Writers:
    """Threads that record until all is recorded, however often the server is gone."""

    def __init__(self, url: str, datasets: list[Dataset], each: int) -> None:
        self.url = url
        self.datasets = datasets
        self.each = each
        self.done = 0
        self.lost = 0
        self.unsure: list[list[DatasetRelease]] = []
        self._ending = threading.Event()
        self._lock = threading.Lock()

    def record(self, seed: int) -> None:
        """Records a share of each dataset, one by one and in batches; what fails is told again."""
        mine = [(dataset, number) for dataset in self.datasets for number in range(seed, self.each, THREADS)]
        random.Random(seed).shuffle(mine)
        with ObservatoryApi(self.url, timeout=10) as api:
            while mine and not self._ending.is_set():
                told = [day(*one) for one in mine[: 10 if len(mine) % 3 else 1]]
                try:
                    if len(told) == 1:
                        api.post_dataset_release(told[0])
                    else:
                        api.post_dataset_releases(told)
                except Unavailable:
                    with self._lock:
                        self.lost += 1
                    time.sleep(0.05)
                    continue
                del mine[: len(told)]
                with self._lock:
                    self.done += len(told)

    def record_once(self, dataset: Dataset) -> None:
        """Records batches that are not told again when their answer is lost, until all others have ended."""
        number = 0
        with ObservatoryApi(self.url, timeout=10) as api:
            api._transport._attempts = 1
            while not self._ending.is_set():
                batch = [day(dataset, number + i) for i in range(SIZE)]
                number += SIZE
                try:
                    api.post_dataset_releases(batch)
                except Unavailable:
                    self.unsure.append(batch)
                    time.sleep(0.1)

    def run(self, served: Served, kills: int, once: Dataset) -> None:
        """Records all while the server is killed so many times."""
        total = self.each * len(self.datasets)
        with ThreadPoolExecutor(THREADS + 1) as pool:
            try:
                whole = pool.submit(self.record_once, once)
                shares = [pool.submit(self.record, seed) for seed in range(THREADS)]
                for kill in range(kills):
                    while self.done < total * (kill + 0.5) / kills and not all(s.done() for s in shares):
                        time.sleep(0.005)
                    served.kill()
                    served.start()
                for share in shares:
                    share.result()
            finally:
                self._ending.set()
            whole.result()


def check_crashes(served: Callable[..., Served], database_url: str, writes: int, kills: int) -> None:
    server = served(database_url, workers=2)
    with ObservatoryApi(server.url) as api:
        *datasets, once = furnished(api, 4)
    each = writes // len(datasets)
    writers = Writers(server.url, datasets, each)
    writers.run(server, kills, once)

    assert writers.lost > 0
    with ObservatoryApi(server.url) as api:
        for dataset in datasets:
            periods = [release.period for release in api.get_dataset_releases(None, dataset.id, history=True)]
            assert periods == [day(dataset, number).period for number in range(each)]
            assert api.get_coverage(dataset.id).runs == merge(periods)
        there = {release.period for release in api.get_dataset_releases(None, once.id, history=True)}
        for batch in writers.unsure:
            assert len(there & {release.period for release in batch}) in (0, SIZE)
        assert len(there) % SIZE == 0
        covered: list[Period] = api.get_coverage(once.id).runs
        assert covered == merge(there)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_killing_the_server_loses_nothing_and_doubles_nothing(
    served: Callable[..., Served], database_url: str
) -> None:
    check_crashes(served, database_url, writes=1500, kills=4)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killing_the_server_twenty_times_loses_nothing_and_doubles_nothing(
    served: Callable[..., Served], database_url: str
) -> None:
    check_crashes(served, database_url, writes=5000, kills=20)


def test_a_server_that_is_stopped_finishes_what_it_began(
    served: Callable[..., Served], database_url: str
) -> None:
    server = served(database_url)
    with ObservatoryApi(server.url) as api:
        [dataset] = furnished(api, 1)
        with ThreadPoolExecutor(1) as pool:
            batch = pool.submit(api.post_dataset_releases, [day(dataset, number) for number in range(10_000)])
            time.sleep(0.2)
            server.stop()
            recorded = batch.result()
    server.start()
    with ObservatoryApi(server.url) as api:
        assert len(recorded) == len(api.get_dataset_releases(dataset_id=dataset.id)) == 10_000
