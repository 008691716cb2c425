from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from observatory import Dataset, DatasetRelease, DatasetType, Invalid, ObservatoryApi, Unavailable
from observatory.airflow import SnapshotRelease, SnapshotTelescope
from observatory.storage.duckdb import DuckDB

RunDag = Callable[[DAG], dict[str, str]]
DAYS = [datetime(2026, 10, day, tzinfo=UTC) for day in (1, 7, 10, 17)]
ALL_DONE = {
    "find_missing_releases": "success",
    "download": "success",
    "load": "success",
    "add_new_dataset_releases": "success",
    "cleanup": "success",
}


class Codes(SnapshotTelescope):
    """A source whose snapshots have as many rows as the day has in its date."""

    def __init__(self, dag_id: str, dataset: Dataset, folder: Path, **telescope: Any) -> None:
        arguments = {"retries": 0, "newest": 3} | telescope
        super().__init__(dag_id, dataset.name, dataset.workflow.id, folder=folder, **arguments)
        self.days = DAYS
        self.fetched: list[int] = []
        self.damaged = False
        self.breaks_at: int | None = None

    def offered(self) -> list[SnapshotRelease]:
        return [
            SnapshotRelease(day, version_label=f"v{day:%d}", published=day) for day in reversed(self.days)
        ]

    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        day = release.release_date.day
        if day == self.breaks_at:
            raise Unavailable("the source broke off")
        self.fetched.append(day)
        file = folder / "codes.csv"
        file.write_text("code\n" + "".join(f"{number:03}\n" for number in range(day)))
        return file

    def verify(self, release: SnapshotRelease, file: Path) -> None:
        if self.damaged:
            raise Invalid("damaged", {"checksum": "download it again"})


@pytest.fixture
def telescope(dataset: Dataset, tmp_path: Path, request: pytest.FixtureRequest) -> Codes:
    return Codes(request.node.name, dataset, tmp_path)


def recorded(api: ObservatoryApi, dataset: Dataset) -> list[int]:
    return [release.start_date.day for release in api.get_dataset_releases(100, dataset.id)]


