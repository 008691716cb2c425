"""An example of every record and answer, for whoever reads the HTTP API."""

from typing import Any

_KEPT: dict[str, Any] = {"created": "2026-01-05T08:00:00Z", "modified": "2026-01-05T08:00:00Z", "version": 1}
_PERIOD = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-02-01T00:00:00Z"}
_RUN = {"dag_id": "book_sales", "run_id": "scheduled__2026-02-03T00:00:00+00:00", "task_id": "record"}
_ORGANISATION = {"id": 1, **_KEPT, "name": "Curtin Press", "extras": {}}
_WORKFLOW_TYPE = {"id": 1, **_KEPT, "type_id": "sales", "name": "Sales reports"}
_TABLE_TYPE = {"id": 3, **_KEPT, "type_id": "partitioned", "name": "Partitioned", "granularity": "month"}
_DATASET_TYPE = {"id": 1, **_KEPT, "type_id": "book_sales", "name": "Book sales"}
_DATASET_TYPE |= {"extras": {"sales_field": "sold"}, "table_type": _TABLE_TYPE}
_WORKFLOW = {"id": 1, **_KEPT, "name": "book_sales", "tags": '["sales_partner"]', "extras": {}}
_WORKFLOW |= {"organisation": _ORGANISATION, "workflow_type": _WORKFLOW_TYPE}
_DATASET = {"id": 1, **_KEPT, "name": "book_sales", "service": "bigquery", "address": "press.sales.books"}
_DATASET |= {"extras": {}, "workflow": _WORKFLOW, "dataset_type": _DATASET_TYPE}
_RELEASE = {"id": 7, **_KEPT, **_PERIOD, "version_label": "2026-01", "published": "2026-02-02T14:00:00Z"}
_RELEASE |= {"row_count": 2716, "digest": "sha256:9f86d081884c7d65", "run": _RUN, "revision": 1}
_RELEASE |= {"state": "present", "reason": None, "extras": {}, "dataset": {"id": 1, "name": "book_sales"}}
_NEW = {"dataset": {"id": 1}, **_PERIOD, "row_count": 2716}
_ACCOUNT: dict[str, Any] = {"id": 2, **_KEPT, "name": "airflow"}
_ACCOUNT |= {"grants": [{"role": "writer", "organisation_id": 1}, {"role": "address:read"}]}
_KEY: dict[str, Any] = {"id": 17, **_KEPT, "expires": "2026-04-05T08:00:00Z", "revoked": None}
_KEY |= {"last_used": "2026-02-03T06:00:00Z", "account": _ACCOUNT}
_ENTRY: dict[str, Any] = {"cursor": "0-412", "time": "2026-02-03T06:00:00Z", "actor": "airflow"}
_ENTRY["action"] = "change"
_ENTRY |= {"kind": "DatasetRelease", "record_id": 7, "organisation_id": 1, "dataset_id": 1}
_ENTRY |= {"before": {"row_count": 2715}, "after": _RELEASE, "request": "5f1c0a9e77d2"}
_CONFLICT = {"title": "Conflict", "status": 409, "fields": {"row_count": "is 2716 in the book, not 2717"}}
_CONFLICT |= {"detail": "release 7 of this period is in the book with other facts"}

# Of OpenLineage, an event and all that is nested in it.
_PARTITION: dict[str, Any] = {"identifier": None, "dimensions": {"date": "2026-01-01"}}
_CONDITION: dict[str, Any] = {"type": "partition", "partitions": [_PARTITION]}
_SUBSET: dict[str, Any] = {"outputCondition": _CONDITION}
_OUTPUT_FACETS: dict[str, Any] = {"subset": _SUBSET, "outputStatistics": {"rowCount": 2716}}
_DATASET_FACETS: dict[str, Any] = {"version": {"datasetVersion": "2026-01"}}
_NAMED = {"namespace": "observatory://Curtin%20Press", "name": "book_sales/book_sales"}
_OUTPUT = {**_NAMED, "facets": _DATASET_FACETS, "outputFacets": _OUTPUT_FACETS}
_NOMINAL = {"nominalStartTime": "2026-01-01T00:00:00Z", "nominalEndTime": "2026-02-01T00:00:00Z"}
_AIRFLOW: dict[str, Any] = {"dag": {"dag_id": "book_sales"}, "dagRun": {"run_id": _RUN["run_id"]}}
_AIRFLOW |= {"task": {"task_id": "load"}, "taskInstance": {"map_index": None, "log_url": None}}
_RUN_FACETS = {"nominalTime": _NOMINAL, "airflow": _AIRFLOW}
_EVENT_RUN = {"runId": "01a20215-6606-7d1c-a4ad-05cddef1e176", "facets": _RUN_FACETS}
_JOB = {"namespace": "airflow", "name": "book_sales.load"}
_EVENT = {"eventTime": "2026-02-03T06:00:00Z", "eventType": "COMPLETE", "run": _EVENT_RUN, "job": _JOB}
_TAKEN = {**_NAMED, "status": "recorded", "dataset_id": 1, "release_id": 7, **_PERIOD}
_EXPIRED = {**_PERIOD, "why": "release 7 of this period is expired in the book"}

