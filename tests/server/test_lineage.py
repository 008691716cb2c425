"""A job that speaks OpenLineage records its releases without code, by the events that it sends anyway."""

import json
from contextlib import closing
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from observatory import Dataset, DatasetType, Grant, ObservatoryApi, Organisation, Run
from observatory.records import Role

from .conftest import Caller, key_for

SPEC = "https://openlineage.io/spec"
PRODUCER = "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3"
OURS = {"namespace": "observatory://Curtin%20Press", "name": "sales/books"}
STORED = {"namespace": "bigquery", "name": "a.b.c"}
DAY = {"nominalStartTime": "2026-11-01T00:00:00+00:00", "nominalEndTime": "2026-11-02T00:00:00Z"}


def event(*outputs: dict[str, Any], **run_facets: Any) -> dict[str, Any]:
    """Returns an event as Airflow's provider sends it, with facets that are nobody's business here."""
    base = {"_producer": PRODUCER, "_schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet"}
    airflow = {
        "dag": {"dag_id": "producer", "fileloc": "dags/a.py", "owner_links": {}, "tags": "['a']"},
        "dagRun": {"run_id": "scheduled__2026-11-01", "run_type": "scheduled", "conf": {}},
        "task": {"task_id": "load", "mapped": False, "upstream_task_ids": "[]"},
        "taskInstance": {"try_number": 1, "log_url": "http://a/dags/producer", "map_index": 3},
        "taskUuid": "01a20215-6606-7d1c-a4ad-05cddef1e176",
    }
    facets = {"airflow": {**base, **airflow}, "mine": {"x": [1]}, **run_facets}
    return {
        "eventTime": "2026-11-22T07:08:08.738719+00:00",
        "eventType": "COMPLETE",
        "inputs": [{"namespace": "observatory://alpha", "name": "crossref/raw", "facets": {}}],
        "outputs": [{"facets": {}, **output} for output in outputs],
        "job": {"namespace": "obs", "name": "producer.load", "facets": {"sql": {"query": "SELECT 1"}}},
        "run": {"runId": "01a20215-6606-7d1c-a4ad-05cddef1e176", "facets": facets},
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def subset(**condition: Any) -> dict[str, Any]:
    return {"outputFacets": {"subset": {"outputCondition": condition, "_producer": PRODUCER}}}


def compare(field: str, comparison: str, value: str) -> dict[str, Any]:
    sides = {"left": {"type": "field", "field": field}, "right": {"type": "literal", "value": value}}
    return {"type": "compare", "comparison": comparison, **sides}


def both(left: dict[str, Any], right: dict[str, Any], operator: str = "AND") -> dict[str, Any]:
    return {"type": "binary", "operator": operator, "left": left, "right": right}


def send(caller: Caller, told: Any) -> dict[str, Any]:
    answered = caller.send("POST", "/lineage", json.dumps(told))
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()
    return found


def spans(api: ObservatoryApi) -> list[tuple[str, str]]:
    def text(at: datetime) -> str:
        return at.isoformat().removesuffix(":00+00:00").removesuffix("T00:00")

    return [(text(one.start_date), text(one.end_date)) for one in api.get_dataset_releases()]


def test_a_complete_run_records_its_output_once(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    facts = {
        "facets": {"version": {"datasetVersion": "v7"}},
        "outputFacets": {"outputStatistics": {"rowCount": 120, "size": 3, "fileCount": 1}},
    }
    told = event({**OURS, **facts}, nominalTime=DAY)
    said = send(caller, told)

    assert said["recorded"] == 1
    [release] = api.get_dataset_releases()
    assert said["outputs"] == [
        {
            **OURS,
            "status": "recorded",
            "dataset_id": dataset.id,
            "release_id": release.id,
            "start_date": "2026-11-01T00:00:00Z",
            "end_date": "2026-11-02T00:00:00Z",
        }
    ]
    assert (release.row_count, release.version_label) == (120, "v7")
    assert release.run == Run("producer", "scheduled__2026-11-01", "load", 3, "http://a/dags/producer")
    assert release.ingestion_end == datetime(2026, 11, 22, 7, 8, 8, 738719, UTC)
    assert release.extras["openlineage"]["run_id"] == told["run"]["runId"]

    again = send(caller, told)
    assert (again["recorded"], again["outputs"][0]["status"]) == (0, "there already")
    assert api.get_dataset_releases(history=True) == [release]
    told["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] = 121
    other = send(caller, told)["outputs"][0]
    assert (other["status"], "is 120 in the book, not 121" in other["why"]) == ("ignored", True)


def test_an_output_is_found_by_where_it_is_stored(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    assert send(caller, event(STORED, nominalTime=DAY))["recorded"] == 1
    shard = send(caller, event({"namespace": "bigquery", "name": "a.b.c20261105"}))["outputs"][0]
    assert (shard["start_date"], shard["end_date"]) == ("2026-11-05T00:00:00Z", "2026-11-05T00:00:00Z")
    wrong = send(caller, event({"namespace": "bigquery", "name": "a.b.c202611"}))["outputs"][0]
    assert wrong["why"] == "no sharded table of the dataset ends with 202611"
    assert spans(api) == [("2026-11-01", "2026-11-02"), ("2026-11-05", "2026-11-05")]


@pytest.mark.parametrize(
    ("namespace", "name", "service", "address"),
    [
        ("gs://bucket", "path/to", "gcs", "gs://bucket/path/to"),
        ("s3a://bucket", "/path/to", "s3", "s3://bucket/path/to"),
        ("postgres://db:5432", "sales.public.books", "postgresql", "public.books"),
        ("postgres://db:5432", "sales.public.books", "postgresql", "sales.public.books"),
        ("file", "/data/books", "file", "file:///data/books"),
        ("duckdb", "warehouse.duckdb:books", "duckdb", "warehouse.duckdb:books"),
    ],
)
def test_names_of_the_standard_are_addresses_here(
    caller: Caller,
    api: ObservatoryApi,
    dataset: Dataset,
    namespace: str,
    name: str,
    service: str,
    address: str,
) -> None:
    api.put_dataset(Dataset(id=dataset.id, service=service, address=address))
    assert send(caller, event({"namespace": namespace, "name": name}, nominalTime=DAY))["recorded"] == 1


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (
            {"type": "partition", "partitions": [{"dimensions": {"date": "2026-11-03"}}]},
            [("2026-11-03", "2026-11-04")],
        ),
        (
            {"type": "partition", "partitions": [{"identifier": "202611"}, {"identifier": "202612"}]},
            [("2026-11-01", "2026-12-01"), ("2026-12-01", "2027-01-01")],
        ),
        (
            {"type": "partition", "partitions": [{"dimensions": {"year": 2026, "month": 2, "day": 1}}]},
            [("2026-02-01", "2026-02-02")],
        ),
        (
            {"type": "partition", "partitions": [{"dimensions": {"dt": "2026-11-03", "hour": "4"}}]},
            [("2026-11-03T04:00", "2026-11-03T05:00")],
        ),
        (
            {"type": "location", "locations": ["s3://b/t/dt=2026-11-03/", "s3://b/t/2026-11-04"]},
            [("2026-11-03", "2026-11-04"), ("2026-11-04", "2026-11-05")],
        ),
        (
            both(compare("d", "GREATER_EQUAL_THAN", "2026-11-03"), compare("d", "LESS_THAN", "2026-11-10")),
            [("2026-11-03", "2026-11-10")],
        ),
        (
            both(compare("d", "GREATER_THAN", "2026-11-03"), compare("d", "LESS_EQUAL_THAN", "2026-11-10")),
            [("2026-11-04", "2026-11-11")],
        ),
        (
            both(compare("d", "EQUAL", "2026-11-03"), compare("d", "EQUAL", "2026-11-07"), "OR"),
            [("2026-11-03", "2026-11-04"), ("2026-11-07", "2026-11-08")],
        ),
        (
            both(
                compare("d", "GREATER_EQUAL_THAN", "2026-11-03T10:30:00+02:00"),
                compare("d", "LESS_THAN", "2026-11-03T12:00:00Z"),
            ),
            [("2026-11-03T08:30", "2026-11-03T12:00")],
        ),
        ({"type": "partition", "partitions": [{"dimensions": {"at": "2026-11-03T00:00:00"}}]},
         [("2026-11-03", "2026-11-04")]),
    ],
)  # fmt: skip
def test_a_subset_says_of_which_periods_the_output_is(
    caller: Caller,
    api: ObservatoryApi,
    dataset: Dataset,
    condition: dict[str, Any],
    expected: list[tuple[str, str]],
) -> None:
    statistics = {"outputStatistics": {"rowCount": 5}}
    output = {**OURS, **subset(**condition)}
    output["outputFacets"] = {**output["outputFacets"], **statistics}
    assert send(caller, event(output, nominalTime=DAY))["recorded"] == len(expected)
    assert spans(api) == expected
    rows = {one.row_count for one in api.get_dataset_releases()}
    assert rows == ({5} if len(expected) == 1 else {None})


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (
            {"type": "partition", "partitions": [{"dimensions": {"date": "2026-11-03", "country": "DE"}}]},
            "a partition by date, country may be a part of a period only",
        ),
        (
            {"type": "partition", "partitions": [{"dimensions": {"country": "DE"}}]},
            "'DE' names no period",
        ),
        ({"type": "partition", "partitions": []}, "names nothing"),
        ({"type": "location", "locations": ["s3://b/t"]}, "names no period"),
        (compare("d", "LESS_THAN", "2026-11-03"), "d has no start in the subset"),
        (compare("country", "EQUAL", "DE"), "'DE' is no time"),
        (
            both(compare("d", "EQUAL", "2026-11-03"), compare("e", "EQUAL", "2026-11-04")),
            "a subset by d and e may be a part of a period only",
        ),
        ({"type": "sample"}, "a subset of type 'sample' is not understood"),
    ],
)
def test_a_subset_that_may_be_a_part_of_a_period_is_not_recorded_and_said_so(
    caller: Caller, api: ObservatoryApi, dataset: Dataset, condition: dict[str, Any], why: str
) -> None:
    said = send(caller, event({**OURS, **subset(**condition)}, nominalTime=DAY))
    assert (said["recorded"], said["outputs"][0]["status"]) == (0, "ignored")
    assert why in said["outputs"][0]["why"]
    assert api.get_dataset_releases() == []


