"""What was sold best, once the sales of all partners are in: it waits until none of their DAGs is running.

The type of a partner's dataset is called as the DAG that loads it, and the tag `aggregation_input` says whose
DAGs are waited for. So it is the book that says what is monitored.
"""

import json
from typing import Any

from partners import DATA, SalesPartner, copies_sold, partner_of

from observatory import make_observatory_api
from observatory.airflow import DagRunSensor, SnapshotRelease, Workflow
from observatory.storage import open_storage


class Bestsellers(Workflow):
    """Lists the three books of which most copies were sold."""

    def __init__(self, workflow_id: int, monitored_dag_ids: list[str], partners: list[SalesPartner]) -> None:
        super().__init__("bestsellers", workflow_id, schedule="@daily", tags=["sales"])
        self.partners = partners
        self.add_operator(DagRunSensor(task_id="wait_for_partners", dag_ids=monitored_dag_ids))
        self.add_task(self.choose)
        self.add_task(self.add_new_dataset_releases)

    def make_release(self, **context: Any) -> SnapshotRelease:
        """Returns the sales as they were when the run began, by whatever it was started."""
        return SnapshotRelease(context["dag_run"].run_after)

    def choose(self, release: SnapshotRelease) -> None:
        """Loads the list."""
        [dataset] = self.datasets()
        best = copies_sold(self.api, self.partners)[:3]
        loaded = open_storage(dataset.service, DATA).load(dataset.address, best)
        release.row_count, release.digest = loaded.row_count, loaded.digest


with make_observatory_api() as api:
    [own] = api.get_workflows(name="bestsellers")
    monitored_dag_ids, partners = [], []
    for each in api.get_workflows(organisation_id=own.organisation.id, limit=1000):
        if "aggregation_input" not in json.loads(each.tags):
            continue
        for dataset in api.get_datasets(workflow_id=each.id, limit=1000):
            monitored_dag_ids.append(dataset.dataset_type.type_id)
            partners.append(partner_of(dataset))

workflow = Bestsellers(own.id, monitored_dag_ids, partners)
globals()[workflow.dag_id] = workflow.make_dag()
