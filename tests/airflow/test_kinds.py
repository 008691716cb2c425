"""The kinds of telescopes: partitions of one table, and one table into which rows are merged."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import DAG, Asset

from observatory import Dataset, DatasetRelease, DatasetType, Invalid, ObservatoryApi, TableType
from observatory.airflow import (
    PartitionRelease,
    PartitionTelescope,
    StreamRelease,
    StreamTelescope,
    dataset_asset,
)

from .codes import loaded

RunDag = Callable[[DAG], dict[str, str]]
MONTHS = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 6)]


def table(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(folder / "warehouse.duckdb", read_only=True) as connection:
        return connection.execute(query).fetchall()


def of_type(api: ObservatoryApi, dataset: Dataset, kind: TableType) -> Dataset:
    api.put_dataset_type(DatasetType(id=dataset.dataset_type.id, table_type=kind))
    return api.get_dataset(dataset.id)


class Sales(PartitionTelescope):
    """A month for each partition, with as many rows as its number."""

    broken = False

    def offered(self) -> list[PartitionRelease]:
        return [PartitionRelease(one, other, version_label="1") for one, other in pairwise(MONTHS)]

    def fetch(self, release: PartitionRelease, folder: Path) -> Path:
        rows = [f"{release.start_date:%Y-%m},{n}" for n in range(release.start_date.month + self.broken)]
        file = folder / "sales.csv"
        file.write_text("\n".join(["month,number", *rows]) + "\n")
        return file


class Moons(StreamTelescope):
    """The first release has all moons, and each later one what became known since."""

    keys = ("name",)
    seen: list[bool]

    def offered(self) -> list[StreamRelease]:
        return [StreamRelease(one, other) for one, other in pairwise(MONTHS)]

    def fetch(self, release: StreamRelease, folder: Path) -> Path:
        self.seen.append(release.is_first)
        file = folder / "moons.txt"
        file.write_text("io europa" if release.is_first else f"io moon{release.start_date.month}")
        return file

    def read(self, release: StreamRelease, file: Path) -> Iterator[dict[str, Any]]:
        for name in file.read_text().split():
            yield {"name": name, "seen": release.start_date.month}


def test_each_period_has_its_partition_of_one_table(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path
) -> None:
    monthly = api.post_table_type(
        TableType(type_id="partitioned_month", name="by month", granularity="month")
    )
    dataset = of_type(api, dataset, monthly)
    telescope = Sales("sales", dataset.name, dataset.workflow.id, folder=tmp_path, retries=0)
    assert run_dag(telescope.make_dag()) == loaded(*["success"] * 4)
    count = "SELECT month, count(*) FROM codes GROUP BY ALL ORDER BY ALL"
    assert table(tmp_path, count) == [(f"2026-0{n}", n) for n in range(1, 5)]
    releases = api.get_dataset_releases(dataset_id=dataset.id)
    assert [(one.start_date, one.end_date, one.row_count) for one in releases] == [
        (MONTHS[n - 1], MONTHS[n], n) for n in range(1, 5)
    ]
    # What was found bad is replaced, and nothing else is touched.
    api.put_dataset_release(DatasetRelease(id=releases[1].id, state="withdrawn", reason="found bad"))
    telescope.broken = True
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert table(tmp_path, count) == [("2026-01", 1), ("2026-02", 3), ("2026-03", 3), ("2026-04", 4)]


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_stream_keeps_what_came_last_whatever_is_loaded_first(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path, order: Any
) -> None:
    dataset = of_type(api, dataset, api.get_table_type(type_id="regular"))
    telescope = Moons("moons", dataset.name, dataset.workflow.id, folder=tmp_path, order=order, retries=0)
    telescope.seen = []
    assert run_dag(telescope.make_dag()) == loaded(*["success"] * 4)
    assert sorted(telescope.seen) == [False, False, False, True]
    rows = [("europa", 1), ("io", 4), ("moon2", 2), ("moon3", 3), ("moon4", 4)]
    assert table(tmp_path, "SELECT name, seen FROM codes ORDER BY ALL") == rows
    releases = api.get_dataset_releases(dataset_id=dataset.id)
    assert [one.row_count for one in releases] == [2, 2, 2, 2]
    # A release in the middle that is loaded again changes nothing that came later.
    api.put_dataset_release(DatasetRelease(id=releases[2].id, state="withdrawn", reason="found bad"))
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert telescope.seen[4:] == [False]
    assert table(tmp_path, "SELECT name, seen FROM codes ORDER BY ALL") == rows


def test_the_first_release_of_a_stream_says_so_also_where_later_ones_are_in_the_book(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path
) -> None:
    dataset = of_type(api, dataset, api.get_table_type(type_id="regular"))
    telescope = Moons("late", dataset.name, dataset.workflow.id, folder=tmp_path, newest=2, retries=0)
    telescope.seen = []
    run_dag(telescope.make_dag())
    telescope.newest = None
    run_dag(telescope.make_dag())
    assert telescope.seen.count(True) == 2
    telescope.api = api
    [first, *_] = api.get_dataset_releases(dataset_id=dataset.id)
    api.put_dataset_release(DatasetRelease(id=first.id, state="withdrawn", reason="found bad"))
    run_dag(telescope.make_dag())
    assert telescope.seen[4:] == [True]


def test_the_table_of_a_stream_is_one(api: ObservatoryApi, dataset: Dataset, tmp_path: Path) -> None:
    telescope = Moons("sharded", dataset.name, dataset.workflow.id, folder=tmp_path)
    telescope.api, telescope.seen = api, []
    with pytest.raises(Invalid, match="the table of a stream is one, and not sharded"):
        telescope.find_missing_releases(ti=None)


@pytest.mark.parametrize("partitioned", [True, False])
def test_the_asset_of_a_dataset_has_an_event_for_each_release_with_its_period_as_key(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path, partitioned: bool
) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    dataset = of_type(api, dataset, api.get_table_type(type_id="regular"))
    asset = dataset_asset(dataset)
    name = f"moons_{partitioned}"
    how: dict[str, Any] = {"assets": [asset, Asset("s3://elsewhere/x")], "partitioned": partitioned}
    telescope = Moons(name, dataset.name, dataset.workflow.id, folder=tmp_path, retries=0, **how)
    telescope.seen = []
    run_dag(telescope.make_dag())
    with create_session() as session:
        events: list[Any] = session.query(AssetEvent).filter(AssetEvent.source_dag_id == name).all()
        told = {one.extra["release_id"]: one.partition_key for one in events if one.asset.uri == asset.uri}
    releases = api.get_dataset_releases(dataset_id=dataset.id)
    keys = [f"2026-0{n}-01/2026-0{n + 1}-01" if partitioned else None for n in range(1, 5)]
    assert told == dict(zip([one.id for one in releases], keys, strict=True))
    assert len(events) == 8  # those of the other asset say nothing of a release


def test_airflow_is_told_of_a_release_also_where_the_try_that_recorded_it_could_not(
    api: ObservatoryApi, dataset: Dataset, run_dag: RunDag, tmp_path: Path
) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    class Cut(Moons):
        def add_new_dataset_releases(self, *args: Any, **context: Any) -> list[int]:
            told = super().add_new_dataset_releases(*args, **context)
            if context["ti"].try_number == 1:
                raise ConnectionError("Airflow does not answer")
            return told

        def cleanup(self, *_: Any, **context: Any) -> None:
            raise ConnectionError("the store of downloads does not answer")

    dataset = of_type(api, dataset, api.get_table_type(type_id="regular"))
    how: dict[str, Any] = {"assets": [dataset_asset(dataset)], "default_args": {"retry_delay": 0}}
    telescope = Cut("cut", dataset.name, dataset.workflow.id, folder=tmp_path, retries=1, **how)
    telescope.seen = []
    assert set(run_dag(telescope.make_dag()).values()) == {"success"}
    with create_session() as session:
        events: list[Any] = session.query(AssetEvent).filter(AssetEvent.source_dag_id == "cut").all()
    releases = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert sorted(one.extra["release_id"] for one in events) == sorted(one.id for one in releases)
    assert all(one.partition_key for one in events)
    assert len(telescope.seen) == len(releases) == 4