def test_a_time_in_a_zone_that_nobody_names_is_not_guessed(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    naive = {"nominalStartTime": "2026-11-01T00:00:00", "nominalEndTime": "2026-11-02T00:00:00"}
    for facets, why in (
        ({"nominalTime": naive}, "the nominal time has no time zone"),
        ({"nominalTime": {"nominalStartTime": DAY["nominalStartTime"]}}, "a nominal time with an end"),
        ({}, "neither a subset of the output nor a nominal time"),
    ):
        assert why in send(caller, event(OURS, **facets))["outputs"][0]["why"]
    assert api.get_dataset_releases() == []


@pytest.mark.parametrize("kind", ["START", "RUNNING", "ABORT", "FAIL", "OTHER", None])
def test_of_all_other_events_nothing_is_recorded(
    caller: Caller, api: ObservatoryApi, dataset: Dataset, kind: str | None
) -> None:
    told = event(OURS, nominalTime=DAY)
    if kind:
        told["eventType"] = kind
    else:
        del told["eventType"]
    said = send(caller, told)
    assert (said["recorded"], said["why"]) == (
        0,
        f"nothing is recorded of an event of type {kind or 'OTHER'}",
    )
    assert api.get_dataset_releases() == []


def test_events_of_datasets_and_jobs_are_received(caller: Caller) -> None:
    for more in ({"dataset": STORED}, {"job": {"namespace": "a", "name": "b"}, "outputs": [STORED]}):
        said = send(caller, {"eventTime": "2026-11-22T07:08:08Z", "producer": "http://a", **more})
        assert said["why"] == "nothing is recorded of an event without run and job"
    done = event()
    assert send(caller, done)["why"] == "nothing is recorded of a run without outputs"


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["eventTime"], None, "eventTime"),
        (["eventType"], "DONE", "eventType"),
        (["run", "runId"], 5, "run.runId"),
        (["job", "name"], "a\nb", "job.name"),
        (["outputs", 0, "name"], None, "outputs[0].name"),
        (["run", "facets", "nominalTime"], {"nominalStartTime": "now"}, "run.facets.nominalTime"),
    ],
)
def test_what_is_no_event_is_refused_and_its_place_is_named(
    caller: Caller, path: list[Any], value: Any, field: str
) -> None:
    told = deepcopy(event(OURS, nominalTime=DAY))
    place: Any = told
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    answered = caller.send("POST", "/lineage", json.dumps(told))
    assert answered.status_code == 422
    [named] = answered.json()["fields"]
    assert named.startswith(field)
    assert caller.send("POST", "/lineage", "{").status_code == 400


