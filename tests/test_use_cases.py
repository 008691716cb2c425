"""The use cases this product grew from: their code as it was written, run against a real server.

Each text is a code block of the use cases, word for word. What they leave to the reader, such as the class of
a workflow, is given here.
"""

import json
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pendulum
import pytest

import observatory
from observatory import (
    Dataset,
    DatasetRelease,
    DatasetType,
    ObservatoryApi,
    Organisation,
    Workflow,
    WorkflowType,
)

SALES_PARTNERS = """
@dataclass
class SalesPartner:
    dataset_name: str  # e.g., "book_sales"
    sales_field : float  # e.g., "sales"
    db_service: str  # e.g., bigquery
    table_address: str  # e.g., project.dataset.table
    table_type: str  # e.g., sharded

# Get all datasets and filter by datasets in the "sales_partner" group
api = make_observatory_api()
workflows = api.get_workflows(organisation_id=organisation_id, limit=1000)
partners = []
for workflow in workflows:
    tags = json.loads(workflow.tags)
    if "sales_partner" not in tags:
        continue

    datasets = api.get_datasets(workflow_id=workflow.id, limit=1000)
    for dataset in datasets:
        partners.append(
            SalesPartner(
                dataset_name=dataset.name,
                sales_field=dataset.dataset_type.extras.get("sales_field"),
                db_service=dataset.service,
                table_address=dataset.address,
                table_type=dataset.dataset_type.table_type.type_id,
            )
        )


workflow = AggregateSalesWorkflow(partners=partners)
globals()[workflow.dag_id] = workflow.make_dag()
"""

SENSORS = """
workflows = api.get_workflows(organisation_id=organisation_id, limit=1000)

monitored_dag_ids = []
for workflow in workflows:
    tags = json.loads(workflow.tags)
    if "aggregation_input" not in tags:
        continue

    datasets = api.get_datasets(workflow_id=workflow.id, limit=1000)
    for dataset in datasets:
        monitored_dag_ids.append(dataset.dataset_type.type_id)

workflow = AggregationWorkflow(monitored_dag_ids=monitored_dag_ids)
globals()[workflow.dag_id] = workflow.make_dag()
"""

EACH_ORGANISATION = """
organisations = api.get_organisations(limit=1000)
for org in organisations:
    dag_id_prefix = "dag_id_prefix"
    dag_id = make_dag_id(dag_id_prefix, org.name)
    workflow = MyWorkflow(dag_id=dag_id)
    globals()[workflow.dag_id] = workflow.make_dag()
"""

FETCH_ADDRESS = """
dataset = api.get_dataset(id=dataset_id)
if dataset.service == "bigquery":
    gcp_project_id, gcp_dataset_id, gcp_table_id = address_to_gcp_fields(dataset.address)
    # Code to handle bigquery table creation
"""

MODIFY_ADDRESS = """
dataset = Dataset(
    id=target_dataset_id,
    service="new service",
    address="new address",
)
api.put_dataset(dataset)
"""

LIST_RELEASES = """
limit = 100
dataset_id = 123
releases = api.get_dataset_releases(limit, dataset_id)
# Code to look through the list of releases and compare with what daily updates are available to see what you need to fill in
"""  # noqa: E501 # word for word

ADD_RELEASE = """
def add_dataset_release(self, release, **kwargs):
    obj = DatasetRelease(
        dataset=self.dataset,  # API Dataset object
        start_date=pendulum.datetime(2021,1,1),
        end_date=pendulum.datetime(2021,2,1),
    )
    result = self.api.post_dataset_release(obj)
"""

LOOK_UP = """
dataset_id = 1
limit = 100
releases = api.get_dataset_releases(limit, dataset_id)
"""

CATCH_UP = """
limit = 1000
dataset_id = 1
processed_data = api.get_dataset_releases(limit, dataset_id)
available_data = get_available_dataset_releases(...)
missing_releases = get_missing_data(processed_data, available_data)
download_releases(missing_releases)
# Other ETL tasks
# Update records with the DatasetRelease API
"""

TABLE_TYPE = """
dataset = api.get_dataset(id=dataset_id)
print(dataset.dataset_type.table_type.type_id)
"""

DAY = timedelta(days=1)
START = datetime(2021, 1, 1, tzinfo=UTC)


class AnyWorkflow:
    """Any workflow of the use cases: it has a DAG id, and makes a DAG of what it was given."""

    made: ClassVar[list["AnyWorkflow"]] = []

    def __init__(self, dag_id: str = "aggregate", **given: Any) -> None:
        self.dag_id = dag_id
        self.given = given
        self.made.append(self)

    def make_dag(self) -> str:
        return f"the DAG {self.dag_id}"


def run(block: str, **given: Any) -> dict[str, Any]:
    """Runs a code block as a file of its own and returns what it defines."""
    names: dict[str, Any] = {
        "json": json,
        "dataclass": dataclass,
        "pendulum": pendulum,
        **{name: getattr(observatory, name) for name in observatory.__all__},
        **given,
    }
    exec(textwrap.dedent(block), names)
    return names


