"""How long Airflow takes to read a DAG file that is made from a book of 1,000 workflows.

Each sample is a process of its own that reads the file once, as the DAG processor's are, with Airflow already
imported. The same file with its parameters written in it shows which part is Airflow's own.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from observatory import Dataset, DatasetType, Organisation, Workflow

from . import ours
from .calls import Bench
from .report import Claim, Report, table
from .rounds import Sample, Samples, alternate, middle
from .server import Server

WORKFLOWS = 1000
WITH_SERVICE, FROM_SNAPSHOT = 2.0, 1.0  # seconds, at most

SALES = """
import json
from airflow.sdk import DAG, task
from observatory import make_observatory_api

api = make_observatory_api()
partners = []
for workflow in api.get_workflows(limit=2000):
    tags = json.loads(workflow.tags)
    if "sales_partner" not in tags:
        continue
    for dataset in api.get_datasets(workflow_id=workflow.id, limit=1000):
        partners.append((
            dataset.name,
            dataset.dataset_type.extras.get("sales_field"),
            dataset.service,
            dataset.address,
            dataset.dataset_type.table_type.type_id,
        ))
with DAG("aggregate") as dag:
    @task
    def aggregate():
        return len(partners)
    aggregate()
assert len(partners) == 1000, len(partners)
"""
ORGANISATIONS = """
from airflow.sdk import DAG, task
from observatory import make_observatory_api

api = make_observatory_api()
names = [organisation.name for organisation in api.get_organisations()]
""" + (
    LOOP := """
for name in names:
    with DAG(f"of_{name}") as dag:
        @task
        def load():
            return name
        load()
    globals()[dag.dag_id] = dag
"""
)
# Read with a file of Airflow's own before, so that what Airflow does once a process is not counted.
CHILD = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
import airflow.sdk
from airflow.sdk import DAG, task, get_current_context
DagBag(dag_folder=sys.argv[2])
started = time.perf_counter()
bag = DagBag(dag_folder=sys.argv[1])
print(time.perf_counter() - started, len(bag.dags), len(bag.import_errors))
"""


def measure(bench: Bench, folder: Path) -> dict[str, Samples]:
    """Measures both files: with parameters of their own, from the service, and from the snapshot."""
    home = folder / "airflow"
    files = _files(home)
    with ours.running(bench.postgres, folder, workers=1, database="parsing") as mine:
        _fill(mine)
        _read(files["sales"], home, mine)  # the first snapshot
        told = {name: _with_service(name, files, home, mine, bench.rounds) for name in ("sales", "loop")}
    # The server has ended: nobody listens at its address.
    for name, samples in told.items():
        samples["snapshot"] = [_read(files[name], home, mine) for _ in range(bench.rounds)]
    shutil.rmtree(home)
    return told


def tell(report: Report, measured: dict[str, Samples]) -> None:
    """Tells how long each file takes, and what of it Airflow takes by itself."""
    said = {
        "sales": "one DAG over 1,000 workflows and their datasets",
        "loop": "1,000 DAGs of one task, one for each organisation",
    }
    rows = []
    for name, samples in measured.items():
        alone, service, snapshot = (
            middle(samples[side], lambda one: one.seconds) for side in ("alone", "service", "snapshot")
        )
        figures = [f"{1000 * each:.0f}" for each in (alone, service, snapshot)]
        shares = [f"{1000 * (each - alone):.0f}" for each in (service, snapshot)]
        rows.append([said[name], *figures, *shares])
        for what, seconds, most in (
            ("service", service, WITH_SERVICE),
            ("snapshot", snapshot, FROM_SNAPSHOT),
        ):
            # What Airflow takes for the DAGs themselves is no time of ours.
            text = f"{seconds:.2f} s, of which Airflow takes {alone:.2f} s by itself"
            claim = Claim(f"{said[name]}: {what}", text, f"under {most:g} s", seconds < most)
            report.claims.append(claim)
    heads = "file|ms: parameters in the file|service|snapshot|ms of ours: service|snapshot"
    report.tables.append("### Reading DAG files of 1,000 workflows\n\n" + table(heads, rows))


def _with_service(name: str, files: dict[str, Path], home: Path, mine: Server, rounds: int) -> Samples:
    sides = {
        "alone": lambda _: _read(files[f"{name} alone"], home, mine),
        "service": lambda _: _read(files[name], home, mine),
    }
    return alternate(sides, rounds)


def _files(home: Path) -> dict[str, Path]:
    home.mkdir(parents=True)
    names = [f"o{i}" for i in range(WORKFLOWS)]
    texts = {"sales": SALES, "loop": ORGANISATIONS, "loop alone": "from airflow.sdk import DAG, task\n"}
    texts["loop alone"] += f"names = {names!r}\n{LOOP}"
    texts["sales alone"] = "partners = [1] * 1000\n" + SALES[SALES.index("with DAG") :]
    texts["sales alone"] = f"from airflow.sdk import DAG, task\n{texts['sales alone']}"
    texts["empty"] = "from airflow.sdk import DAG\nDAG('none')\n"
    files = {name: home / f"{name.replace(' ', '_')}.py" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    return files


def _read(file: Path, home: Path, mine: Server) -> Sample:
    """Reads a file once, in a process of its own."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "OBSERVATORY_URL": f"http://127.0.0.1:{mine.port}",
        "OBSERVATORY_API_KEY": mine.key or "",
    }
    command = [sys.executable, "-c", CHILD, str(file), str(home / "empty.py")]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, dags, errors = found.stdout.split()[-3:]
    if int(errors) or not int(dags):
        raise RuntimeError(f"{file} makes no DAGs: {found.stdout}{found.stderr}")
    return Sample(1, float(seconds))


def _fill(mine: Server) -> None:
    """Makes 1,000 organisations with a workflow and a dataset each, unless they are there."""
    with ours.client(mine) as api:
        if len(api.get_organisations()) >= WORKFLOWS:
            return
        [kind], [table_type, *_] = api.get_workflow_types(), api.get_table_types()
        extras = {"sales_field": "sold"}
        of = api.post_dataset_type(DatasetType(type_id="b", name="b", extras=extras, table_type=table_type))

        def make(number: int) -> None:
            owner = api.post_organisation(Organisation(name=f"o{number}"))
            workflow = Workflow(name="sales", tags=json.dumps(["sales_partner"]), organisation=owner)
            workflow.workflow_type = kind
            dataset = Dataset(name="books", service="bigquery", address=f"project.sales.t{number}")
            dataset.workflow, dataset.dataset_type = api.post_workflow(workflow), of
            api.post_dataset(dataset)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make, range(WORKFLOWS)))
