"""The route that takes run events of OpenLineage: a job that speaks it records its releases without code."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from litestar import Response, Router, post

from ..errors import Invalid, ObservatoryError
from ..intervals import Moment, Period, Step
from ..ledger import Database, Transaction, lineage, releases
from ..ledger.lineage import Found
from ..ledger.replies import Reply, once
from ..naming import table_period
from ..records import BATCH, DatasetRelease
from ..rules import period
from .bodies import Asked
from .openlineage import Output, RunEvent, condition_of, nominal, places_of, row_count, run_of, version_label
from .subsets import Unclear, periods_of
from .tags import json


class Taken(msgspec.Struct, omit_defaults=True):
    """What became of one output of a run, or of one period of it."""

    namespace: str
    name: str
    status: Literal["recorded", "there already", "ignored"]
    why: str = ""
    dataset_id: int | None = None
    release_id: int | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None


class Received(msgspec.Struct):
    """What was recorded of an event, and what was not, and why."""

    recorded: int
    outputs: list[Taken]
    why: str = ""


Told = tuple[Output, DatasetRelease]


def routes(database: Database) -> Router:
    """Returns the route of run events."""

    @post(
        "/lineage",
        operation_id="receiveLineage",
        summary="Receive a run event of OpenLineage",
        status_code=200,
        opt={"right": "record", "body": RunEvent},
    )
    async def receive(request: Asked) -> Response[Received]:
        event = await request.told(RunEvent, tolerant=True)
        token = await request.token()
        if why := _nothing(event):
            return json(Received(0, [], why))
        outputs = event.outputs or []
        found = await database.read(request.caller, lineage.find, [places_of(one) for one in outputs])
        told, ignored = _told(event, outputs, found)
        if len(told) > BATCH:
            raise Invalid("so much cannot be recorded at once", {"outputs": f"name at most {BATCH} periods"})
        taken = await database.write(request.caller, once, token, NOTED, _record, told) if told else []
        return json(Received(sum(one.status == "recorded" for one in taken), [*taken, *ignored]))

    return Router("/", route_handlers=[receive], tags=["OpenLineage"])


def _nothing(event: RunEvent) -> str:
    """Returns why nothing is recorded of an event whatever it wrote, if that is so."""
    if event.run is None or event.job is None:
        return "nothing is recorded of an event without run and job"
    if event.event_type != "COMPLETE":
        return f"nothing is recorded of an event of type {event.event_type or 'OTHER'}"
    return "" if event.outputs else "nothing is recorded of a run without outputs"


def _told(
    event: RunEvent, outputs: Sequence[Output], found: Sequence[Found | str]
) -> tuple[list[Told], list[Taken]]:
    """Returns the releases that an event tells of, and the outputs that it tells nothing of."""
    told: list[Told] = []
    ignored: list[Taken] = []
    for output, where in zip(outputs, found, strict=True):
        if isinstance(where, str):
            ignored.append(Taken(output.namespace, output.name, "ignored", where))
            continue
        try:
            periods = [period(one) for one in _periods(event, output, where)]
        except (Unclear, Invalid) as error:
            why = str(error)
            ignored.append(Taken(output.namespace, output.name, "ignored", why, where.dataset.id))
            continue
        # How many rows each of several periods has, nobody says.
        rows = row_count(output) if len(periods) == 1 else None
        told += [(output, _release(event, output, where, one, rows)) for one in periods]
    return told, ignored


def _periods(event: RunEvent, output: Output, found: Found) -> list[Period]:
    kind = found.dataset.dataset_type.table_type
    granularity: Step | None = kind.granularity
    if condition := condition_of(output):
        return periods_of(condition, granularity)
    if suffix := found.place.suffix:
        if (of_table := table_period(suffix, kind.type_id, granularity)) is None:
            raise Unclear(f"no {kind.type_id} table of the dataset ends with {suffix}")
        return [of_table]
    scheduled = nominal(event)
    if isinstance(scheduled, str):
        raise Unclear(scheduled)
    return [scheduled]


def _release(event: RunEvent, output: Output, found: Found, one: Period, rows: int | None) -> DatasetRelease:
    assert event.job
    assert event.run
    job = {"job_namespace": event.job.namespace, "job_name": event.job.name, "run_id": event.run.run_id}
    return DatasetRelease(
        dataset=found.dataset,
        start_date=one.start_date,
        end_date=one.end_date,
        version_label=version_label(output),
        row_count=rows,
        ingestion_end=event.event_time if event.event_time.tzinfo else None,
        run=run_of(event),
        extras={"openlineage": job},
    )


async def _record(tx: Transaction, told: Sequence[Told]) -> list[Taken]:
    """Records releases, each for itself, and returns what became of each."""
    outcomes = await releases.record_each(tx, [release for _, release in told])
    return [_taken(*one, outcome) for one, outcome in zip(told, outcomes, strict=True)]


def _taken(output: Output, told: DatasetRelease, outcome: releases.Outcome) -> Taken:
    made = Taken(output.namespace, output.name, "ignored", dataset_id=told.dataset.id)
    made.start_date, made.end_date = told.start_date, told.end_date
    if isinstance(outcome, ObservatoryError):
        made.why = str(outcome)
    else:
        made.status = "recorded" if outcome.is_new else "there already"
        made.release_id = outcome.release.id
    return made


async def _again(_: Transaction, noted: Any) -> list[Taken]:
    return msgspec.convert(noted, list[Taken])


NOTED = Reply(msgspec.to_builtins, _again)