def test_workflows_take_their_parameters_from_datasets(
    server_url: str, api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_URL", server_url)
    other = api.post_workflow(
        Workflow(
            name="other",
            organisation=dataset.workflow.organisation,
            workflow_type=dataset.workflow.workflow_type,
        )
    )
    api.post_dataset(
        Dataset(name="x", service="s", address="a", workflow=other, dataset_type=dataset.dataset_type)
    )

    organisation_id = dataset.workflow.organisation.id
    made = run(SALES_PARTNERS, organisation_id=organisation_id, AggregateSalesWorkflow=AnyWorkflow)

    made["api"].close()
    [partner] = made["workflow"].given["partners"]
    assert vars(partner) == {
        "dataset_name": "books",
        "sales_field": "sold",
        "db_service": "bigquery",
        "table_address": "a.b.c",
        "table_type": "sharded",
    }
    assert made["aggregate"] == "the DAG aggregate"


def test_sensors_find_the_dags_that_are_inputs(api: ObservatoryApi, dataset: Dataset) -> None:
    api.put_workflow(Workflow(id=dataset.workflow.id, tags='["aggregation_input"]'))

    organisation_id = dataset.workflow.organisation.id
    made = run(SENSORS, api=api, organisation_id=organisation_id, AggregationWorkflow=AnyWorkflow)

    assert made["workflow"].given == {"monitored_dag_ids": ["book_sales"]}


def test_every_organisation_gets_a_workflow_of_its_own(api: ObservatoryApi) -> None:
    for name in ("Curtin Press", "ANU Press", "Curtin-Press", "כותר"):
        api.post_organisation(Organisation(name=name))

    made = run(EACH_ORGANISATION, api=api, MyWorkflow=AnyWorkflow)

    assert len([dag for dag in made.values() if str(dag).startswith("the DAG dag_id_prefix")]) == 4


def test_the_address_of_a_dataset_is_fetched(api: ObservatoryApi, dataset: Dataset) -> None:
    api.put_dataset(Dataset(id=dataset.id, address="curtin-press.sales.books"))

    made = run(FETCH_ADDRESS, api=api, dataset_id=dataset.id)

    fields = [made[field] for field in ("gcp_project_id", "gcp_dataset_id", "gcp_table_id")]
    assert fields == ["curtin-press", "sales", "books"]


def test_the_address_of_a_dataset_is_modified_and_nothing_else(api: ObservatoryApi, dataset: Dataset) -> None:
    run(MODIFY_ADDRESS, api=api, target_dataset_id=dataset.id)

    changed = api.get_dataset(id=dataset.id)
    assert (changed.service, changed.address) == ("new service", "new address")
    assert changed.name == dataset.name
    assert changed.workflow == dataset.workflow
    assert changed.dataset_type == dataset.dataset_type


def test_releases_of_a_dataset_are_listed(api: ObservatoryApi, dataset: Dataset) -> None:
    posted = api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=START, end_date=START + DAY))
    block = LIST_RELEASES.replace("123", str(dataset.id))

    assert run(block, api=api)["releases"] == [posted]
    assert run(LOOK_UP, api=api)["releases"] == [posted]
    # The dataset 123 of the text does not exist here: an empty list would read as "all is missing".
    with pytest.raises(observatory.NotFound):
        run(LIST_RELEASES, api=api)


def test_a_task_adds_the_release_it_loaded(api: ObservatoryApi, dataset: Dataset) -> None:
    @dataclass
    class Telescope:
        api: ObservatoryApi
        dataset: Dataset

    add_dataset_release = run(ADD_RELEASE)["add_dataset_release"]
    for _ in range(2):  # a task may be retried
        add_dataset_release(Telescope(api, dataset), None, task_instance=None)

    [release] = api.get_dataset_releases(100, dataset.id)
    assert (release.start_date, release.end_date) == (START, datetime(2021, 2, 1, tzinfo=UTC))


def test_catching_up_downloads_what_is_available_and_not_recorded(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    def day(number: int) -> DatasetRelease:
        at = START + number * DAY
        return DatasetRelease(dataset=dataset, start_date=at, end_date=at + DAY)

    def get_missing_data(
        processed: list[DatasetRelease], available: list[DatasetRelease]
    ) -> list[DatasetRelease]:
        known = {(release.start_date, release.end_date) for release in processed}
        return [release for release in available if (release.start_date, release.end_date) not in known]

    downloaded: list[DatasetRelease] = []
    api.post_dataset_releases([day(1), day(3)])
    retired = api.put_dataset_release(
        DatasetRelease(id=api.get_dataset_releases()[0].id, state="expired", reason="kept for a year")
    )
    made = run(
        CATCH_UP,
        api=api,
        get_available_dataset_releases=lambda _: [day(number) for number in range(5)],
        get_missing_data=get_missing_data,
        download_releases=downloaded.extend,
    )

    # What retention removed is not downloaded again.
    assert retired.period == day(1).period
    assert [release.period for release in downloaded] == [day(number).period for number in (0, 2, 4)]
    offered = [day(number) for number in range(5)]
    assert [r.period for r in api.get_missing_releases(dataset.id, offered)] == [
        release.period for release in made["missing_releases"]
    ]


def test_the_table_type_of_a_dataset_is_printed(
    api: ObservatoryApi, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    run(TABLE_TYPE, api=api, dataset_id=dataset.id)

    assert capsys.readouterr().out == "sharded\n"


def test_datasets_in_several_services_are_tracked_side_by_side(
    api: ObservatoryApi, workflow: Workflow
) -> None:
    kind = api.post_dataset_type(
        DatasetType(type_id="t", name="t", table_type=api.get_table_type(type_id="regular"))
    )
    services = ("bigquery", "elasticsearch")
    for service in services:
        stored = api.post_dataset(
            Dataset(name=service, service=service, address="a", workflow=workflow, dataset_type=kind)
        )
        api.post_dataset_release(DatasetRelease(dataset=stored, start_date=START, end_date=START))

    assert [dataset.service for dataset in api.get_datasets(workflow_id=workflow.id)] == [*services]
    assert [release.dataset.name for release in api.get_dataset_releases()] == [*services]
    assert isinstance(workflow.workflow_type, WorkflowType)
