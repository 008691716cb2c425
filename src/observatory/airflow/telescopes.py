"""Telescopes: workflows that look at a source, and load what the book is missing, a task for each release."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec
from airflow.sdk import Context

from ..client.claims import HeldClaim
from ..errors import Invalid
from ..leases import Order
from ..naming import table_name
from ..records import Dataset
from ..storage import Loaded, Source, Storage, open_storage
from ..wants import Probed
from . import claims, downloads
from .partitions import partition_key
from .recording import tell_airflow
from .releases import PartitionRelease, Release, SnapshotRelease, StreamRelease, folder_name, run_of
from .workflow import Workflow

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Release)
SETUP = "find_missing_releases"
# As many as Airflow maps a task over at most, unless its max_map_length is raised.
MOST = 1000


class Telescope(Workflow, ABC, Generic[R]):
    """Keeps a table up to date with the releases that a source publishes.

    A source is described by `offered` and `fetch`; `verify` and `read` are there to be overridden. A run
    tells the book all that is offered, and loads what is missing, by a task for each release: they run side
    by side, and one that fails stops no other. The newest `newest` releases are kept up with, or all of them;
    a run loads `per_run` of them at most, the oldest first or the newest as `order` says, and `at_once` at a
    time; the next run goes on with the others. The dataset is found in the book by its name and, where
    several have it, by the workflow. In `folder` are downloads while they are needed; in it, relative
    addresses of services that store in files begin. Workers without a common disk keep them in an object
    store too, `kept_at` a URL such as `s3://bucket/downloads`, for whoever tries again.

    A task claims its release before it loads it, so that no other run loads it too, for `claim_seconds` at a
    time; that is longer than a task waits for its next try. What it could not do in its last try is given
    back with its error, and other runs take it up after a pause.

    Every task may be repeated: what was downloaded is not downloaded again, what was loaded is replaced by
    the same, a release that was recorded is there already, and what others have taken over since is left to
    them.
    """

    # Whether `offered` tells all that the source has: else nothing is taken to be gone that it does not tell.
    sees_all = True
    release_type: type[R]

    def __init__(
        self,
        dag_id: str,
        dataset_name: str,
        workflow_id: int | None = None,
        *,
        folder: Path,
        kept_at: str | None = None,
        newest: int | None = None,
        per_run: int = MOST,
        order: Order = "oldest",
        at_once: int | None = None,
        claim_seconds: int = 900,
        **workflow: Any,
    ) -> None:
        super().__init__(dag_id, workflow_id, folder=folder, **workflow)
        self.dataset_name = dataset_name
        self.kept_at = kept_at
        self.newest = newest
        self.per_run = per_run
        self.order = order
        self.claim_seconds = claim_seconds
        self.add_setup_task(self.find_missing_releases)
        self.add_mapped_task(
            self.ingest,
            over=SETUP,
            outlets=self.assets,
            map_index_template="{{ task.op_kwargs['name'] }}",
            max_active_tis_per_dag=at_once,
        )

    @abstractmethod
    def offered(self) -> list[R]:
        """Returns the releases that the source has now; raises where it cannot be known."""

    @abstractmethod
    def fetch(self, release: R, folder: Path) -> Path:
        """Downloads a release into an empty folder and returns the file.

        Raise Empty or Unobtainable where the source says that there is nothing, or not any more.
        """

    def verify(self, release: R, file: Path) -> None:
        """Raises where a file is not what the source published; the source says how to tell."""

    def read(self, release: R, file: Path) -> Source:
        """Returns the rows of a downloaded file, or the file itself where the storage service can read it."""
        return file

    def load(self, release: R, source: Source) -> Loaded:
        """Loads a release into the storage, in place of what is there of it."""
        return self.storage().load(_table(self.dataset, release), source)

    def find_missing_releases(self, **context: Any) -> list[dict[str, Any]]:
        """Tells the book what the source offers, and returns what is to be loaded of it, a task for each.

        Before that it checks the dependencies, so that no source is asked in vain.
        """
        self.check_dependencies()
        offered, probed = claims.probe(self.api, self.dataset.id, self.offered, self.sees_all)
        newest = offered[-self.newest :] if self.newest else offered
        self.check_tables(newest)
        run = run_of(cast(Context, context))
        missing = claims.missing_of(self.api, self.dataset.id, newest)
        free = claims.loadable(missing, run, datetime.now(UTC))
        releases = claims.chosen(newest, free, self.order, self.per_run)
        log.info(
            "%s, the newest %d looked at, %s",
            _offers(probed),
            len(newest),
            _to_do(len(missing), len(releases), claims.why_not(missing)),
        )
        of = len(releases)
        return [{"name": _name(one), "release": msgspec.to_builtins(one), "of": of} for one in releases]

    def make_release(self, **context: Any) -> list[R]:
        """Returns the releases that the run found missing."""
        said = context["ti"].xcom_pull(task_ids=SETUP) or []
        return [msgspec.convert(one["release"], self.release_type) for one in said]

    def ingest(self, name: str, release: dict[str, Any], of: int, **context: Any) -> int:
        """Claims one release, downloads, loads and records it, and returns its id."""
        one = msgspec.convert(release, self.release_type)
        asked = (self.dataset.id, one.period, cast(Context, context), self.claim_seconds)
        try:
            with claims.claimed(self.api, *asked) as claim:
                self._load(one, claim)
                [id] = self.add_new_dataset_releases(one, claim, **context)
        except claims.Settled:
            if (told := self._told_again(one, cast(Context, context))) is None:
                raise
            id = told
        finally:
            if self.kept_at:
                # The next try, which may be on another worker, does not reach this disk.
                downloads.remove(self.work_folder(one))
        try:
            self.cleanup(one)
        except Exception as error:  # each store has errors of its own, and the release is in the book
            log.warning("The download of %s is not removed: %s", name, error)
        # The numbers are also given apart, for whoever shows them as a bar.
        numbers = {"what": "loaded", "done": context["ti"].map_index + 1, "total": of}
        log.info("loaded %s, %s rows (%d of %d)", name, one.row_count, numbers["done"], of, extra=numbers)
        return id

    def cleanup(self, release: Release | Sequence[Release], **context: Any) -> None:
        """Removes the downloads of releases that are in the book."""
        for one in [release] if isinstance(release, Release) else release:
            downloads.remove(self.work_folder(one), self._url(one))

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset that is kept; raises Invalid unless exactly one has the name."""
        found = self.api.get_datasets(workflow_id=self.workflow_id, name=self.dataset_name)
        if len(found) != 1:
            cure = "add it to the book" if not found else "give the id of its workflow"
            raise Invalid(f"{len(found)} datasets are called {self.dataset_name!r}", {"workflow_id": cure})
        return found[0]

    def datasets(self) -> list[Dataset]:
        """Returns the one dataset that the telescope loads, whatever else its workflow has."""
        return [self.dataset]

    def storage(self) -> Storage:
        """Returns the service that stores the dataset."""
        return open_storage(self.dataset.service, self.folder)

    def check_tables(self, releases: Sequence[R]) -> None:
        """Raises Invalid unless each release has a table, or a partition, of its own."""
        tables = Counter(_table(self.dataset, release) for release in releases)
        twice = [_name(one) for one in releases if tables[_table(self.dataset, one)] > 1]
        if twice:
            cure = (
                "give the dataset type one as fine as the releases are, such as sharded_hour, or partitioned"
            )
            raise Invalid(f"releases of {', '.join(twice)} would overwrite each other", {"table_type": cure})

    def _told_again(self, release: R, context: Context) -> int | None:
        """Tells Airflow of what an earlier try recorded, and could not tell any more; returns its id."""
        there = claims.recorded_by(self.api, self.dataset.id, release.period, run_of(context))
        if there is None:
            return None
        there.dataset, release.row_count = self.dataset, there.row_count
        tell_airflow(self.api, [there], context, self.partitioned)
        return there.id

    def _load(self, release: R, claim: HeldClaim) -> None:
        """Downloads a release, unless an earlier try did, and loads it; notes what is known of it then."""
        folder = self.work_folder(release)
        if (download := downloads.noted(folder, release, self._url(release))) is None:
            download = self._download(release, folder)
        if claim.lost:
            raise claim.lost
        loaded = self.load(release, self.read(release, folder / download.file))
        release.row_count, release.digest = loaded.row_count, loaded.digest
        release.ingestion_start, release.ingestion_end = download.ingestion_start, datetime.now(UTC)
        release.extras = release.extras | {"source_digest": download.digest}

    def _download(self, release: R, folder: Path) -> downloads.Download:
        downloads.remove(folder, self._url(release))
        folder.mkdir(parents=True)
        started = datetime.now(UTC)
        file = self.fetch(release, folder)
        self.verify(release, file)
        return downloads.note(folder, file, release, started, self._url(release))

    def _url(self, release: Release) -> str | None:
        """Returns where a download is kept for other workers too, if it is."""
        return self.kept_at and f"{self.kept_at.rstrip('/')}/{self.dag_id}/{folder_name(release)}"


