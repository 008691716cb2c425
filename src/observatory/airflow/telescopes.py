"""Telescopes: workflows that look at a source, claim what the book is missing of it, and load just that."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from airflow.sdk import Context

from ..client.claims import Claimed, HeldClaim
from ..errors import Invalid
from ..intervals import Period
from ..naming import table_name
from ..records import Dataset
from ..storage import Source, Storage, open_storage
from ..wants import Missing, Probed
from . import claims, downloads
from .releases import Release, SnapshotRelease, run_of
from .workflow import Workflow

log = logging.getLogger(__name__)
SETUP = "find_missing_releases"


class SnapshotTelescope(Workflow, ABC):
    """Keeps a date-sharded table up to date with the snapshots that a source publishes.

    A source is described by `offered` and `fetch`; `verify` and `read` are there to be overridden. All that
    is offered is told to the book, and the newest `newest` snapshots are kept up with, or all. The dataset is
    found in the book by its name and, where several have it, by the workflow. In `folder` are downloads while
    they are needed; in it, relative addresses of services that store in files begin.

    A run claims what is missing before it loads it, so that no other run loads it too, for `claim_seconds`
    at a time; that is longer than its tasks wait for each other and for their next try. What a task could
    not do in its last try is given back with its error, and other runs take it up after a pause.

    Every task may be repeated: what was downloaded is not downloaded again, a table that was loaded is
    replaced by the same, a release that was recorded is there already, and what others have taken over since
    is left to them.
    """

    # Whether `offered` tells all that the source has: else nothing is taken to be gone that it does not tell.
    sees_all = True

    def __init__(
        self,
        dag_id: str,
        dataset_name: str,
        workflow_id: int | None = None,
        *,
        folder: Path,
        newest: int | None = None,
        claim_seconds: int = 900,
        **workflow: Any,
    ) -> None:
        super().__init__(dag_id, workflow_id, **workflow)
        self.dataset_name = dataset_name
        self.folder = folder
        self.newest = newest
        self.claim_seconds = claim_seconds
        self._working_on: SnapshotRelease | None = None
        self.add_setup_task(self.find_missing_releases)
        tasks: list[Callable[..., Any]]
        tasks = [self.download, self.load, self.add_new_dataset_releases, self.cleanup]
        # Whom the whole DAG tells of its failures is told of these too.
        others = self._arguments["default_args"].get("on_failure_callback") or []
        told = [self.give_up, *(others if isinstance(others, Sequence) else [others])]
        self.add_task_chain(tasks, on_failure_callback=told)

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

    def find_missing_releases(self, **context: Any) -> bool:
        """Tells the book what the source offers, and claims what is missing; else the run ends here."""
        dataset = self.dataset()
        offered, probed = claims.probe(self.api, dataset.id, self.offered, self.sees_all)
        newest = offered[-self.newest :] if self.newest else offered
        _check_tables(dataset, newest)
        looked = f"{_offers(probed)}, the newest {len(newest)} looked at"
        missing = claims.missing_of(self.api, dataset.id, newest)
        if not missing:
            log.info("%s, nothing is missing", looked)
            return False
        run, attempt = run_of(cast(Context, context)), context["ti"].try_number
        claim, releases = claims.claim(self.api, dataset.id, newest, run, attempt, self.claim_seconds)
        if claim is None:
            # Asked again, since others may have claimed it in between.
            missing = claims.missing_of(self.api, dataset.id, newest)
            log.info("%s, %d missing, but none to load now: %s", looked, len(missing), _why_not(missing))
            return False
        others = (
            "" if len(releases) == len(missing) else f", {len(releases)} of them to be loaded by this run"
        )
        log.info("%s, %d missing%s", looked, len(missing), others)
        context["ti"].xcom_push(key="releases", value=msgspec.to_builtins(releases))
        context["ti"].xcom_push(key="claim", value=claim)
        return True

    def make_release(self, **context: Any) -> list[SnapshotRelease]:
        """Returns the releases that the run has claimed."""
        said = context["ti"].xcom_pull(task_ids=SETUP, key="releases")
        return msgspec.convert(said, list[SnapshotRelease])

    def download(self, releases: list[SnapshotRelease], **context: Any) -> None:
        """Downloads and verifies what is not there yet from an earlier attempt."""
        self._each("downloaded", releases, context, self._download)

    def load(self, releases: list[SnapshotRelease], **context: Any) -> None:
        """Loads each snapshot into its shard."""
        dataset = self.dataset()
        storage = self.storage(dataset)

        def load_one(release: SnapshotRelease) -> None:
            download = downloads.noted(self._folder(release), release)
            if download is None:
                cure = "clear the task download too"
                raise Invalid(f"the download of {_day(release)} is not there any more", {"download": cure})
            file = self._folder(release) / download.file
            loaded = storage.load(_table(dataset, release), self.read(release, file))
            release.row_count, release.digest = loaded.row_count, loaded.digest
            release.ingestion_start, release.ingestion_end = download.ingestion_start, datetime.now(UTC)
            release.extras = release.extras | {"source_digest": download.digest}

        self._each("loaded", releases, context, load_one)

    def add_new_dataset_releases(
        self, release: Release | Sequence[Release], claim: Claimed | None = None, **context: Any
    ) -> list[int]:
        """Records what the run still holds of its claim, and returns the ids of that.

        What the source has restated becomes the next revision.
        """
        releases = [release] if isinstance(release, Release) else release
        with self._held(releases, context) as (held, left):
            return super().add_new_dataset_releases(left, held, **context) if left else []

    def cleanup(self, releases: list[SnapshotRelease], **context: Any) -> None:
        """Gives back what is left of the claim, and removes the downloads that nobody needs any more."""
        self.api.give_back_claim(_claim(context))
        missing = claims.missing_of(self.api, self.dataset().id, releases)
        needed = {Period(one.start_date, one.end_date) for one in missing}
        for release in releases:
            if release.period not in needed:
                downloads.remove(self._folder(release))

    def give_up(self, context: Any) -> None:
        """Gives back what a task held that failed for good: what it failed at with the error."""
        with self._connected():
            releases, error = self.make_release(**context), context.get("exception")
            failed = releases if self._working_on is None else [self._working_on]
            if isinstance(error, KeyboardInterrupt):
                failed = []  # whoever stops a run says nothing against what it loads
            claims.give_up(self.api, _claim(context), releases, failed, error or "the task failed")

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

    @contextmanager
    def _held(
        self, releases: Sequence[Any], context: dict[str, Any]
    ) -> Iterator[tuple[HeldClaim, list[Any]]]:
        """Keeps the claim of the run while a task works, with what it still holds of the releases."""
        self._working_on = None
        dataset, claim = self.dataset(), _claim(context)
        with claims.held(self.api, dataset.id, claim, releases, self.claim_seconds) as (held, left):
            yield held, left

    def _each(
        self,
        what: str,
        releases: list[SnapshotRelease],
        context: dict[str, Any],
        work: Callable[[SnapshotRelease], None],
    ) -> None:
        """Does the work for each release that is still the run's, while it is."""
        with self._held(releases, context) as (held, left):
            for number, release in enumerate(left, 1):
                if held.lost:
                    raise held.lost
                self._working_on = release
                work(release)
                self._working_on = None
                _log_progress(what, release, number, len(left))

    def _download(self, release: SnapshotRelease) -> None:
        folder = self._folder(release)
        if downloads.noted(folder, release):
            return
        downloads.remove(folder)
        folder.mkdir(parents=True)
        started = datetime.now(UTC)
        file = self.fetch(release, folder)
        self.verify(release, file)
        downloads.note(folder, file, release, started)

    def _folder(self, release: SnapshotRelease) -> Path:
        return self.folder / "downloads" / self.dag_id / f"{release.release_date:%Y%m%dT%H%M%S}"


def _table(dataset: Dataset, release: SnapshotRelease) -> str:
    kind = dataset.dataset_type.table_type
    period = (release.start_date, release.end_date)
    return table_name(dataset.address, kind.type_id, kind.granularity, *period)


def _claim(context: dict[str, Any]) -> int:
    """Returns the claim of the run."""
    said: int = context["ti"].xcom_pull(task_ids=SETUP, key="claim")
    return said


def _offers(probed: Probed) -> str:
    restated = f", {probed.restated} of them restated" if probed.restated else ""
    return f"{probed.offers} releases offered{restated}"


def _why_not(missing: Sequence[Missing]) -> str:
    """Returns who holds what is missing, and when what failed is tried again."""
    held = sorted({(one.holder, one.claimed_until) for one in missing if one.claimed_until})
    said = [f"{holder} loads it until {until:%Y-%m-%d %H:%M}" for holder, until in held]
    failed = [one.retry_at for one in missing if one.retry_at and not one.claimed_until]
    if failed:
        said.append(f"{len(failed)} failed, tried again from {min(failed):%Y-%m-%d %H:%M} UTC on")
    return "; ".join(said) or "it was loaded just now"


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
