"""Telescopes: workflows that look at a source, ask the book what is missing, and load just that."""

import hashlib
import logging
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..errors import Invalid, Unavailable
from ..naming import table_name
from ..records import Dataset, DatasetRelease
from ..storage import Source, Storage, open_storage
from .releases import SnapshotRelease
from .workflow import Workflow

log = logging.getLogger(__name__)


class Download(msgspec.Struct):
    """What is noted beside a file that is completely there and verified."""

    file: str
    digest: str
    version_label: str | None
    ingestion_start: datetime


class SnapshotTelescope(Workflow, ABC):
    """Keeps a date-sharded table up to date with the snapshots that a source publishes.

    A source is described by `offered` and `fetch`; `verify` and `read` are there to be overridden. Of what is
    offered, the newest `newest` snapshots are kept up with, or all. The dataset is found in the book by its
    name and, where several have it, by the workflow. In `folder` are downloads while they are needed; in it,
    relative addresses of services that store in files begin.

    Every task may be repeated: what was downloaded is not downloaded again, a table that was loaded is
    replaced by the same, a release that was recorded is there already.
    """

    def __init__(
        self,
        dag_id: str,
        dataset_name: str,
        workflow_id: int | None = None,
        *,
        folder: Path,
        newest: int | None = None,
        **workflow: Any,
    ) -> None:
        super().__init__(dag_id, workflow_id, **workflow)
        self.dataset_name = dataset_name
        self.folder = folder
        self.newest = newest
        self.add_setup_task(self.find_missing_releases)
        self.add_task_chain([self.download, self.load, self.add_new_dataset_releases, self.cleanup])

    @abstractmethod
    def offered(self) -> list[SnapshotRelease]:
        """Returns the snapshots that the source has now; raises where it cannot be known."""

    @abstractmethod
    def fetch(self, release: SnapshotRelease, folder: Path) -> Path:
        """Downloads a snapshot into an empty folder and returns the file."""

    def verify(self, release: SnapshotRelease, file: Path) -> None:
        """Raises where a file is not what the source published; the source says how to tell."""

    def read(self, release: SnapshotRelease, file: Path) -> Source:
        """Returns the rows of a downloaded file, or the file itself where the storage service can read it."""
        return file

    def find_missing_releases(self, ti: Any) -> bool:
        """Compares what the source offers with the book; without anything missing, the run ends here."""
        dataset = self.dataset()
        offered = self._offered_by_date()
        newest = offered[-self.newest :] if self.newest else offered
        _check_tables(dataset, newest)
        candidates = [DatasetRelease(start_date=one.start_date, end_date=one.end_date) for one in newest]
        missing = {release.start_date for release in self.api.get_missing_releases(dataset.id, candidates)}
        releases = [release for release in newest if release.release_date in missing]
        counts = len(offered), len(newest), len(releases)
        log.info("%d releases offered, the newest %d looked at, %d missing", *counts)
        ti.xcom_push(key="releases", value=msgspec.to_builtins(releases))
        return bool(releases)

    def make_release(self, **context: Any) -> list[SnapshotRelease]:
        """Returns the missing releases."""
        said = context["ti"].xcom_pull(task_ids="find_missing_releases", key="releases")
        return msgspec.convert(said, list[SnapshotRelease])

    def download(self, releases: list[SnapshotRelease]) -> None:
        """Downloads and verifies what is not there yet from an earlier attempt."""
        for number, release in enumerate(releases, 1):
            if self._downloaded(release) is None:
                self._download(release)
            _log_progress("downloaded", release, number, len(releases))

    def load(self, releases: list[SnapshotRelease]) -> None:
        """Loads each snapshot into its shard."""
        dataset = self.dataset()
        storage = self.storage(dataset)
        for number, release in enumerate(releases, 1):
            download = self._downloaded(release)
            if download is None:
                cure = "clear the task download too"
                raise Invalid(f"the download of {_day(release)} is not there any more", {"download": cure})
            file = self._folder(release) / download.file
            loaded = storage.load(_table(dataset, release), self.read(release, file))
            release.row_count, release.digest = loaded.row_count, loaded.digest
            release.ingestion_start, release.ingestion_end = download.ingestion_start, datetime.now(UTC)
            release.extras = release.extras | {"source_digest": download.digest}
            _log_progress("loaded", release, number, len(releases))

    def cleanup(self, releases: list[SnapshotRelease]) -> None:
        """Removes the downloads of releases that are in the book."""
        for release in releases:
            _remove(self._folder(release))

    def dataset(self) -> Dataset:
        """Returns the dataset; raises Invalid unless exactly one has the name."""
        found = self.api.get_datasets(workflow_id=self.workflow_id, name=self.dataset_name)
        if len(found) != 1:
            cure = "add it to the book" if not found else "give the id of its workflow"
            raise Invalid(f"{len(found)} datasets are called {self.dataset_name!r}", {"workflow_id": cure})
        return found[0]

    def datasets(self) -> list[Dataset]:
        """Returns the one dataset that the telescope loads, whatever else its workflow has."""
        return [self.dataset()]

    def storage(self, dataset: Dataset) -> Storage:
        """Returns the service that stores the dataset."""
        return open_storage(dataset.service, self.folder)

    def _offered_by_date(self) -> list[SnapshotRelease]:
        offered = sorted(self.offered(), key=lambda release: release.release_date)
        if not offered:
            # It did have some: this is an outage, and to end well here would hide it.
            raise Unavailable(f"the source of {self.dag_id} offers nothing at all; try again later")
        return offered

    def _download(self, release: SnapshotRelease) -> None:
        folder = self._folder(release)
        _remove(folder)
        folder.mkdir(parents=True)
        started = datetime.now(UTC)
        file = self.fetch(release, folder)
        self.verify(release, file)
        name = str(file.relative_to(folder))
        download = Download(name, _digest(file), release.version_label, started)
        # Written last: it tells that all else is there.
        _note(folder).write_bytes(msgspec.json.encode(download))

    def _downloaded(self, release: SnapshotRelease) -> Download | None:
        """Returns what is noted of a complete download of this very version, or None."""
        folder = self._folder(release)
        try:
            download = msgspec.json.decode(_note(folder).read_bytes(), type=Download)
            whole = _digest(folder / download.file) == download.digest
        except (OSError, msgspec.DecodeError):
            return None
        return download if whole and download.version_label == release.version_label else None

    def _folder(self, release: SnapshotRelease) -> Path:
        return self.folder / "downloads" / self.dag_id / f"{release.release_date:%Y%m%dT%H%M%S}"


