"""Downloads on disk, and where other workers find them: in memory, on a mounted disk, and on an S3 server."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # has no types

from observatory.airflow import SnapshotRelease
from observatory.airflow.downloads import Download, note, noted, remove

from ..s3 import serving_bucket

BEGUN = datetime(2026, 10, 7, 7, 28, tzinfo=UTC)
DAY = datetime(2026, 10, 7, tzinfo=UTC)
RELEASE = SnapshotRelease(DAY, version_label="7", digest="etag:7")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with serving_bucket("kept") as bucket:
        yield f"{bucket}/downloads"


@pytest.fixture(params=["memory", "disk", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return f"file://{tmp_path}-mounted/20261007T000000"
    root = "memory://downloads" if request.param == "memory" else request.getfixturevalue("s3")
    return f"{root}/{tmp_path.name}/20261007T000000"


def store(url: str) -> tuple[Any, str]:
    found: tuple[Any, str] = url_to_fs(url)
    found[0].invalidate_cache()
    return found


def downloaded(folder: Path, url: str | None = None, text: str = "000 Greenwich") -> Download:
    file = folder / "data" / "codes.txt"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return note(folder, file, RELEASE, BEGUN, url)


def test_a_download_is_found_again_as_it_was_noted(tmp_path: Path) -> None:
    assert noted(tmp_path / "a", RELEASE) is None
    assert noted(tmp_path / "a", RELEASE) is None
    download = downloaded(tmp_path / "a")
    assert noted(tmp_path / "a", RELEASE) == download
    assert (download.file, download.ingestion_start) == ("data/codes.txt", BEGUN)


def test_a_download_that_was_not_finished_or_was_changed_is_not_found(tmp_path: Path) -> None:
    downloaded(tmp_path / "a")
    (tmp_path / "a/data/codes.txt").write_text("000 Green")
    assert noted(tmp_path / "a", RELEASE) is None
    (tmp_path / "a.json").write_text('{"file": "data/co')
    assert noted(tmp_path / "a", RELEASE) is None


@pytest.mark.parametrize(("version_label", "digest"), [("8", "etag:7"), ("7", "etag:8")])
def test_a_download_of_what_is_no_longer_offered_is_not_found(
    tmp_path: Path, url: str, version_label: str, digest: str
) -> None:
    downloaded(tmp_path / "a", url)
    offered = SnapshotRelease(DAY, version_label=version_label, digest=digest)
    assert noted(tmp_path / "a", offered, url) is None
    assert noted(tmp_path / "b", offered, url) is None


def test_another_worker_finds_what_was_kept(tmp_path: Path, url: str) -> None:
    assert noted(tmp_path / "b", RELEASE, url) is None
    download = downloaded(tmp_path / "a", url)
    assert noted(tmp_path / "b", RELEASE) is None
    assert noted(tmp_path / "b", RELEASE, url) == download
    assert (tmp_path / "b/data/codes.txt").read_text() == "000 Greenwich"
    assert noted(tmp_path / "b", RELEASE) == download


def test_what_is_on_disk_is_not_fetched_again(tmp_path: Path, url: str) -> None:
    download = downloaded(tmp_path / "a", url)
    there, path = store(url)
    there.rm(path, recursive=True)
    assert noted(tmp_path / "a", RELEASE, url) == download


def test_remains_of_a_download_are_replaced_by_what_was_kept(tmp_path: Path, url: str) -> None:
    download = downloaded(tmp_path / "a", url)
    (tmp_path / "b/data").mkdir(parents=True)
    (tmp_path / "b/data/codes.txt").write_text("000 Gr")
    (tmp_path / "b/part").write_text("")
    assert noted(tmp_path / "b", RELEASE, url) == download
    assert not (tmp_path / "b/part").exists()


@pytest.mark.parametrize("text", [b"000 Green", None])
def test_what_was_kept_in_part_is_never_taken_for_whole(tmp_path: Path, url: str, text: bytes | None) -> None:
    downloaded(tmp_path / "a", url)
    there, path = store(url)
    if text is None:
        there.rm_file(f"{path}/data/codes.txt")
    else:
        there.pipe_file(f"{path}/data/codes.txt", text)
    assert noted(tmp_path / "b", RELEASE, url) is None
    assert noted(tmp_path / "b", RELEASE) is None


def test_a_worker_that_dies_before_the_note_is_kept_leaves_nothing_to_find(tmp_path: Path, url: str) -> None:
    there, path = store(url)
    if "file" in there.protocol:
        there.makedirs(f"{path}/data")
    there.pipe_file(f"{path}/data/codes.txt", b"000 Greenwich")
    assert noted(tmp_path / "b", RELEASE, url) is None
    there.pipe_file(path + ".json", b'{"file": "data/co')
    assert noted(tmp_path / "b", RELEASE, url) is None


def test_a_note_that_points_out_of_its_folder_is_not_followed(tmp_path: Path, url: str) -> None:
    downloaded(tmp_path / "a", url)
    there, path = store(url)
    changed = there.cat_file(path + ".json").replace(b"data/codes.txt", b"../codes.txt")
    there.pipe_file(path + ".json", changed)
    there.pipe_file(path.rpartition("/")[0] + "/codes.txt", b"000 Greenwich")
    assert noted(tmp_path / "b", RELEASE, url) is None
    assert not (tmp_path / "codes.txt").exists()


def test_removing_a_download_leaves_those_with_similar_names(tmp_path: Path, url: str) -> None:
    downloaded(tmp_path / "a", url)
    other = downloaded(tmp_path / "a-2", url + "-2")
    for _ in range(2):
        remove(tmp_path / "a", url)
    there, path = store(url)
    assert not there.exists(path)
    assert not there.exists(path + ".json")
    assert not (tmp_path / "a").exists()
    assert noted(tmp_path / "a", RELEASE, url) is None
    assert noted(tmp_path / "b", RELEASE, url + "-2") == other


def test_removing_what_is_on_disk_leaves_what_is_kept(tmp_path: Path, url: str) -> None:
    download = downloaded(tmp_path / "a", url)
    remove(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    assert noted(tmp_path / "a", RELEASE, url) == download


def test_a_bucket_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path, s3: str) -> None:
    with pytest.raises(OSError, match="bucket"):
        downloaded(tmp_path / "a", s3.replace("kept", "no-such-bucket") + "/20261007T000000")
