"""Downloads on disk: each in a folder of its own, with a note beside it once it is whole."""

import hashlib
import shutil
from datetime import datetime
from pathlib import Path

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


def note(folder: Path, file: Path, release: Release, started: datetime) -> Download:
    """Notes that a file in the folder is whole; written last, it tells that all else is there."""
    name, digest = str(file.relative_to(folder)), _digest(file)
    download = Download(name, digest, release.version_label, started, release.digest)
    _note(folder).write_bytes(msgspec.json.encode(download))
    return download


def noted(folder: Path, release: Release) -> Download | None:
    """Returns what is noted of a complete download of just what is offered, or None."""
    try:
        download = msgspec.json.decode(_note(folder).read_bytes(), type=Download)
        is_whole = _digest(folder / download.file) == download.digest
    except (OSError, msgspec.DecodeError):
        return None
    offered = (download.version_label, download.offered_digest)
    return download if is_whole and offered == (release.version_label, release.digest) else None


def remove(folder: Path) -> None:
    """Removes a download, if there is one."""
    # The note first: half a folder with a note would look whole.
    _note(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _note(folder: Path) -> Path:
    """Returns the file beside a folder that tells what is in it."""
    return folder.with_name(folder.name + ".json")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
