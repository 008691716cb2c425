"""The predecessor: observatory-api 0.5.0 from PyPI, on the same PostgreSQL, served by gunicorn."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from . import environments, postgresql
from .machine import free_port, process, quiet
from .postgresql import Postgres
from .server import Server, json_request, serves

DATASETS = 16

# Its models as its own API would write them, without a call for each.
CATALOGUE = sql.SQL(
    """
    INSERT INTO organisation (id, name, created, modified) VALUES (1, 'Curtin', now(), now());
    INSERT INTO workflow_type (id, type_id, name, created, modified) VALUES (1, 'onix', 'ONIX', now(), now());
    INSERT INTO table_type (id, type_id, name, created, modified)
        VALUES (1, 'sharded', 'Sharded', now(), now());
    INSERT INTO dataset_type (id, type_id, name, extra, table_type_id, created, modified)
        VALUES (1, 'onix', 'ONIX', '{{"sales_field": "units"}}', 1, now(), now());
    INSERT INTO workflow (id, name, extra, tags, organisation_id, workflow_type_id, created, modified)
        VALUES (1, 'ONIX of Curtin', '{{}}', '["oaebu"]', 1, 1, now(), now());
    INSERT INTO dataset (id, name, service, address, workflow_id, dataset_type_id, created, modified)
        SELECT i, 'onix ' || i, 'bigquery', 'project.onix.t' || i, 1, 1, now(), now()
        FROM generate_series(1, {datasets}) AS i;
    INSERT INTO dataset_release (start_date, end_date, dataset_id, created, modified)
        SELECT timestamp '2020-01-01' + i * interval '1 day', timestamp '2020-01-02' + i * interval '1 day',
            1, now(), now()
        FROM generate_series(1, 1000) AS i;
    -- It has no index on what its lists ask for; neither does one of a thousand rows need it.
    ANALYZE;
    """
).format(datasets=sql.Literal(DATASETS))


# Its default kind of worker closes the connection after each answer; threads keep it open.
WORKER = ("--threads=4", "--keep-alive=60")


@contextmanager
def running(postgres: Postgres, folder: Path, workers: int = 2) -> Iterator[Server]:
    """Runs it over a database of its own, with one dataset of 1,000 releases and others to post to."""
    url = postgresql.create(postgres, "theirs")
    # Without a path of ours, on which its package would be taken for our own.
    environment = {"OBSERVATORY_DB_URI": url, "PYTHONPATH": ""}
    python = environments.predecessor()
    # Beforehand, lest its workers race to create the tables, which ends them.
    tables = "from observatory.api.server.orm import create_session as create; create()"
    subprocess.run([python, "-c", tables], check=True, env=environment)
    postgresql.execute(url, CATALOGUE)
    port = free_port()
    command = [str(python.parent / "gunicorn"), f"--bind=127.0.0.1:{port}", f"--workers={workers}", *WORKER]
    command += ["--log-level=warning", "observatory.api.server.app:app"]
    log = folder / "predecessor.log"
    with process(command, log, lambda: serves(port, get_dataset()), environment=environment) as pid:
        quiet(pid)
        yield Server(port, pid, url)


def get_dataset() -> bytes:
    """Returns the request for one dataset with all that is nested in it."""
    return json_request("GET", "/v1/dataset?id=1")


def list_releases() -> bytes:
    """Returns the request for a thousand releases."""
    return json_request("GET", "/v1/dataset_releases?limit=1000&dataset_id=1")


def post_release(dataset: int, start: str, end: str) -> bytes:
    """Returns the request that records a release."""
    body = {"dataset": {"id": dataset}, "start_date": start, "end_date": end}
    return json_request("POST", "/v1/dataset_release", body)