def send_as(api: ObservatoryApi, url: str, told: Any, *grants: Grant) -> dict[str, Any]:
    """Sends an event as a job that has these grants."""
    job = Caller(url, key_for(api, *grants, name=f"job {len(api.get_accounts())}").secret)
    with closing(job.http):
        return send(job, told)


def test_an_address_finds_a_dataset_only_for_those_who_may_read_it(
    caller: Caller, api: ObservatoryApi, server_url: str, dataset: Dataset
) -> None:
    def say(*roles: Role) -> list[str]:
        told = event(STORED, OURS, nominalTime=DAY)
        outputs = send_as(api, server_url, told, *[Grant(role) for role in roles])["outputs"]
        return [one["status"] for one in outputs]

    assert say("writer") == ["recorded", "ignored"]
    assert say("writer", "address:read") == ["there already", "there already"]
    assert len(api.get_dataset_releases()) == 1


def test_what_is_another_organisations_is_answered_as_what_is_not_there(
    caller: Caller, api: ObservatoryApi, server_url: str, dataset: Dataset
) -> None:
    other = api.post_organisation(Organisation(name="Other"))
    grants = [Grant("writer", other.id), Grant("address:read", other.id)]
    nowhere = {"namespace": "observatory://Nobody", "name": "sales/books"}
    said = send_as(api, server_url, event(OURS, STORED, nowhere, nominalTime=DAY), *grants)
    assert len({one["why"] for one in said["outputs"]}) == 1
    assert [set(one) for one in said["outputs"]] == [{"namespace", "name", "status", "why"}] * 3


def test_one_of_several_outputs_does_not_keep_back_the_others(
    caller: Caller, api: ObservatoryApi, dataset: Dataset
) -> None:
    kind = api.post_dataset_type(
        DatasetType(type_id="m", name="m", table_type=api.get_table_type(type_id="regular"))
    )
    twin = Dataset(name="twin", service="bigquery", address="a.b.c", workflow=dataset.workflow)
    twin.dataset_type = kind
    api.post_dataset(twin)
    too_short = {"namespace": "observatory://Curtin%20Press", "name": "sales"}
    said = send(caller, event(STORED, too_short, {**OURS, "name": "sales/twin"}, nominalTime=DAY))
    by_name = {one["name"]: one for one in said["outputs"]}
    assert said["recorded"] == 1
    assert by_name["sales/twin"]["status"] == "recorded"
    assert "several datasets are stored there" in by_name["a.b.c"]["why"]
