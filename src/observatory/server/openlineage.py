"""A run event of OpenLineage (2-0-2), as far as it says something of releases. Pure.

The standard is open: whoever sends an event adds facets of its own, so here, unlike elsewhere in the server,
what is not known is passed over.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from ..intervals import Period
from ..ledger.lineage import Place
from ..records import Line, Run

OURS = "observatory://"
# What the authority of a namespace begins with, and the service that stores what is there.
SCHEMES = {"gs": "gcs", "s3": "s3", "s3a": "s3"}


class Expression(msgspec.Struct, rename="camel"):
    """A condition on what a run wrote, or a part of one: `type` says which of the fields it has."""

    type: str = ""
    locations: list[str] = []
    partitions: list["Partition"] = []
    operator: str = ""
    comparison: str = ""
    left: "Expression | None" = None
    right: "Expression | None" = None
    field: str = ""
    value: Any = None


class Partition(msgspec.Struct, rename="camel"):
    """A partition, by its own name or by the value in each of its dimensions."""

    identifier: str | None = None
    dimensions: dict[str, Any] = {}


class Subset(msgspec.Struct, rename="camel"):
    """Which part of a dataset a run wrote."""

    output_condition: Expression | None = None
    condition: Expression | None = None  # as drafts of the standard call it


class OutputStatistics(msgspec.Struct, rename="camel"):
    """How much a run wrote."""

    row_count: int | None = None


class OutputFacets(msgspec.Struct, rename="camel"):
    """What is known of a dataset as the output of a run."""

    subset: Subset | None = None
    output_statistics: OutputStatistics | None = None


class Version(msgspec.Struct, rename="camel"):
    """Which version of a dataset it is."""

    dataset_version: Line | None = None


class DatasetFacets(msgspec.Struct, rename="camel"):
    """What is known of a dataset."""

    version: Version | None = None


class Output(msgspec.Struct, rename="camel"):
    """A dataset that a run wrote."""

    namespace: str
    name: str
    facets: DatasetFacets | None = None
    output_facets: OutputFacets | None = None


class NominalTime(msgspec.Struct, rename="camel"):
    """For which time a run was scheduled."""

    nominal_start_time: datetime | None = None
    nominal_end_time: datetime | None = None


class AirflowDag(msgspec.Struct):
    """The DAG of a task."""

    dag_id: Line | None = None


class AirflowDagRun(msgspec.Struct):
    """The run of a DAG."""

    run_id: Line | None = None


class AirflowTask(msgspec.Struct):
    """A task of a DAG."""

    task_id: Line | None = None


class AirflowTaskInstance(msgspec.Struct):
    """A task in a run of its DAG."""

    map_index: int | None = None
    log_url: Line | None = None


class Airflow(msgspec.Struct, rename="camel"):
    """What Airflow says of a task that ran."""

    dag: AirflowDag = msgspec.field(default_factory=AirflowDag)
    dag_run: AirflowDagRun = msgspec.field(default_factory=AirflowDagRun)
    task: AirflowTask = msgspec.field(default_factory=AirflowTask)
    task_instance: AirflowTaskInstance = msgspec.field(default_factory=AirflowTaskInstance)


class RunFacets(msgspec.Struct, rename="camel"):
    """What is known of a run."""

    nominal_time: NominalTime | None = None
    airflow: Airflow | None = None


class EventRun(msgspec.Struct, rename="camel"):
    """A run of a job."""

    run_id: Line
    facets: RunFacets | None = None


class Job(msgspec.Struct):
    """A job."""

    namespace: Line
    name: Line


class RunEvent(msgspec.Struct, rename="camel"):
    """What happened to a run of a job; events of datasets and of jobs are told here too, and have no run."""

    event_time: datetime
    event_type: Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"] | None = None
    run: EventRun | None = None
    job: Job | None = None
    outputs: list[Output] | None = None


def places_of(output: Output) -> list[Place]:
    """Returns where a dataset may be in the book: by its path, or by its service and address there."""
    uri = f"{output.namespace.rstrip('/')}/{output.name.lstrip('/')}"
    if uri.startswith(OURS):
        # A slash within a name is written %2F.
        parts = [unquote(part) for part in uri.removeprefix(OURS).split("/")]
        return [Place(path=(parts[0], parts[1], parts[2]))] if len(parts) == 3 else []
    return [Place(service, address, suffix) for service, address, suffix in _addresses(output, uri)]


def _addresses(output: Output, uri: str) -> Iterator[tuple[str, str, str]]:
    """Yields services and addresses, each with the date at the end of a table's name that was left off."""
    scheme, is_uri, rest = output.namespace.partition("://")
    name = output.name
    if scheme in SCHEMES and is_uri:
        service = SCHEMES[scheme]
        yield service, f"{'gs' if service == 'gcs' else 's3'}://{uri.partition('://')[2]}", ""
    elif scheme == "postgres" and is_uri:
        yield "postgresql", name, ""
        yield "postgresql", name.partition(".")[2], ""
    elif scheme == "file":
        path = f"/{name.lstrip('/')}"
        yield "file", path, ""
        yield "file", f"file://{path}", ""
    elif not is_uri or not rest:
        yield scheme, name, ""
        stem = name.rstrip("0123456789")
        if stem != name:
            yield scheme, stem.removesuffix("$"), name.removeprefix(stem)


def run_of(event: RunEvent) -> Run:
    """Returns the run as a release names it: Airflow's own, else the job and the run of the event."""
    assert event.run
    assert event.job
    if (said := event.run.facets and event.run.facets.airflow) and said.dag.dag_id:
        index = said.task_instance.map_index
        of_task = (said.task.task_id, index if index is not None and -1 <= index < 2**31 else None)
        return Run(said.dag.dag_id, said.dag_run.run_id, *of_task, said.task_instance.log_url)
    return Run(event.job.name, event.run.run_id)


def nominal(event: RunEvent) -> Period | str:
    """Returns the time for which a run was scheduled, or why nobody can tell."""
    said = event.run and event.run.facets and event.run.facets.nominal_time
    if not said or said.nominal_start_time is None or said.nominal_end_time is None:
        return "neither a subset of the output nor a nominal time with an end says of which period it is"
    start, end = said.nominal_start_time, said.nominal_end_time
    if start.tzinfo is None or end.tzinfo is None:
        return "the nominal time has no time zone"
    return Period(start, end)


def condition_of(output: Output) -> Expression | None:
    """Returns which part of a dataset was written, if the event says so."""
    subset = output.output_facets and output.output_facets.subset
    return (subset.output_condition or subset.condition) if subset else None


def row_count(output: Output) -> int | None:
    """Returns how many rows were written, if the event says so."""
    statistics = output.output_facets and output.output_facets.output_statistics
    count = statistics.row_count if statistics else None
    return count if count is not None and 0 <= count < 2**63 else None


def version_label(output: Output) -> str | None:
    """Returns which version of the dataset was written, if the event says so."""
    version = output.facets and output.facets.version
    return version.dataset_version if version else None
