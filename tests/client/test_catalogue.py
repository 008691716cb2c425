from typing import assert_type

import pytest

from observatory import (
    Conflict,
    Dataset,
    DatasetType,
    Invalid,
    ListWasCut,
    NotFound,
    ObservatoryApi,
    Organisation,
    TableType,
    Workflow,
)


def test_a_dataset_is_read_with_all_that_is_nested_in_it(api: ObservatoryApi, dataset: Dataset) -> None:
    read = api.get_dataset(id=dataset.id)

    assert_type(read.dataset_type.table_type.type_id, str)
    assert read.dataset_type.table_type.type_id == "sharded"
    assert read.workflow.organisation.name == "Curtin Press"
    assert read.dataset_type.extras == {"sales_field": "sold"}
    assert read == dataset


def test_what_is_not_given_is_not_changed(api: ObservatoryApi, dataset: Dataset) -> None:
    changed = api.put_dataset(Dataset(id=dataset.id, service="duckdb", address="books.db"))

    assert (changed.service, changed.address) == ("duckdb", "books.db")
    assert (changed.name, changed.workflow, changed.created) == (
        dataset.name,
        dataset.workflow,
        dataset.created,
    )
    assert changed.version == 2
    assert changed.modified > dataset.modified


def test_a_change_of_an_older_version_is_a_conflict(api: ObservatoryApi, dataset: Dataset) -> None:
    api.put_dataset(Dataset(id=dataset.id, address="elsewhere"))
    dataset.service = "duckdb"

    with pytest.raises(Conflict, match="at version 2, not 1: somebody changed it"):
        api.put_dataset(dataset)
    assert api.get_dataset(dataset.id).service == "bigquery"


def test_putting_without_an_id_creates(api: ObservatoryApi) -> None:
    created = api.put_organisation(Organisation(name="a"))

    assert api.get_organisation(created.id) == created
    assert created.extras == {}


def test_what_is_missing_of_a_record_is_named(api: ObservatoryApi, workflow: Workflow) -> None:
    with pytest.raises(Invalid) as refused:
        api.post_dataset(Dataset(name="books", workflow=workflow))
    assert set(refused.value.fields) == {"address", "service", "dataset_type"}


def test_a_record_may_not_refer_to_nothing(api: ObservatoryApi) -> None:
    with pytest.raises(NotFound, match="there is no TableType 9"):
        api.post_dataset_type(DatasetType(type_id="a", name="a", table_type=TableType(id=9)))


def test_a_name_is_used_once(api: ObservatoryApi, workflow: Workflow) -> None:
    with pytest.raises(Conflict, match="organisation_id, name"):
        api.post_workflow(
            Workflow(
                name=workflow.name,
                organisation=workflow.organisation,
                workflow_type=workflow.workflow_type,
            )
        )


def test_only_what_nothing_refers_to_is_deleted(api: ObservatoryApi, workflow: Workflow) -> None:
    with pytest.raises(Conflict, match="delete what refers to it first: workflows 1"):
        api.delete_organisation(workflow.organisation.id)

    api.delete_workflow(workflow.id)
    api.delete_organisation(workflow.organisation.id)

    with pytest.raises(NotFound, match=f"Organisation {workflow.organisation.id} does not exist"):
        api.get_organisation(workflow.organisation.id)


def test_lists_are_of_one_owner_if_it_is_named(api: ObservatoryApi, workflow: Workflow) -> None:
    other = api.post_organisation(Organisation(name="other"))

    assert [w.id for w in api.get_workflows(organisation_id=workflow.organisation.id)] == [workflow.id]
    assert api.get_workflows(organisation_id=other.id) == []


def test_a_list_that_is_cut_off_warns(api: ObservatoryApi) -> None:
    with pytest.warns(ListWasCut, match="limit of 2"):
        assert len(api.get_table_types(limit=2)) == 2
    assert len(api.get_table_types(limit=3)) == 3


def test_lists_are_whole_however_many_pages_they_take(
    api: ObservatoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observatory.client.connection.PAGE", 2)
    created = [api.post_organisation(Organisation(name=str(i))) for i in range(5)]

    assert api.get_organisations() == created


def test_what_is_told_as_it_is_changes_nothing(api: ObservatoryApi, dataset: Dataset) -> None:
    assert api.put_dataset(dataset) == dataset
    assert api.put_dataset(Dataset(id=dataset.id, address=dataset.address)) == dataset


def test_what_is_no_id_is_named(api: ObservatoryApi) -> None:
    with pytest.raises(Invalid, match="None is no id"):
        api.get_dataset(None)  # type: ignore[arg-type] # what a look-up that found nothing gives
