"""The other examples: whether they are read, are short, and do what they say."""

import ast
import csv
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import DAG

from observatory import ObservatoryApi, make_dag_id
from observatory.wants import Offer

from .conftest import EXAMPLES, RunExample

SOURCES = {
    "mpc_obscodes.py": "mpc_obscodes",
    "public_suffix_list.py": "public_suffix_list",
    "earth_rotation.py": "earth_rotation",
    "identifier_prefixes.py": "identifier_prefixes",
}
KEPT = EXAMPLES.parent / ".work" / "tests" / "wheels"


def test_the_page_on_use_cases_shows_what_the_examples_say() -> None:
    page = (EXAMPLES.parent / "docs" / "how-to" / "use-cases.md").read_text()
    shown = re.findall(r"^```text\n# examples/(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == page.count("```") // 2
    assert [part for file, part in shown if part not in (EXAMPLES / file).read_text()] == []


def lines_of_code(file: str) -> int:
    """Returns how many lines are written in a file, without its docstring, comments and empty lines."""
    tree = ast.parse((EXAMPLES / file).read_text())
    written = {line for node in tree.body[1:] for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = (EXAMPLES / file).read_text().splitlines()
    return sum(bool(lines[number - 1].strip().split("#")[0]) for number in written)


def test_each_file_is_told_of_in_the_readme() -> None:
    told = set(re.findall(r"`(\w+\.py)`", (EXAMPLES / "README.md").read_text()))
    assert told == {file.name for file in EXAMPLES.glob("*.py")} - {"demo.py"}


@pytest.mark.parametrize("file", SOURCES)
def test_a_telescope_on_a_real_source_is_short_enough_to_be_copied(file: str) -> None:
    assert lines_of_code(file) < 60


@pytest.mark.parametrize("file", ["iers.py", "prefixes.py"])
def test_a_reader_of_a_format_is_short_too(file: str) -> None:
    assert lines_of_code(file) < 60


@pytest.mark.usefixtures("book", "data")
def test_airflow_reads_all_examples_of_a_book(read_dags: Callable[[str], dict[str, DAG]]) -> None:
    found = {dag_id for file in EXAMPLES.glob("*.py") for dag_id in read_dags(file.name)}
    organisations = ("Open Data Desk", "Open Book Press")
    assert found == {
        *SOURCES.values(),
        "harbour_books_sales",
        "librairie_du_midi_sales",
        "pacific_reader_sales",
        "sales_total",
        "sales_by_month",
        "sales_export",
        "bestsellers",
        "catching_up",
        *(make_dag_id("missing", name) for name in organisations),
    }


@pytest.mark.parametrize("file", [*SOURCES, "catching_up.py"])
def test_telescopes_are_read_while_neither_the_book_nor_the_source_is_there(
    file: str, read_dags: Callable[[str], dict[str, DAG]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert len(read_dags(file)) == 1


def test_each_organisation_has_a_dag_that_writes_down_what_it_misses(
    book: ObservatoryApi, data: Path, run_example: RunExample
) -> None:
    [dataset] = book.get_datasets(name="observatory codes")
    days = [datetime(2026, 10, day, tzinfo=UTC) for day in (1, 7, 17)]
    book.probe(dataset.id, [Offer(day, day) for day in days])
    dag_id = make_dag_id("missing", "Open Data Desk")
    assert run_example("organisations.py", dag_id) == {"write_report": "success"}
    with (data / "reports" / f"{dag_id}.csv").open(newline="") as lines:
        [told] = csv.DictReader(lines)
    assert (told["dataset"], told["from"], told["periods"], told["reason"]) == (
        "observatory codes",
        "2026-10-01T00:00:00+00:00",
        "3",
        "offered",
    )


def test_a_history_is_caught_up_with_some_days_a_run_whatever_interrupts_it(
    book: ObservatoryApi, run_example: RunExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_PER_RUN", "3")
    [dataset] = book.get_datasets(name="temperatures")

    def days_loaded() -> list[int]:
        """Returns how many days before the last one each is that is there."""
        releases = book.get_dataset_releases(dataset_id=dataset.id, history=True)
        return sorted((datetime(2026, 5, 15, tzinfo=UTC) - one.start_date).days for one in releases)

    run_example("catching_up.py", "catching_up")
    assert days_loaded() == [0, 1, 2]
    # What a run holds that was killed is its own until its time is over.
    killed = book.claim(dataset.id, limit=2, order="newest", holder="a killed run", seconds=5)
    run_example("catching_up.py", "catching_up")
    assert days_loaded() == [0, 1, 2, 5, 6, 7]
    assert killed.claim
    time.sleep(max(0, (killed.claim.until - datetime.now(UTC)).total_seconds()))
    run_example("catching_up.py", "catching_up")
    assert days_loaded() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert book.count_missing(dataset_id=dataset.id) == {"offered": 491}


@pytest.mark.long
def test_five_runs_catch_up_with_five_hundred_days(
    book: ObservatoryApi, data: Path, run_example: RunExample
) -> None:
    [dataset] = book.get_datasets(name="temperatures")
    for number in range(1, 6):
        run_example("catching_up.py", "catching_up")
        assert len(book.get_dataset_releases(dataset_id=dataset.id, history=True)) == number * 100
    coverage = book.get_coverage(dataset.id)
    assert (len(coverage.runs), coverage.gaps) == (1, [])
    assert rows(data / "weather.duckdb", "SELECT count(*) FROM temperatures") == [(12_000,)]


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(query).fetchall()


# Real sources.


def telescope_of(file: str, monkeypatch: pytest.MonkeyPatch, newest: int) -> Any:
    """Returns the telescope of an example that keeps up with so many releases."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("OBSERVATORY_NEWEST", str(newest))
    name = file.removesuffix(".py")
    sys.modules.pop(name, None)
    return __import__(name).telescope


def test_a_release_of_the_earths_rotation_is_what_became_known_since_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered = telescope_of("earth_rotation.py", monkeypatch, 2).offered()
    assert len(offered) >= 181
    assert offered[0].start_date == datetime(1973, 1, 2, tzinfo=UTC)
    assert all(one.end_date == other.start_date < other.end_date for one, other in pairwise(offered))
    known = {one.version_label: one.end_date for one in offered}
    assert known["0.2026.11.2.0.34.55"] == datetime(2026, 11, 2, 0, 34, 55, tzinfo=UTC)


@pytest.mark.long
def test_prefixes_are_offered_as_they_were_at_the_start_of_each_month(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered = telescope_of("identifier_prefixes.py", monkeypatch, 2).offered()
    now = datetime.now(UTC)
    assert [one.release_date.day for one in offered] == [1, 1]
    assert (offered[0].release_date.year, offered[0].release_date.month) == (now.year, now.month)
    assert all(one.version_label for one in offered)


@pytest.mark.long
def test_the_earths_rotation_is_loaded_into_one_table_that_has_the_newest_of_each_day(
    book: ObservatoryApi, data: Path, run_example: RunExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_NEWEST", "2")
    states = run_example("earth_rotation.py", "earth_rotation")
    assert list(states.values()) == ["success"] * 3
    [dataset] = book.get_datasets(name="earth rotation")
    old, new = book.get_dataset_releases(dataset_id=dataset.id)
    told = "SELECT count(*), count(DISTINCT mjd), min(_release), max(_release) FROM rotation"
    [(days, distinct, oldest, newest)] = rows(data / "earth.duckdb", told)
    assert days == distinct == new.row_count
    assert old.row_count is not None
    assert 20_000 <= old.row_count <= days
    assert oldest == newest == new.end_date


@pytest.mark.long
def test_prefixes_are_loaded_into_a_shard_for_each_month(
    book: ObservatoryApi, data: Path, run_example: RunExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_NEWEST", "2")
    states = run_example("identifier_prefixes.py", "identifier_prefixes")
    assert list(states.values()) == ["success"] * 3
    [dataset] = book.get_datasets(name="identifier prefixes")
    for release in book.get_dataset_releases(dataset_id=dataset.id):
        shard = f"prefixes{release.start_date:%Y%m%d}"
        told = rows(data / "identifiers.duckdb", f"SELECT count(*) FROM {shard}")
        assert told == [(release.row_count,)]
