"""What a workflow works on: one or several releases of its datasets, before they are in the book."""

import json
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import msgspec
from airflow.sdk import Context

from ..client.claims import Claimed, claim_id
from ..errors import Invalid
from ..intervals import Period, moment
from ..records import Dataset, DatasetRelease, Run
from ..wants import Offer


class Release(msgspec.Struct, kw_only=True):
    """A release with the facts that are known of it; its period comes with the kinds below.

    `version_label` and `published` are the source's own, and so are, of what it offers, `size` in bytes and
    `digest`; what is recorded is the digest of what was loaded. Times are aware; a date is its midnight UTC.
    """

    version_label: str | None = None
    published: datetime | None = None
    size: int | None = None
    ingestion_start: datetime | None = None
    ingestion_end: datetime | None = None
    row_count: int | None = None
    digest: str | None = None
    extras: dict[str, Any] = {}

    @property
    def start_date(self) -> datetime:
        """The start of the period of data."""
        raise NotImplementedError

    @property
    def end_date(self) -> datetime:
        """The end of the period of data, not in it, or its start where it is an instant."""
        raise NotImplementedError

    @property
    def period(self) -> Period:
        """The period of data."""
        return Period(self.start_date, self.end_date)

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, date):
                setattr(self, field.name, _moment(field.name, value))


# What of it is recorded, and what the book is told of an offer.
FACTS = [name for name in Release.__struct_fields__ if name != "size"]
TOLD = ("version_label", "published", "size", "digest", "extras")


class SnapshotRelease(Release):
    """All of a dataset as it was at one moment."""

    release_date: datetime

    @property
    def start_date(self) -> datetime:
        """The moment of the snapshot."""
        return self.release_date

    @property
    def end_date(self) -> datetime:
        """The moment of the snapshot."""
        return self.release_date


class PeriodRelease(Release):
    """The data of [start_date, end_date)."""

    start_date: datetime
    end_date: datetime

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_date > self.end_date:
            raise Invalid("a release ends before it starts", {"end_date": "must not be before start_date"})


class PartitionRelease(PeriodRelease):
    """All the data of [start_date, end_date): a partition of its table."""


class StreamRelease(PeriodRelease):
    """What changed in [start_date, end_date): rows that are new, and rows that replace others.

    `is_first` is set for the first one of a dataset, for sources that give all they have at first.
    """

    is_first: bool = False


def recorded(release: Release, dataset: Dataset, run: Run) -> DatasetRelease:
    """Returns the record of a release of a dataset; facts that are not known are not given."""
    record = DatasetRelease(
        dataset=dataset, start_date=release.start_date, end_date=release.end_date, run=run
    )
    for field in FACTS:
        value = getattr(release, field)
        if value is not None:
            setattr(record, field, value)
    return record


def folder_name(release: Release) -> str:
    """Returns what the folder of a release is called: by its times, microseconds only if there are some."""
    times = dict.fromkeys((release.start_date, release.end_date))
    return "-".join(f"{time:%Y%m%dT%H%M%S}" + (f"{time:.%f}" * bool(time.microsecond)) for time in times)


def offer_of(release: Release) -> Offer:
    """Returns what the book is told of a release that a source offers."""
    told = {field: getattr(release, field) for field in TOLD}
    return Offer(release.start_date, release.end_date, **told)


def run_of(context: Context) -> Run:
    """Returns the task that runs, as the book names it: by the run id, since not all runs have a date."""
    task = context["ti"]
    mapped = task.map_index is not None and task.map_index >= 0
    return Run(
        dag_id=task.dag_id,
        run_id=task.run_id,
        task_id=task.task_id,
        map_index=task.map_index if mapped else None,
        url=task.log_url,
    )


def token_of(run: Run, claim: Claimed | None = None) -> str:
    """Returns how a task names what it records, in each of its attempts: by its DAG, run and mapped index.

    By the claim too, if there is one: a task that is cleared may load anew what was withdrawn meanwhile.
    """
    said = json.dumps([run.dag_id, run.run_id, run.task_id, run.map_index, claim_id(claim)])
    return f"airflow-{sha256(said.encode()).hexdigest()}"


def _moment(field: str, value: date) -> datetime:
    try:
        return moment(value)
    except ValueError as error:
        raise Invalid("a release has a wrong time", {field: str(error)}) from None
