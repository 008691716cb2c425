"""A DAG for each organisation: it writes down what the organisation is missing, and why.

A new organisation in the book gets its DAG when this file is read the next time.
"""

import csv
import os
from pathlib import Path

from observatory import make_dag_id, make_observatory_api
from observatory.airflow import Workflow

DATA = Path(os.environ.get("OBSERVATORY_DATA", "data"))


class MissingReport(Workflow):
    """Writes a file of what an organisation is missing."""

    def __init__(self, dag_id: str, organisation_id: int) -> None:
        super().__init__(dag_id, schedule="@daily", tags=["reports"])
        self.organisation_id = organisation_id
        self.add_setup_task(self.write_report)

    def write_report(self) -> bool:
        """Writes a line for each run of missing periods; returns whether there is any."""
        missing = self.api.get_missing_runs(organisation_id=self.organisation_id)
        file = DATA / "reports" / f"{self.dag_id}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="") as lines:
            report = csv.writer(lines)
            report.writerow(["dataset", "from", "to", "periods", "reason"])
            for run in missing:
                times = (run.start_date.isoformat(), run.end_date.isoformat())
                report.writerow([run.dataset.name, *times, run.periods, run.reason])
        return bool(missing)


with make_observatory_api() as api:
    for organisation in api.get_organisations(limit=1000):
        workflow = MissingReport(make_dag_id("missing", organisation.name), organisation.id)
        globals()[workflow.dag_id] = workflow.make_dag()
