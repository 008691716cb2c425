from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from observatory import Dataset, DatasetRelease, DatasetType, Invalid, ObservatoryApi
from observatory.airflow import SnapshotRelease, SnapshotTelescope
from observatory.storage.duckdb import DuckDB

from .codes import ALL_DONE, DAYS, Codes

RunDag = Callable[[DAG], dict[str, str]]


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


def test_a_damaged_download_is_neither_kept_nor_loaded(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    telescope.damaged = True
    assert run_dag(telescope.make_dag())["download"] == "failed"
    assert DuckDB(telescope.folder).shards(dataset.address) == []
    telescope.damaged = False
    # The damaged one is tried again after a pause.
    assert run_dag(telescope.make_dag()) == ALL_DONE
    assert telescope.fetched == [7, 10, 17]
    assert recorded(api, dataset) == [10, 17]


def test_a_download_that_was_changed_on_disk_is_fetched_again(telescope: Codes) -> None:
    (release,) = telescope.offered()[:1]
    telescope._download(release)
    telescope._download(release)
    assert telescope.fetched == [17]
    (file,) = telescope.folder.glob("downloads/*/*/codes.csv")
    file.write_text("code\n")
    telescope._download(release)
    assert telescope.fetched == [17, 17]
    telescope._download(SnapshotRelease(release.release_date, version_label="v17.1"))
    telescope._download(SnapshotRelease(release.release_date, version_label="v17.1", digest="md5:1"))
    assert telescope.fetched == [17, 17, 17, 17]


def test_downloads_are_removed_once_they_are_in_the_book(telescope: Codes, run_dag: RunDag) -> None:
    run_dag(telescope.make_dag())
    assert list(telescope.folder.glob("downloads/*/*")) == []


def test_releases_that_would_overwrite_each_other_are_refused(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes
) -> None:
    regular = api.get_table_type(type_id="regular")
    api.put_dataset_type(DatasetType(id=dataset.dataset_type.id, table_type=regular))
    telescope.api = api
    with pytest.raises(Invalid, match="2026-10-07, 2026-10-10, 2026-10-17 would overwrite each other"):
        telescope.find_missing_releases()


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
