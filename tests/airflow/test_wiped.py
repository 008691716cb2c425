"""An Airflow whose metadata database is empty again, and one that catches up with a long history."""

import json
import os
import time
from pathlib import Path

import pytest

from .partners import Partners, partners
from .real import until

PERIODS = int(os.environ.get("HISTORY_PERIODS", "500"))
AT_ONCE = 3

pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]


def test_a_new_airflow_catches_up_from_the_book_and_loads_nothing_twice(tmp_path: Path) -> None:
    with partners(tmp_path, "Ann") as here:
        here.publish("Ann", 1, 2, 3)
        assert set(here.run("Ann").values()) == {"success"}
        here.publish("Ann", 4, 5)
        here.tell("Ann", "held", 4)
        here.airflow.trigger("sales_Ann")
        until(lambda: here.has_loaded("Ann", 4, 5), "one is loaded, and not recorded, when all is lost")

        here.airflow.wipe()
        here.end("Ann", "held", 4)
        here.publish("Ann", 6)
        here.airflow.has(*here.dag_ids)
        here.run("Ann")
        # What the lost run held is free when its claim is over.
        while here.book.api.get_claims(dataset_id=here.datasets["Ann"].id, live=True):
            time.sleep(1)
        here.run("Ann")
        here.has_each_once("Ann", 1, 2, 3, 4, 5, 6)
        assert here.fetched("Ann") == [1, 2, 3, 4, 5, 6]


def most_at_once(here: Partners, run: str) -> int:
    states = here.airflow.states("sales_Ann", run)
    return sum(state == "running" for task, state in states.items() if task.startswith("ingest"))


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_long_history_is_caught_up_with_a_few_at_a_time_though_the_scheduler_is_killed(
    tmp_path: Path, order: str
) -> None:
    days, per_run = range(1, PERIODS + 1), PERIODS * 3 // 5
    catch_up = {"per_run": per_run, "at_once": AT_ONCE, "order": order}
    with partners(tmp_path, "Ann", CATCH_UP=json.dumps(catch_up)) as here:
        here.publish("Ann", *days)
        run = here.airflow.trigger("sales_Ann")
        until(lambda: len(here.fetched("Ann")) >= PERIODS // 5, "a part is done", 1200)
        here.airflow.kill("scheduler")
        here.airflow.start("scheduler")
        seen = set()
        while here.airflow.state("sales_Ann", run) == "running":
            seen.add(most_at_once(here, run))
            time.sleep(1)
        assert here.airflow.state("sales_Ann", run) == "success"
        assert max(seen) <= AT_ONCE
        first = days[-per_run:] if order == "newest" else days[:per_run]
        here.has_each_once("Ann", *first)
        assert set(here.run("Ann", 1500).values()) == {"success"}
        here.has_each_once("Ann", *days)
