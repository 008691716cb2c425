"""A book that is served by a process of its own, with a front before it that does what networks do."""

from collections.abc import Mapping
from pathlib import Path

from observatory import Dataset, DatasetType, ObservatoryApi, Organisation, Workflow, WorkflowType
from observatory.ledger import upgrade

from ..conftest import be_let_in, key_of
from ..server.conftest import Served, free_port
from .keeper import Keeper
from .proxy import Front


class Kept(Served):
    """One that is gone when this process is, even where that is killed."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.keeper = Keeper()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        super().start()
        self.keeper.watch(self.pid)


class Book:
    """A book in SQLite, to be used in a `with` statement.

    `api` asks the service itself, and `front` is what the clients with its `environment` reach.
    """

    def __init__(self, folder: Path) -> None:
        self.database_url = f"sqlite:///{folder}/book.db"
        upgrade(self.database_url)
        self.served = Kept(self.database_url)
        be_let_in(self.database_url, self.served.url)
        self.front = Front(self.served.port, free_port())
        self.api = ObservatoryApi(self.served.url)

    def __enter__(self) -> "Book":
        self.served.start()
        self.front.be("pass")
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()
        self.front.close()
        self.served.stop()
        self.served.keeper.end()

    @property
    def environment(self) -> Mapping[str, str]:
        """Where others find it, with a key."""
        return {
            "OBSERVATORY_URL": self.front.url,
            "OBSERVATORY_API_KEY": key_of(self.database_url),
        }


def add_partner(api: ObservatoryApi, name: str) -> Dataset:
    """Adds an organisation whose sales are kept in shards in DuckDB."""
    workflow = Workflow(name="sales", organisation=api.post_organisation(Organisation(name=name)))
    workflow.workflow_type, workflow.tags = _workflow_type(api), '["sales_partner"]'
    dataset = Dataset(name="sales", workflow=api.post_workflow(workflow), dataset_type=_dataset_type(api))
    dataset.service, dataset.address = "duckdb", f"{name.lower()}.duckdb:sales"
    return api.post_dataset(dataset)


def _workflow_type(api: ObservatoryApi) -> WorkflowType:
    found = api.get_workflow_types()
    return found[0] if found else api.post_workflow_type(WorkflowType(type_id="sales", name="Sales"))


def _dataset_type(api: ObservatoryApi) -> DatasetType:
    sharded = api.get_table_type(type_id="sharded")
    kind = DatasetType(type_id="sales", name="Sales", table_type=sharded, extras={"sales_field": "sold"})
    found = api.get_dataset_types()
    return found[0] if found else api.post_dataset_type(kind)
