"""The service of the book is away for minutes while DAGs run in a real Airflow, in each way it can be away.

OUTAGE_SECONDS is for how long, in each of them.
"""

import os
import shutil
import time
from collections.abc import Iterator
from typing import cast

import pytest

from .partners import Partners, partners
from .proxy import Mode
from .real import until

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "300"))
# A task tries again for longer than that, as it does by Airflow's own settings.
RETRY_DELAY = max(5.0, SECONDS / 2)
WAYS = {
    "Killed": "pass",
    "Closed": "refuse",
    "Hanging": "hang",
    "Broken": "500",
    "Empty": "[]",
    "Denied": "401",
    "Slow": "slow",
}

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partners]:
    """A partner for each way to be away, of one Airflow."""
    settings = {"AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": str(RETRY_DELAY)}
    with partners(tmp_path_factory.mktemp("outage"), *WAYS, **settings) as made:
        yield made


def begin(here: Partners, name: str) -> None:
    """Takes the service away."""
    if name == "Killed":
        here.book.served.kill()
    here.book.front.be(cast(Mode, WAYS[name]))


def end(here: Partners, name: str) -> None:
    """Gives the service back."""
    if name == "Killed":
        here.book.served.start()
    here.book.front.be("pass")


@pytest.mark.parametrize("name", WAYS)
def test_runs_go_on_after_an_outage_and_all_is_recorded_once(here: Partners, name: str) -> None:
    dag_id, days = f"sales_{name}", range(1, 9)
    here.publish(name, 1, 2)
    assert set(here.run(name).values()) == {"success"}
    here.publish(name, *days[2:6])
    here.tell(name, "held", 3, 4)
    under_way = here.airflow.trigger(dag_id)
    until(lambda: here.has_loaded(name, 3, 4), "two releases are loaded, and not recorded")

    begin(here, name)
    try:
        here.end(name, "held", 3, 4)
        here.publish(name, *days[6:])
        begun, other = here.airflow.trigger(dag_id), here.airflow.trigger("sums")
        over = time.monotonic() + SECONDS
        while time.monotonic() < over:
            here.all_is_well()
            time.sleep(5)
    finally:
        end(here, name)

    for dag, run in ((dag_id, under_way), (dag_id, begun), ("sums", other)):
        assert here.airflow.ended(dag, run, 120 + 3 * RETRY_DELAY) == "success"
    # What the run that was begun could not be told of is the next one's.
    assert here.airflow.ended(dag_id, here.airflow.trigger(dag_id)) == "success"
    here.has_each_once(name, *days)


@pytest.mark.parametrize("name", WAYS)
def test_a_new_worker_without_a_snapshot_says_so_once_and_recovers(here: Partners, name: str) -> None:
    here.all_is_well()
    begin(here, name)
    try:
        here.airflow.kill("dag-processor")
        shutil.rmtree(here.airflow.home / "observatory")
        here.airflow.start("dag-processor")
        errors = until(here.airflow.import_errors, "the file cannot be read", 60)
    finally:
        end(here, name)
    assert list(errors) == ["partners.py"]
    assert "There is no snapshot of it" in errors["partners.py"]
    until(lambda: not here.airflow.import_errors(), "the file is read again", 60)
    here.airflow.has(*here.dag_ids)
    here.all_is_well()
