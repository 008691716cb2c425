"""What a workflow works on: one or several releases of its datasets, before they are in the book."""

import json
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import msgspec
from airflow.sdk import Context

from ..errors import Invalid
from ..intervals import moment
from ..records import Dataset, DatasetRelease, Run


class Release(msgspec.Struct, kw_only=True):
    """A release with the facts that are known of it; its period comes with the kinds below.

    `version_label` and `published` are the source's own. Times are aware; a date is its midnight UTC.
    """

    version_label: str | None = None
    published: datetime | None = None
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

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, date):
                setattr(self, field.name, _moment(field.name, value))


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


class StreamRelease(Release):
    """What changed in [start_date, end_date)."""

    start_date: datetime
    end_date: datetime

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_date > self.end_date:
            raise Invalid("a release ends before it starts", {"end_date": "must not be before start_date"})


def recorded(release: Release, dataset: Dataset, run: Run) -> DatasetRelease:
    """Returns the record of a release of a dataset; facts that are not known are not given."""
    record = DatasetRelease(
        dataset=dataset, start_date=release.start_date, end_date=release.end_date, run=run
    )
    for field in msgspec.structs.fields(Release):
        value = getattr(release, field.name)
        if value is not None:
            setattr(record, field.name, value)
    return record


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


def token_of(run: Run) -> str:
    """Returns how a task names what it records, in each of its attempts: by its DAG, run and mapped index."""
    said = json.dumps([run.dag_id, run.run_id, run.task_id, run.map_index])
    return f"airflow-{sha256(said.encode()).hexdigest()}"


def _moment(field: str, value: date) -> datetime:
    try:
        return moment(value)
    except ValueError as error:
        raise Invalid("a release has a wrong time", {field: str(error)}) from None