_CADENCE = {"cron": "0 0 * * *", "expected_from": "2026-01-01T00:00:00Z", "timezone": "Europe/London"}
_CADENCE |= {"exclude": ["2026-12-25"], "grace": 21600}  # type: ignore[dict-item] # as any JSON
_OFFER: dict[str, Any] = {**_PERIOD, "version_label": "2026-01", "published": "2026-02-02T14:00:00Z"}
_OFFER |= {"size": 81920, "digest": "sha256:9f86d081884c7d65"}
_OFFERED = {**_OFFER, "first_seen": "2026-02-02T15:00:00Z", "last_seen": "2026-02-03T15:00:00Z"}
_PROBED = {"outcome": "complete", "observed": "2026-02-03T15:00:00Z", "offers": 12, "new": 1, "changed": 0}
_PROBED |= {"returned": 0, "gone": 0, "restated": 0}
_MISSING = {"dataset": {"id": 1, "name": "book_sales"}, **_PERIOD, "reason": "offered"}
_MISSING |= {"since": "2026-02-02T15:00:00Z"}
_STATUS: dict[str, Any] = {
    "dataset": {"id": 1, "name": "book_sales"},
    "status": "late",
    "newest": "2026-01-01T00:00:00Z",
}
_STATUS |= {"lag": 2905200.0, "late_since": "2026-02-01T06:00:00Z"}

_CLAIM: dict[str, Any] = {"id": 31, **_KEPT, "holder": "airflow", "until": "2026-02-03T15:15:00Z"}
_CLAIM |= {"ended": None, "periods": 1, "dataset": {"id": 1, "name": "book_sales"}}
_TO_LOAD = {**_OFFER, "reason": "offered"}

_FLAT: dict[str, Any] = {
    "workflows": [_WORKFLOW | {"organisation": {"id": 1}, "workflow_type": {"id": 1}}],
    "dataset_types": [_DATASET_TYPE | {"table_type": {"id": 3}}],
    "datasets": [_DATASET | {"workflow": {"id": 1}, "dataset_type": {"id": 1}}],
}
_CONTENTS: dict[str, Any] = {"book": "6f1c2d7e", "position": 42, "may_read_addresses": True}
_CONTENTS |= {"organisations": [_ORGANISATION], "workflow_types": [_WORKFLOW_TYPE]}
_CONTENTS |= {"table_types": [_TABLE_TYPE], **_FLAT}

EXAMPLES: dict[str, dict[str, Any]] = {
    "Contents": _CONTENTS,
    "Claim": _CLAIM,
    "Claiming": {"dataset": {"id": 1}, "limit": 10, "seconds": 900},
    "ToLoad": _TO_LOAD,
    "Granted": {"claim": _CLAIM, "releases": [_TO_LOAD]},
    "Renewal": {"seconds": 900},
    "Renewed": {"claim": _CLAIM, "releases": [_PERIOD]},
    "Return": {"outcome": "failed", "error": "the source does not answer"},
    "Cadence": _CADENCE,
    "Offer": _OFFER,
    "Offered": _OFFERED,
    "Probe": {"outcome": "complete", "offers": [_OFFER]},
    "Probed": _PROBED,
    "Missing": _MISSING,
    "MissingRun": {**_MISSING, "periods": 1},
    "MissingPage": {
        "time": "2026-02-03T15:00:00Z",
        "counts": {"offered": 1},
        "runs": [{**_MISSING, "periods": 1}],
    },
    "DatasetStatus": _STATUS,
    "Organisation": _ORGANISATION,
    "WorkflowType": _WORKFLOW_TYPE,
    "Workflow": _WORKFLOW,
    "TableType": _TABLE_TYPE,
    "DatasetType": _DATASET_TYPE,
    "Dataset": _DATASET,
    "DatasetRelease": _RELEASE,
    "Run": _RUN,
    "Period": _PERIOD,
    "DerivedRelease": {"release": _RELEASE, "depth": 1, "stale": False},
    "StaleRelease": {"release": _RELEASE, "inputs": [3]},
    "Coverage": {"runs": [_PERIOD], "gaps": [], "instants": 0},
    "Batch": {"releases": [_NEW], "atomic": True},
    "Answer": {"status": 201, "release": _RELEASE},
    "Available": {"available": [_PERIOD]},
    "Withdrawal": {**_PERIOD, "reason": "bad file"},
    "Adoption": {
        "span": {"start_date": "2025-01-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
        "step": "month",
        "evidence": {"table": "press.sales.book_sales", "rows": 32592, "by": "Ann"},
        "reason": "loaded before there was a book",
    },
    "Kept": _EXPIRED,
    "Adopted": {"recorded": 11, "there_already": 0, "in_conflict": 1, "conflicts": [_EXPIRED]},
    "RunEvent": {**_EVENT, "outputs": [_OUTPUT]},
    "EventRun": _EVENT_RUN,
    "RunFacets": _RUN_FACETS,
    "NominalTime": _NOMINAL,
    "Airflow": _AIRFLOW,
    "AirflowDag": _AIRFLOW["dag"],
    "AirflowDagRun": _AIRFLOW["dagRun"],
    "AirflowTask": _AIRFLOW["task"],
    "AirflowTaskInstance": _AIRFLOW["taskInstance"],
    "Job": _JOB,
    "Output": _OUTPUT,
    "DatasetFacets": _DATASET_FACETS,
    "Version": _DATASET_FACETS["version"],
    "OutputFacets": _OUTPUT_FACETS,
    "OutputStatistics": _OUTPUT_FACETS["outputStatistics"],
    "Subset": _SUBSET,
    "Expression": _CONDITION,
    "Partition": _PARTITION,
    "Taken": _TAKEN,
    "Received": {"recorded": 1, "outputs": [_TAKEN], "why": ""},
    "Account": _ACCOUNT,
    "Grant": {"role": "writer", "organisation_id": 1},
    "Key": _KEY,
    "NewKey": {"key": {**_KEY, "last_used": None}, "secret": f"obs_17_{'0' * 43}_000000"},
    "Entry": _ENTRY,
    "Problem": _CONFLICT,
}
