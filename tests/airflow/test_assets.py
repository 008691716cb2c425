"""Datasets as assets, what a lineage service is told of them, and links to what a task recorded."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
import pytest
from airflow.sdk import DAG, Asset, task

from observatory import Dataset, DatasetRelease, Invalid, ObservatoryApi, make_observatory_api
from observatory.airflow.assets import dataset_asset, facts_of, make_asset, mark_assets, to_openlineage
from observatory.airflow.links import DatasetLink, ReleasesLink, remember_links
from observatory.client.saved import load, normal
from observatory.server.openlineage import Output, RunEvent, places_of, version_label

from ..conftest import CREDENTIALS
from .conftest import States

JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def test_an_asset_is_named_by_the_path_of_its_dataset(dataset: Dataset) -> None:
    asset = dataset_asset(dataset)
    assert asset.uri == "observatory://Curtin%20Press/sales/codes"
    assert asset.extra == {"dataset_id": dataset.id, "service": "duckdb"}
    assert "warehouse" not in repr(asset)
    with pytest.raises(Invalid, match="read it by"):
        dataset_asset(Dataset(id=1, name="codes"))


@pytest.mark.parametrize("names", [("a", "b", "c"), ("A/S", "50 %", "ä?#@:[]"), ("%2F", "~", "..")])
def test_every_name_has_one_spelling_that_is_read_back(names: tuple[str, str, str]) -> None:
    asset = make_asset(*names)
    assert Asset(asset.uri).uri == asset.uri
    told = to_openlineage(asset, None)
    output = msgspec.convert({"namespace": told.namespace, "name": told.name}, type=Output)
    [place] = places_of(output)
    assert place.path == names


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("observatory://Curtin Press/sales/codes", "observatory://Curtin%20Press/sales/codes"),
        ("OBSERVATORY://a/b%2fc/d/", "observatory://a/b%2Fc/d"),
        ("observatory://a/%7Eb/c", "observatory://a/~b/c"),
    ],
)
def test_what_is_written_by_hand_becomes_the_one_spelling(written: str, meant: str) -> None:
    assert Asset(written).uri == meant


@pytest.mark.parametrize(
    "uri",
    [
        "observatory://a/b",
        "observatory://a/b/c/d",
        "observatory://a//c",
        "observatory:///b/c",
        "observatory://a/b/c?d=e",
        "observatory://a/b/%FF",
    ],
)
def test_what_names_no_dataset_is_refused_with_the_form(uri: str) -> None:
    with pytest.raises(ValueError, match="observatory://<organisation>/<workflow>/<dataset>"):
        Asset(uri)


def test_a_release_says_its_version_and_what_became_of_the_data(dataset: Dataset) -> None:
    def facts(**told: Any) -> tuple[str | None, str | None]:
        release = DatasetRelease(
            id=1, dataset=dataset, start_date=JANUARY, end_date=FEBRUARY, revision=1, state="present"
        )
        release.version_label = None
        for name, value in told.items():
            setattr(release, name, value)
        asset = Asset(dataset_asset(dataset).uri, extra=facts_of(release))
        facets: Any = to_openlineage(asset, None).facets
        lifecycle = facets.get("lifecycleStateChange")
        return facets["version"].datasetVersion, lifecycle and lifecycle.lifecycleStateChange.value

    assert facts() == ("2026-01-01/2026-02-01", "CREATE")
    assert facts(revision=2) == ("2026-01-01/2026-02-01 revision 2", "OVERWRITE")
    assert facts(version_label="v7") == ("v7", "CREATE")
    assert facts(state="expired") == ("2026-01-01/2026-02-01", "DROP")
    assert facts(state="empty") == ("2026-01-01/2026-02-01", None)
    dataset.dataset_type.table_type.type_id = "sharded_month"
    assert facts() == ("2026-01-01/2026-02-01", "CREATE")
    dataset.dataset_type.table_type.type_id = "regular"
    assert facts() == ("2026-01-01/2026-02-01", "ALTER")


@pytest.mark.long
def test_what_a_task_reads_and_records_is_told_to_a_lineage_service(
    dataset: Dataset, api: ObservatoryApi, run_dag: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__DISABLED", "False")
    raw = make_asset("Curtin Press", "sales", "raw")

    with DAG("lineage", schedule=None) as dag:

        @task(inlets=[raw], outlets=[dataset_asset(dataset)])
        def load_it(month: datetime, **context: Any) -> None:
            with make_observatory_api() as book:
                whole = book.get_dataset(dataset.id)
                told = DatasetRelease(dataset=whole, start_date=month, end_date=FEBRUARY)
                release = book.post_dataset_release(told)
                release.dataset = whole
                mark_assets(context, [release])  # type: ignore[arg-type] # it is one
                remember_links(context, book, [release])  # type: ignore[arg-type] # it is one

        load_it.expand(month=[JANUARY])

    states: States = run_dag(dag)
    assert states == {"load_it[0]": "success"}
    links = _links("lineage")
    key = load(CREDENTIALS).servers[normal(api.url)]
    for link in links:
        answer = httpx2.get(link, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
    assert urlsplit(links[0]).path == f"/v1/datasets/{dataset.id}"
    assert len(httpx2.get(links[1], headers={"Authorization": f"Bearer {key}"}).json()) == 1
    told = [json.loads(line) for line in events.read_text().splitlines()]
    [done] = [
        one for one in told if one["eventType"] == "COMPLETE" and one["job"]["name"].endswith("load_it")
    ]
    assert [(one["namespace"], one["name"]) for one in done["inputs"]] == [
        ("observatory://Curtin%20Press", "sales/raw")
    ]
    [output] = done["outputs"]
    assert (output["namespace"], output["name"]) == ("observatory://Curtin%20Press", "sales/codes")
    assert output["facets"]["version"]["datasetVersion"] == "2026-01-01/2026-02-01"
    assert output["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
    event = msgspec.convert(done, RunEvent)
    assert event.outputs
    assert version_label(event.outputs[0]) == "2026-01-01/2026-02-01"


def _links(dag_id: str) -> list[str]:
    """Returns what Airflow's page of the mapped task shows."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        [run] = DagRun.find(dag_id=dag_id)
        ti: Any = run.get_task_instance("load_it", session=session, map_index=0)
        dag: Any = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
        shown = dag.get_task("load_it")
        names = [DatasetLink().name, ReleasesLink().name]
        assert set(names) <= set(shown.extra_links)
        return [shown.get_extra_links(ti, name) for name in names]