class SnapshotTelescope(Telescope[SnapshotRelease]):
    """Keeps a table for each of the snapshots that a source publishes: shards by date."""

    release_type = SnapshotRelease


class PartitionTelescope(Telescope[PartitionRelease]):
    """Keeps a table with a partition for each of the periods of which a source publishes the data."""

    release_type = PartitionRelease


class StreamTelescope(Telescope[StreamRelease]):
    """Keeps one table, into which releases bring rows that are new, or replace those with the same `keys`.

    Releases may be loaded in any order, and again: what came with a later one stays. The first release of a
    dataset says so by `is_first`, for a source that gives all it has at first, and what changed after that.
    """

    release_type = StreamRelease

    @property
    @abstractmethod
    def keys(self) -> Sequence[str]:
        """The columns by which a row is the same row."""

    def load(self, release: StreamRelease, source: Source) -> Loaded:
        """Adds the rows of a release to the table, or replaces those that are there."""
        return self.storage().upsert(_table(self.dataset, release), source, self.keys, as_of=release.end_date)

    def check_tables(self, releases: Sequence[StreamRelease]) -> None:
        """Raises Invalid unless all releases go into one table."""
        kind = self.dataset.dataset_type.table_type.type_id
        if kind.partition("_")[0] != "regular":
            raise Invalid(
                f"the table of a stream is one, and not {kind}", {"table_type": "give its type regular"}
            )

    def find_missing_releases(self, **context: Any) -> list[dict[str, Any]]:
        """Finds what is to be loaded, as other telescopes do, and marks the first release there ever is.

        It is the first also where later ones are in the book before it.
        """
        tasks = super().find_missing_releases(**context)
        releases = [task["release"] for task in tasks]
        first = min(releases, key=lambda one: datetime.fromisoformat(one["start_date"]), default=None)
        if first and not self._is_settled_before(datetime.fromisoformat(first["start_date"])):
            first["is_first"] = True
        return tasks

    def _is_settled_before(self, start: datetime) -> bool:
        runs = self.api.get_coverage(self.dataset.id).runs
        return bool(runs) and runs[0].start_date < start


def _table(dataset: Dataset, release: Release) -> str:
    kind = dataset.dataset_type.table_type
    return table_name(dataset.address, kind.type_id, kind.granularity, release.start_date, release.end_date)


def _name(release: Release) -> str:
    return partition_key(release.period)


def _offers(probed: Probed) -> str:
    restated = f", {probed.restated} of them restated" if probed.restated else ""
    return f"{probed.offers} releases offered{restated}"


def _to_do(missing: int, releases: int, why: str) -> str:
    """Returns what a run will do about what is missing."""
    if not missing:
        return "nothing is missing"
    if not releases:
        return f"{missing} missing, but none to load now: {why}"
    others = "" if releases == missing else f", {releases} of them to be loaded by this run"
    return f"{missing} missing{others}"
