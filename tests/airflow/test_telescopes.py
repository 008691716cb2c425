from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped] # has no types

from observatory import Dataset, DatasetRelease, DatasetType, Invalid, ObservatoryApi, Unavailable
from observatory.airflow import SnapshotRelease, SnapshotTelescope
from observatory.storage import Loaded, Source
from observatory.storage.duckdb import DuckDB

from .codes import ALL_DONE, DAYS, NOTHING_LOADED, Codes, loaded

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
    assert run_dag(telescope.make_dag()) == NOTHING_LOADED
    assert sorted(telescope.fetched) == [7, 10, 17]


def test_a_release_that_was_withdrawn_is_loaded_again_and_nothing_else(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    run_dag(telescope.make_dag())
    release = api.get_dataset_releases(100, dataset.id)[1]
    api.put_dataset_release(DatasetRelease(id=release.id, state="withdrawn", reason="found bad"))
    assert recorded(api, dataset) == [7, 17]
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert sorted(telescope.fetched) == [7, 10, 10, 17]
    assert recorded(api, dataset) == [7, 10, 17]


def test_a_new_snapshot_of_the_source_is_the_only_one_that_is_loaded(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    telescope.days = DAYS[:3]
    run_dag(telescope.make_dag())
    telescope.days = DAYS
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert sorted(telescope.fetched) == [1, 7, 10, 17]
    assert recorded(api, dataset) == [1, 7, 10, 17]


def test_a_damaged_download_is_neither_kept_nor_loaded(
    api: ObservatoryApi, dataset: Dataset, telescope: Codes, run_dag: RunDag
) -> None:
    telescope.damaged = True
    assert run_dag(telescope.make_dag()) == loaded("failed", "failed", "failed")
    assert DuckDB(telescope.folder).shards(dataset.address) == []
    assert [one.failures for one in api.get_missing(dataset_id=dataset.id, reasons=["failed"])] == [1, 1, 1]
    telescope.damaged, telescope.newest = False, 4
    # The damaged ones are tried again after a pause.
    assert run_dag(telescope.make_dag()) == loaded("success")
    assert sorted(telescope.fetched) == [1, 7, 10, 17]
    assert recorded(api, dataset) == [1]


@pytest.mark.parametrize(
    ("kept_at", "times"), [(None, [1, 1, 2, 2]), ("memory://of_telescopes", [1, 1, 1, 1])]
)
def test_a_download_that_is_whole_is_kept_for_the_next_try_and_one_that_was_changed_is_fetched_again(
    api: ObservatoryApi,
    dataset: Dataset,
    tmp_path: Path,
    run_dag: RunDag,
    kept_at: str | None,
    times: list[int],
) -> None:
    class Breaking(Codes):
        def load(self, release: SnapshotRelease, source: Source) -> Loaded:
            fetched.append(len(self.fetched))
            if kept_at:
                assert MemoryFileSystem().find("of_telescopes")
            if len(fetched) == 2:
                assert isinstance(source, Path)
                source.write_text("code\n")
            if len(fetched) < 4:
                raise Unavailable("no disk")
            return super().load(release, source)

    fetched: list[int] = []
    again: dict[str, Any] = {"retries": 3, "default_args": {"retry_delay": 0}}
    breaking = Breaking("changed", dataset, tmp_path, newest=1, kept_at=kept_at, **again)
    assert run_dag(breaking.make_dag()) == loaded("success")
    assert fetched == times
    assert list(tmp_path.glob("work/*/*")) == MemoryFileSystem().find("of_telescopes") == []
    # Each try had a claim of its own, so that an earlier one could not have recorded any more.
    assert [one.holder[-5:] for one in api.get_claims(dataset_id=dataset.id)] == [
        f"try {n}" for n in (1, 2, 3, 4)
    ]
    [release] = api.get_dataset_releases(dataset_id=dataset.id)
    assert release.row_count == 17


def test_downloads_are_removed_once_they_are_in_the_book(telescope: Codes, run_dag: RunDag) -> None:
    run_dag(telescope.make_dag())
    assert list(telescope.folder.glob("work/*/*")) == []


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

    assert Named(dataset.name).dataset.id == dataset.id
    with pytest.raises(Invalid, match=r"0 datasets are called 'nobody'.*add it to the book"):
        Named("nobody").dataset  # noqa: B018


def test_a_source_is_not_asked_without_what_it_needs(
    api: ObservatoryApi, dataset: Dataset, tmp_path: Path, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    telescope = Codes("needing", dataset, tmp_path, airflow_conns=["partner"], newest=1, retries=9)
    assert run_dag(telescope.make_dag()) == {"find_missing_releases": "failed", "ingest": "upstream_failed"}
    assert not api.count_missing(dataset_id=dataset.id)  # nothing was told of the source
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", "sftp://there")
    assert run_dag(telescope.make_dag()) == loaded("success")


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

    assert len(Alone().make_dag().tasks) == 2