def test_the_newest_releases_are_loaded_and_recorded_with_what_is_known_of_them(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    before = datetime.now(UTC)
    assert run_dag(telescope.make_dag()) == ALL_DONE
    after = datetime.now(UTC)

    storage = DuckDB(telescope.folder)
    shards = storage.shards(dataset.address)
    assert [shard[-8:] for shard in shards] == ["20261007", "20261010", "20261017"]
    releases = api.get_dataset_releases(100, dataset.id)
    for shard, release in zip(shards, releases, strict=True):
        day = release.start_date.day
        assert release.start_date == release.end_date
        assert (release.version_label, release.published) == (f"v{day:02}", release.start_date)
        assert storage.measure(shard).row_count == release.row_count == day
        assert storage.measure(shard).digest == release.digest
        assert release.extras["source_digest"].startswith("sha256:")
        assert release.ingestion_start is not None
        assert release.ingestion_end is not None
        assert before <= release.ingestion_start < release.ingestion_end <= after
        assert release.run is not None
        assert release.run.dag_id == telescope.dag_id


def test_nothing_is_fetched_while_nothing_is_missing(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    run_dag(telescope.make_dag())
    states = run_dag(telescope.make_dag())
    assert states.pop("find_missing_releases") == "success"
    assert set(states.values()) == {"skipped"}
    assert telescope.fetched == [7, 10, 17]


def test_a_release_that_was_withdrawn_is_loaded_again_and_nothing_else(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    run_dag(telescope.make_dag())
    release = api.get_dataset_releases(100, dataset.id)[1]
    api.put_dataset_release(DatasetRelease(id=release.id, state="withdrawn", reason="found bad"))
    assert recorded(api, dataset) == [7, 17]
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert telescope.fetched == [7, 10, 17, 10]
    assert recorded(api, dataset) == [7, 10, 17]


def test_a_new_snapshot_of_the_source_is_the_only_one_that_is_loaded(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    telescope.days = DAYS[:3]
    run_dag(telescope.make_dag())
    telescope.days = DAYS
    run_dag(telescope.make_dag())
    assert telescope.fetched == [1, 7, 10, 17]
    assert recorded(api, dataset) == [1, 7, 10, 17]


def test_a_run_that_breaks_off_records_nothing_and_the_next_one_goes_on(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    telescope.breaks_at = 17
    assert run_dag(telescope.make_dag())["download"] == "failed"
    assert recorded(api, dataset) == []
    telescope.breaks_at = None
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert telescope.fetched == [7, 10, 17]
    assert recorded(api, dataset) == [7, 10, 17]


def test_a_damaged_download_is_neither_kept_nor_loaded(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    telescope.damaged = True
    assert run_dag(telescope.make_dag())["download"] == "failed"
    assert DuckDB(telescope.folder).shards(dataset.address) == []
    telescope.damaged = False
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert telescope.fetched == [7, 7, 10, 17]


def test_a_download_that_was_changed_on_disk_is_fetched_again(telescope: Codes) -> None:
    (release,) = telescope.offered()[:1]
    telescope.download([release])
    telescope.download([release])
    assert telescope.fetched == [17]
    (file,) = telescope.folder.glob("downloads/*/*/codes.csv")
    file.write_text("code\n")
    telescope.download([release])
    assert telescope.fetched == [17, 17]
    telescope.download([SnapshotRelease(release.release_date, version_label="v17.1")])
    assert telescope.fetched == [17, 17, 17]


def test_downloads_are_removed_once_they_are_in_the_book(telescope: Codes, run_dag: RunDag) -> None:
    run_dag(telescope.make_dag())
    assert list(telescope.folder.glob("downloads/*/*")) == []


def test_a_source_that_offers_nothing_at_all_is_an_outage(api: ObservatoryApi, telescope: Codes) -> None:
    telescope.api = api
    telescope.days = []
    with pytest.raises(Unavailable, match="offers nothing at all"):
        telescope.find_missing_releases(ti=None)


def test_releases_that_would_overwrite_each_other_are_refused(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes
) -> None:
    regular = api.get_table_type(type_id="regular")
    api.put_dataset_type(DatasetType(id=dataset.dataset_type.id, table_type=regular))
    telescope.api = api
    with pytest.raises(Invalid, match="2026-10-07, 2026-10-10, 2026-10-17 would overwrite each other"):
        telescope.find_missing_releases(ti=None)


def test_a_dataset_is_found_by_its_name_and_must_be_one(
    api: ObservatoryApi, dataset: Dataset, tmp_path: Path
) -> None:
    class Named(Codes):
        def __init__(self, name: str) -> None:
            super().__init__("named", dataset, tmp_path)
            self.dataset_name, self.workflow_id, self.api = name, None, api

    assert Named(dataset.name).dataset().id == dataset.id
    with pytest.raises(Invalid, match=r"0 datasets are called 'nobody'.*add it to the book"):
        Named("nobody").dataset()


def test_rows_may_be_read_from_a_download_instead_of_loading_it_as_it_is(
    dataset: Dataset, tmp_path: Path, run_dag: RunDag
) -> None:
    class Rows(Codes):
        def read(self, release: SnapshotRelease, file: Path) -> Iterator[dict[str, Any]]:
            for line in file.read_text().splitlines()[1:]:
                yield {"code": line, "day": release.release_date.date()}

    telescope = Rows("rows", dataset, tmp_path)
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert DuckDB(tmp_path).row_count(dataset.address + "20261017") == 17


def test_a_dag_file_is_read_while_the_book_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:9")

    class Alone(Codes):
        def __init__(self) -> None:
            SnapshotTelescope.__init__(self, "alone", "codes", folder=tmp_path)

    assert len(Alone().make_dag().tasks) == 5
