"""A real Airflow, whose DAGs are made of the book, and which the book leaves alone for a while."""

from pathlib import Path

import pytest

from .partners import partners
from .real import until


@pytest.mark.timeout(600)  # seconds, on a machine that has other things to do
def test_dags_of_the_book_run_and_stay_and_end_well_though_the_book_is_away_for_a_while(
    tmp_path: Path,
) -> None:
    with partners(tmp_path, "Ann", "Bob") as here:
        here.publish("Ann", 1, 2, 3)
        here.publish("Bob", 4)
        assert set(here.run("Ann").values()) == set(here.run("Bob").values()) == {"success"}
        here.has_each_once("Ann", 1, 2, 3)
        here.has_each_once("Bob", 4)

        here.publish("Ann", 5)
        here.book.front.be("refuse")
        here.airflow.parsed("sales_Ann", times=2)
        here.all_is_well()
        run = here.airflow.trigger("sales_Ann")

        def is_to_try_again() -> bool:
            return "up_for_retry" in here.airflow.states("sales_Ann", run).values()

        until(is_to_try_again, "a task is to try again")
        here.book.front.be("pass")
        assert here.airflow.ended("sales_Ann", run) == "success"
        here.has_each_once("Ann", 1, 2, 3, 5)
        assert here.fetched("Ann") == [1, 2, 3, 5]
