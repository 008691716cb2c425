"""Downloads: each in a folder of its own on disk, with a note beside it once it is whole.

Where workers share no disk, what is noted is kept in an object store too, or on a disk that all of them
mount, for a worker that tries again what another one began. `url` is the folder of the download there, in
any form that fsspec knows, as `s3://bucket/downloads/mpc/20260101T000000`; its credentials are found as
fsspec and its file system say. What another worker left on its own disk it removes itself: `remove` without
a URL removes no more than that.
"""

import hashlib
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from .releases import Release


class Download(msgspec.Struct):
    """What is noted beside a file that is completely there and verified.

    `offered_digest` is what the source says, in its own way, of what it offers.
    """

    file: str
    digest: str
    version_label: str | None
    ingestion_start: datetime
    offered_digest: str | None = None


def note(folder: Path, file: Path, release: Release, started: datetime, url: str | None = None) -> Download:
    """Notes that a file in the folder is whole; written last, it tells that the file is there."""
    name, digest = file.relative_to(folder).as_posix(), _digest(file)
    download = Download(name, digest, release.version_label, started, release.digest)
    _note(folder).write_bytes(msgspec.json.encode(download))
    if url:
        _keep(folder, download, url)
    return download


def noted(folder: Path, release: Release, url: str | None = None) -> Download | None:
    """Returns what is noted of a complete download of just what is offered, or None.

    What is kept under the URL is fetched into the folder, unless it is there.
    """
    with suppress(OSError):
        if download := _whole(folder, _note(folder).read_bytes(), release):
            return download
    return _fetched(folder, release, url) if url else None


def remove(folder: Path, url: str | None = None) -> None:
    """Removes a download, if there is one."""
    # The notes first: half a folder with a note would look whole.
    if url:
        store, path = _store(url)
        for kept in (path + ".json", path):
            with suppress(FileNotFoundError):
                store.rm(kept, recursive=True)
    _note(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, download: Download, url: str) -> None:
    """Puts a download where other workers find it."""
    store, path = _store(url)
    kept = f"{path}/{download.file}"
    if "file" in store.protocol:
        # A disk that is mounted everywhere has folders; object stores need none.
        store.makedirs(kept.rpartition("/")[0], exist_ok=True)
    store.put_file(str(folder / download.file), kept)
    store.pipe_file(path + ".json", msgspec.json.encode(download))


def _fetched(folder: Path, release: Release, url: str) -> Download | None:
    """Fetches what is kept of just what is offered; returns None where there is none, or it is not whole."""
    store, path = _store(url)
    with suppress(FileNotFoundError):
        noted = store.cat_file(path + ".json")
        if (download := _offered(folder, noted, release)) is None:
            return None
        remove(folder)
        file = folder / download.file
        file.parent.mkdir(parents=True)
        store.get_file(f"{path}/{download.file}", str(file))
        if _whole(folder, noted, release):
            _note(folder).write_bytes(noted)
            return download
    return None


def _whole(folder: Path, noted: bytes, release: Release) -> Download | None:
    """Returns what is noted if it is of what is offered, and the file is there as it was then."""
    download = _offered(folder, noted, release)
    return download if download and _digest(folder / download.file) == download.digest else None


def _offered(folder: Path, noted: bytes, release: Release) -> Download | None:
    """Returns what is noted if it is of what is offered, in a file that is in the folder and nowhere else."""
    try:
        download = msgspec.json.decode(noted, type=Download)
    except msgspec.DecodeError:
        return None
    is_inside = (folder / download.file).resolve().is_relative_to(folder.resolve())
    offered = (download.version_label, download.offered_digest) == (release.version_label, release.digest)
    return download if is_inside and offered else None


def _store(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL and the path in it."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # has no types

    store, path = url_to_fs(url)
    # What it listed before may have been changed by another worker since.
    store.invalidate_cache()
    return store, str(path)


def _note(folder: Path) -> Path:
    """Returns the file beside a folder that tells what is in it."""
    return folder.with_name(folder.name + ".json")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
