"""What can be asked of the plain records, each call a method with the types of what it takes and answers.

The verbs are those of the use cases: get_ answers one record or all of them, post_ creates, put_ changes the
fields that are given (and creates where there is no id), delete_ removes. All raise the errors of the server.
"""

from datetime import date

from ..records import Contents, Dataset, DatasetType, Organisation, TableType, Workflow, WorkflowType
from .connection import Connection, time_text


class Catalogue(Connection):
    """The methods of organisations, workflows, types and datasets."""

    def whole_catalogue(self, addresses: bool = False) -> Contents:
        """Returns all that the key may see of the catalogue, each record once and related ones by their ids.

        With `addresses`, those of datasets are told that the key may read.
        """
        asked = {"addresses": addresses or None}
        return self._transport.call("GET", "catalogue", Contents, asked=asked)

    def get_organisation(self, id: int) -> Organisation:
        """Returns an organisation."""
        return self._get(Organisation, id)

    def get_organisations(self, limit: int | None = None, *, name: str | None = None) -> list[Organisation]:
        """Returns the organisations by id, of one name if it is given."""
        return self._list(Organisation, limit, name=name)

    def post_organisation(self, organisation: Organisation) -> Organisation:
        """Creates an organisation."""
        return self._post(organisation)

    def put_organisation(self, organisation: Organisation) -> Organisation:
        """Changes the given fields of an organisation."""
        return self._put(organisation)

    def delete_organisation(self, id: int) -> None:
        """Removes an organisation that nothing refers to."""
        self._delete(Organisation, id)

    def get_workflow_type(self, id: int | None = None, type_id: str | None = None) -> WorkflowType:
        """Returns a workflow type by its id or its type_id."""
        return self._get_typed(WorkflowType, id, type_id)

    def get_workflow_types(self, limit: int | None = None) -> list[WorkflowType]:
        """Returns the workflow types by id."""
        return self._list(WorkflowType, limit)

    def post_workflow_type(self, workflow_type: WorkflowType) -> WorkflowType:
        """Creates a workflow type."""
        return self._post(workflow_type)

    def put_workflow_type(self, workflow_type: WorkflowType) -> WorkflowType:
        """Changes the given fields of a workflow type."""
        return self._put(workflow_type)

    def delete_workflow_type(self, id: int) -> None:
        """Removes a workflow type that nothing refers to."""
        self._delete(WorkflowType, id)

    def get_workflow(self, id: int) -> Workflow:
        """Returns a workflow with its organisation and its type."""
        return self._get(Workflow, id)

    def get_workflows(
        self,
        limit: int | None = None,
        organisation_id: int | None = None,
        workflow_type_id: int | None = None,
        tag: str | None = None,
        name: str | None = None,
    ) -> list[Workflow]:
        """Returns the workflows by id: of an organisation, of a type, with a tag, of a name."""
        asked = {"organisation_id": organisation_id, "workflow_type_id": workflow_type_id}
        return self._list(Workflow, limit, tag=tag, name=name, **asked)

    def post_workflow(self, workflow: Workflow) -> Workflow:
        """Creates a workflow."""
        return self._post(workflow)

    def put_workflow(self, workflow: Workflow) -> Workflow:
        """Changes the given fields of a workflow."""
        return self._put(workflow)

    def delete_workflow(self, id: int) -> None:
        """Removes a workflow that nothing refers to."""
        self._delete(Workflow, id)

    def get_table_type(self, id: int | None = None, type_id: str | None = None) -> TableType:
        """Returns a table type by its id or its type_id; regular, sharded, partitioned are always there."""
        return self._get_typed(TableType, id, type_id)

    def get_table_types(self, limit: int | None = None) -> list[TableType]:
        """Returns the table types by id."""
        return self._list(TableType, limit)

    def post_table_type(self, table_type: TableType) -> TableType:
        """Creates a table type."""
        return self._post(table_type)

    def put_table_type(self, table_type: TableType) -> TableType:
        """Changes the given fields of a table type."""
        return self._put(table_type)

    def delete_table_type(self, id: int) -> None:
        """Removes a table type that nothing refers to."""
        self._delete(TableType, id)

    def get_dataset_type(self, id: int | None = None, type_id: str | None = None) -> DatasetType:
        """Returns a dataset type, with its table type, by its id or its type_id."""
        return self._get_typed(DatasetType, id, type_id)

    def get_dataset_types(
        self, limit: int | None = None, table_type_id: int | None = None
    ) -> list[DatasetType]:
        """Returns the dataset types by id, of one table type if it is named."""
        return self._list(DatasetType, limit, table_type_id=table_type_id)

    def post_dataset_type(self, dataset_type: DatasetType) -> DatasetType:
        """Creates a dataset type."""
        return self._post(dataset_type)

    def put_dataset_type(self, dataset_type: DatasetType) -> DatasetType:
        """Changes the given fields of a dataset type."""
        return self._put(dataset_type)

    def delete_dataset_type(self, id: int) -> None:
        """Removes a dataset type that nothing refers to."""
        self._delete(DatasetType, id)

    def get_dataset(self, id: int, as_of: date | None = None) -> Dataset:
        """Returns a dataset with its workflow, its type and all that is nested in them.

        With `as_of`, all of it is as it was at that time; its address is there if it still is the same.
        """
        return self._get(Dataset, id, as_of)

    def get_datasets(
        self,
        limit: int | None = None,
        workflow_id: int | None = None,
        organisation_id: int | None = None,
        dataset_type_id: int | None = None,
        tag: str | None = None,
        service: str | None = None,
        name: str | None = None,
        address: str | None = None,
        as_of: date | None = None,
    ) -> list[Dataset]:
        """Returns the datasets by id: of a workflow, an organisation, a type, a service, a name.

        `tag` is one of the tags of their workflows. By an `address` those are found whose address you may
        read; whoever may read none is Forbidden to ask. `as_of` asks for what the book said at a time.
        """
        asked = {"workflow_id": workflow_id, "organisation_id": organisation_id}
        asked["dataset_type_id"] = dataset_type_id
        said = {"tag": tag, "service": service, "name": name, "address": address}
        return self._list(Dataset, limit, as_of=time_text("as_of", as_of), **asked, **said)

    def post_dataset(self, dataset: Dataset) -> Dataset:
        """Creates a dataset."""
        return self._post(dataset)

    def put_dataset(self, dataset: Dataset) -> Dataset:
        """Changes the given fields of a dataset, such as where it is stored."""
        return self._put(dataset)

    def delete_dataset(self, id: int) -> None:
        """Removes a dataset that has no releases."""
        self._delete(Dataset, id)
