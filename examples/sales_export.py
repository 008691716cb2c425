"""The totals of all partners, wherever the book says: a table in DuckDB, or a file for others.

No address is in the code, and none is asked for while this file is read. The task asks the book for it when
it runs, so a dataset that was moved to another service is there from the next run on:

    api.put_dataset(Dataset(id=export.id, service="file", address="/srv/exports/sales.csv"))
"""

import csv
from pathlib import Path
from typing import Any

from partners import DATA, copies_sold, partner_of

from observatory import Dataset, Invalid, make_observatory_api
from observatory.airflow import SnapshotRelease, Workflow
from observatory.naming import address_to_fields
from observatory.storage import open_storage


class SalesExport(Workflow):
    """Writes what was sold of each book to where its readers expect it."""

    def __init__(self, workflow_id: int) -> None:
        super().__init__("sales_export", workflow_id, schedule="@daily", tags=["sales"])
        self.add_task(self.export)
        self.add_task(self.add_new_dataset_releases)

    def make_release(self, **context: Any) -> SnapshotRelease:
        """Returns the sales as they were when the run began, by whatever it was started."""
        return SnapshotRelease(context["dag_run"].run_after)

    def export(self, release: SnapshotRelease) -> None:
        """Writes the totals where the dataset is now, and records where that was."""
        [dataset] = self.datasets()
        partners = [partner_of(one) for one in self.api.get_datasets(tag="sales_partner")]
        rows = copies_sold(self.api, partners)
        write(dataset, rows)
        release.row_count, release.extras = len(rows), {"service": dataset.service}


def write(dataset: Dataset, rows: list[dict[str, Any]]) -> None:
    """Writes rows to where a dataset is, in place of what is there."""
    if dataset.service == "duckdb":
        open_storage(dataset.service, DATA).load(dataset.address, rows)
    elif dataset.service == "file":
        [path] = address_to_fields("file", dataset.address)
        whole = Path(path).with_suffix(".part")
        with whole.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["book", "copies", "partners"])
            table.writeheader()
            table.writerows(rows)
        # Readers see the one before it, or all of this one.
        whole.replace(path)
    else:
        raise Invalid(f"{dataset.name} is in {dataset.service}", {"service": "duckdb or file"})


with make_observatory_api() as api:
    [own] = api.get_workflows(name="sales export")
workflow = SalesExport(own.id)
globals()[workflow.dag_id] = workflow.make_dag()
