"""Several releases from one run: each month that all partners have reported, and that is not added up yet.

The periods follow from the book, and not from when the run was started. They are recorded all or none.
"""

from typing import Any

from partners import DATA, SalesPartner, copies_sold, partner_of

from observatory import make_observatory_api
from observatory.airflow import PartitionRelease, Workflow, partition_key, period_of
from observatory.naming import table_name
from observatory.storage import open_storage


class SalesByMonth(Workflow):
    """Adds up the sales of all months that have become complete."""

    def __init__(self, workflow_id: int, partners: list[SalesPartner]) -> None:
        super().__init__("sales_by_month", workflow_id, schedule="@daily", tags=["sales"])
        self.partners = partners
        self.add_setup_task(self.find_months)
        self.add_task(self.add_up)
        self.add_task(self.add_new_dataset_releases)

    def find_months(self) -> list[dict[str, Any]]:
        """Returns the months that all partners have; the run ends where none of them is missing here."""
        [own] = self.datasets()
        reported = [self.api.get_dataset_releases(dataset_id=one.dataset_id) for one in self.partners]
        if not reported:
            return []
        complete = set.intersection(*({one.period for one in releases} for releases in reported))
        missing = self.api.get_missing_releases(dataset_id=own.id, available=sorted(complete))
        return [{"month": partition_key(one.period)} for one in missing]

    def make_release(self, **context: Any) -> list[PartitionRelease]:
        """Returns the months that were found: for all tasks of the run the same."""
        found = context["ti"].xcom_pull(task_ids="find_months")
        months = [period_of(one["month"]) for one in found]
        return [PartitionRelease(month.start_date, month.end_date) for month in months]

    def add_up(self, releases: list[PartitionRelease]) -> None:
        """Loads the totals of each month into its partition."""
        [own] = self.datasets()
        storage, kind = open_storage(own.service, DATA), own.dataset_type.table_type
        for release in releases:
            table = table_name(own.address, kind.type_id, kind.granularity, release.start_date)
            loaded = storage.load(table, copies_sold(self.api, self.partners, f"{release.start_date:%Y%m}"))
            release.row_count, release.digest = loaded.row_count, loaded.digest


with make_observatory_api() as api:
    [own] = api.get_workflows(name="sales by month")
    workflow = SalesByMonth(own.id, [partner_of(one) for one in api.get_datasets(tag="sales_partner")])
globals()[workflow.dag_id] = workflow.make_dag()
