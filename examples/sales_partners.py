"""The sales that partners report: a DAG for each partner that is in the book.

Each sends a file a month, in a shape of its own. It is kept as it was sent, every value as text, in a table
with a partition for each month. What the columns are called is in the type of the dataset, for whoever reads
the table; how the file is read is there too. So a new partner is a change of the book, and not of code.
"""

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from observatory import Dataset, make_observatory_api
from observatory.airflow import PartitionRelease, PartitionTelescope, dataset_asset
from observatory.naming import period_named

REPORTS = Path(os.environ.get("OBSERVATORY_REPORTS", Path(__file__).with_name("sales")))
DATA = Path(os.environ.get("OBSERVATORY_DATA", "data"))


class PartnerSales(PartitionTelescope):
    """Loads the reports of a partner, a month each."""

    def __init__(self, dataset: Dataset) -> None:
        kind = dataset.dataset_type
        super().__init__(
            kind.type_id,
            dataset.name,
            dataset.workflow.id,
            folder=DATA,
            assets=[dataset_asset(dataset)],
            schedule="@daily",
            tags=["sales"],
        )
        self.reports = REPORTS / kind.type_id
        # What a type does not say must not keep the DAGs of all others from being read.
        self.separator = kind.extras.get("separator", ",")

    def offered(self) -> list[PartitionRelease]:
        """Returns a release for each file that is named by a month."""
        months = [period_named(file.stem) for file in self.reports.glob("*.csv")]
        return [PartitionRelease(month.start_date, month.end_date) for month in months if month]

    def fetch(self, release: PartitionRelease, folder: Path) -> Path:
        """Copies the report of a month."""
        return Path(shutil.copy(self.reports / f"{release.start_date:%Y-%m}.csv", folder))

    def read(self, release: PartitionRelease, file: Path) -> Iterator[dict[str, str]]:
        """Returns the rows as they were sent."""
        with file.open(newline="", encoding="utf-8") as lines:
            yield from csv.DictReader(lines, delimiter=self.separator)


with make_observatory_api() as api:
    for dataset in api.get_datasets(tag="sales_partner"):
        telescope = PartnerSales(dataset)
        globals()[telescope.dag_id] = telescope.make_dag()
