"""What all partners sold of each book, added up; which partners there are, the book says.

The column that holds the sales differs from partner to partner. It is in the type of the dataset, and a tag
says which workflows are those of partners: a new one is summed after the DAG file was read the next time.
"""

import json
from typing import Any

from partners import DATA, SalesPartner, copies_sold, partner_of

from observatory import make_observatory_api
from observatory.airflow import SnapshotRelease, Workflow
from observatory.storage import open_storage


class AggregateSalesWorkflow(Workflow):
    """Adds up the tables of all partners, and records whose sales are in the sum."""

    def __init__(self, workflow_id: int, partners: list[SalesPartner]) -> None:
        super().__init__("sales_total", workflow_id, schedule="@daily", tags=["sales"])
        self.partners = partners
        self.add_setup_task(self.check_dependencies)
        self.add_task(self.add_up)
        self.add_task(self.add_new_dataset_releases)

    def make_release(self, **context: Any) -> SnapshotRelease:
        """Returns the sales as they were when the run began, by whatever it was started."""
        return SnapshotRelease(context["dag_run"].run_after)

    def add_up(self, release: SnapshotRelease) -> None:
        """Sums the sales in DuckDB, and loads the totals where the book says."""
        [dataset] = self.datasets()
        totals = copies_sold(self.api, self.partners)
        loaded = open_storage(dataset.service, DATA).load(dataset.address, totals)
        release.row_count, release.digest = loaded.row_count, loaded.digest
        release.extras = {"partners": [partner.dataset_name for partner in self.partners]}


with make_observatory_api() as api:
    [organisation] = api.get_organisations(name="Open Book Press")
    [own] = api.get_workflows(organisation_id=organisation.id, name="sales total")
    partners: list[SalesPartner] = []
    for each in api.get_workflows(organisation_id=organisation.id, limit=1000):
        if "sales_partner" not in json.loads(each.tags):
            continue
        partners += map(partner_of, api.get_datasets(workflow_id=each.id, limit=1000))

workflow = AggregateSalesWorkflow(own.id, partners)
globals()[workflow.dag_id] = workflow.make_dag()
