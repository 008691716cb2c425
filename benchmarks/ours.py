"""Our server over a database of its own, filled with the same catalogue as the predecessor's."""

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec
from psycopg import sql

from observatory import (
    Dataset,
    DatasetRelease,
    DatasetType,
    ObservatoryApi,
    Organisation,
    Workflow,
    WorkflowType,
)

from . import postgresql
from .machine import ROOT, free_port, process, quiet
from .postgresql import Postgres
from .server import Server, json_request, serves

DATASETS = 16
RING = "bench " + b64encode(bytes(32)).decode()  # addresses are sealed with it as with any other
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
SOURCE = ROOT / "src"
OBSERVATORY = [sys.executable, "-c", "from observatory.cli import main; main()"]


class Kept(msgspec.Struct):
    """The keys that a server has written down for its user, by its address."""

    servers: dict[str, str]


@contextmanager
def running(
    postgres: Postgres, folder: Path, workers: int = 2, database: str = "ours", source: Path = SOURCE
) -> Iterator[Server]:
    """Runs it with one dataset of 1,000 releases and others to record to; ids count from 1."""
    if not postgresql.exists(postgres, database):
        url = postgresql.create(postgres, database)
        with _serving(url, folder, workers, source) as server:
            _fill(server)
        postgresql.execute(url, "VACUUM ANALYZE")
    with _serving(postgres.url(database), folder, workers, source) as server:
        yield server


def client(server: Server) -> ObservatoryApi:
    """Returns our client of a server, with its key."""
    return ObservatoryApi(f"http://127.0.0.1:{server.port}", server.key or None, timeout=120)


@contextmanager
def _serving(url: str, folder: Path, workers: int, source: Path) -> Iterator[Server]:
    port, log = free_port(), folder / "observatory.log"
    kept = folder / f"{url.rpartition('/')[2]}.json"
    environment = {
        "PYTHONPATH": str(source),
        "OBSERVATORY_DATABASE_URL": url,
        "OBSERVATORY_KEY_RING": RING,
        "OBSERVATORY_CREDENTIALS": str(kept),
        "OBSERVATORY_RATE": "0",  # one key asks all there is to ask
    }
    upgrade = [*OBSERVATORY, "database", "upgrade"]
    subprocess.run(upgrade, check=True, capture_output=True, env={**os.environ, **environment})
    command = [*OBSERVATORY, "serve", "--port", str(port), "--workers", str(workers)]
    is_ready = partial(serves, port, json_request("GET", "/livez"))
    with process(command, log, is_ready, environment=environment) as pid:
        quiet(pid)
        yield Server(port, pid, url, _key(kept, port))


def _key(kept: Path, port: int) -> str:
    """Returns the key of a book as its server has written it down; empty where the server asks for none."""
    if not kept.exists():
        return ""
    said = msgspec.json.decode(kept.read_bytes(), type=Kept)
    return said.servers[f"http://127.0.0.1:{port}"]


def _fill(server: Server) -> None:
    """Writes the catalogue and the 1,000 releases of the first dataset."""
    with client(server) as api:
        organisation = api.post_organisation(Organisation(name="Curtin"))
        kind = api.post_workflow_type(WorkflowType(type_id="onix", name="ONIX"))
        table_type = next(item for item in api.get_table_types() if item.type_id == "sharded")
        dataset_type = api.post_dataset_type(
            DatasetType(type_id="onix", name="ONIX", table_type=table_type, extras={"sales_field": "units"})
        )
        workflow = api.post_workflow(
            Workflow(name="ONIX of Curtin", tags='["oaebu"]', organisation=organisation, workflow_type=kind)
        )
        for i in range(1, DATASETS + 1):
            dataset = Dataset(name=f"onix {i}", service="bigquery", address=f"project.onix.t{i}")
            dataset.workflow, dataset.dataset_type = workflow, dataset_type
            api.post_dataset(dataset)
        api.post_dataset_releases(days(1, 1000))


def days(dataset: int, count: int, skipped: int = 0) -> list[DatasetRelease]:
    """Returns daily releases of a dataset, ready to be recorded."""
    starts = [FIRST + timedelta(days=i) for i in range(skipped, skipped + count + 1)]
    return [
        DatasetRelease(dataset=Dataset(id=dataset), start_date=start, end_date=end, row_count=1000)
        for start, end in pairwise(starts)
    ]


def get_dataset() -> bytes:
    """Returns the request for one dataset with all that is nested in it."""
    return json_request("GET", "/v1/datasets/1")


def list_releases(dataset: int = 1) -> bytes:
    """Returns the request for a thousand releases."""
    return json_request("GET", f"/v1/dataset-releases?limit=1000&dataset_id={dataset}")


def post_release(dataset: int, start: str, end: str) -> bytes:
    """Returns the request that records a release."""
    body = {"dataset": {"id": dataset}, "start_date": start, "end_date": end, "row_count": 1000}
    return json_request("POST", "/v1/dataset-releases", body)


def missing(dataset: int, periods: list[tuple[datetime, datetime]]) -> bytes:
    """Returns the request that asks which of some periods are missing."""
    available = [{"start_date": start, "end_date": end} for start, end in periods]
    return json_request("POST", f"/v1/datasets/{dataset}/missing", {"available": available})


def batch(releases: list[DatasetRelease]) -> bytes:
    """Returns the request that records many releases, all or none."""
    said = [
        {"dataset": {"id": r.dataset.id}, "start_date": r.start_date, "end_date": r.end_date}
        for r in releases
    ]
    return json_request("POST", "/v1/dataset-releases/batch", {"atomic": True, "releases": said})


def forget(server: Server, dataset: int) -> None:
    """Removes what is recorded of a dataset, behind the server's back."""
    for table in ("coverage", "dataset_releases"):
        remove = sql.SQL("DELETE FROM {} WHERE dataset_id = {}")
        named = remove.format(sql.Identifier(table), sql.Literal(dataset))
        postgresql.execute(server.database_url, named)