def _table(dataset: Dataset, release: SnapshotRelease) -> str:
    kind = dataset.dataset_type.table_type
    period = (release.start_date, release.end_date)
    return table_name(dataset.address, kind.type_id, kind.granularity, *period)


def _note(folder: Path) -> Path:
    """Returns the file beside a folder that tells what is in it."""
    return folder.with_name(folder.name + ".json")


def _remove(folder: Path) -> None:
    # The note first: half a folder with a note would look whole.
    _note(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _check_tables(dataset: Dataset, releases: Sequence[SnapshotRelease]) -> None:
    """Raises Invalid unless each release has a table of its own."""
    tables = Counter(_table(dataset, release) for release in releases)
    twice = [_day(release) for release in releases if tables[_table(dataset, release)] > 1]
    if twice:
        cure = "give the dataset type one that is sharded, as fine as the releases are, such as sharded_hour"
        raise Invalid(f"releases of {', '.join(twice)} would overwrite each other", {"table_type": cure})


def _log_progress(what: str, release: SnapshotRelease, done: int, total: int) -> None:
    # The numbers are also given apart, for whoever shows them as a bar.
    numbers = {"what": what, "done": done, "total": total}
    log.info("%s %s (%d of %d)", what, _day(release), done, total, extra=numbers)


def _day(release: SnapshotRelease) -> str:
    return f"{release.release_date:%Y-%m-%d}"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
