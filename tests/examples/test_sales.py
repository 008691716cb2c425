"""The sales of partners, each in a shape of its own, from their files to the sums."""

import csv
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import DAG

from observatory import Dataset, ObservatoryApi

from .conftest import EXAMPLES, RunExample

PARTNERS = {"harbour_books_sales", "librairie_du_midi_sales", "pacific_reader_sales"}


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(query).fetchall()


def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds; fails after ten seconds."""
    last = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.2)


def sold(folder: Path, separator: str, book_field: str, sales_field: str, month: str = "*") -> Counter[str]:
    """Returns the copies of each book that the files of a partner tell, read without DuckDB."""
    copies: Counter[str] = Counter()
    for file in folder.glob(f"{month}.csv"):
        for row in csv.DictReader(file.read_text().splitlines(), delimiter=separator):
            copies[row[book_field].replace("-", "")] += int(row[sales_field])
    return copies


def all_sold(month: str = "*") -> Counter[str]:
    folder = EXAMPLES / "sales"
    return (
        sold(folder / "harbour_books_sales", ",", "ISBN", "Units Sold", month)
        + sold(folder / "librairie_du_midi_sales", ";", "EAN", "Exemplaires", month)
        + sold(folder / "pacific_reader_sales", "\t", "ISBN-13", "Net Qty", month)
    )


@pytest.fixture
def loaded(run_example: RunExample) -> None:
    """All partners' DAGs have run."""
    for dag_id in sorted(PARTNERS):
        states = run_example("sales_partners.py", dag_id)
        assert set(states.values()) == {"success"}


@pytest.mark.usefixtures("loaded")
def test_sales_of_partners_with_columns_of_their_own_are_added_up_also_of_one_that_the_book_is_told_of_later(
    book: ObservatoryApi, data: Path, run_example: RunExample, read_dags: Callable[[str], dict[str, DAG]]
) -> None:
    def totals() -> dict[str, int]:
        assert set(run_example("sales_total.py", "sales_total").values()) == {"success"}
        return dict(rows(data / "sales/totals.duckdb", "SELECT book, copies FROM total"))

    assert totals() == all_sold()
    import_module("fourth_partner").add_partner(book)
    # A process asks the book again after three seconds.
    until(lambda: set(read_dags("sales_partners.py")) == {*PARTNERS, "bergen_bok_sales"})
    # Nobody is left out of the sum without a word.
    with pytest.raises(duckdb.IOException, match="bergen"):
        copies_of_all(book)
    assert set(run_example("sales_partners.py", "bergen_bok_sales").values()) == {"success"}
    assert totals() == all_sold() + Counter({"9781760006884": 40, "9781760003098": 2})

    [dataset] = book.get_datasets(name="total sales")
    releases = book.get_dataset_releases(dataset_id=dataset.id)
    assert [one.row_count for one in releases] == [6, 6]
    names = [f"sales at {name}" for name in ("Harbour Books", "Librairie du Midi", "Pacific Reader")]
    assert [one.extras for one in releases] == [
        {"partners": names},
        {"partners": [*names, "sales at Bergen Bok"]},
    ]


def copies_of_all(book: ObservatoryApi) -> None:
    partners = import_module("partners")
    partners.copies_sold(book, [partners.partner_of(one) for one in book.get_datasets(tag="sales_partner")])


@pytest.mark.usefixtures("loaded")
def test_one_run_records_all_months_that_became_complete(
    book: ObservatoryApi, data: Path, run_example: RunExample
) -> None:
    assert set(run_example("sales_by_month.py", "sales_by_month").values()) == {"success"}
    [dataset] = book.get_datasets(name="monthly sales")
    releases = book.get_dataset_releases(dataset_id=dataset.id)
    assert [f"{one.start_date:%Y-%m}" for one in releases] == ["2026-07", "2026-08", "2026-09"]
    assert len({one.run.run_id for one in releases if one.run}) == 1
    for release in releases:
        month = f"{release.start_date:%Y%m}"
        query = f"SELECT book, copies FROM monthly WHERE _partition = '{month}'"
        assert dict(rows(data / "sales/totals.duckdb", query)) == all_sold(f"{month[:4]}-{month[4:]}")
    # Nothing is new, so nothing is done.
    assert run_example("sales_by_month.py", "sales_by_month") == {
        "find_months": "success",
        "add_up": "skipped",
        "add_new_dataset_releases": "skipped",
    }


@pytest.mark.usefixtures("loaded")
def test_a_dataset_that_is_moved_while_the_dag_is_there_is_loaded_to_the_new_place(
    book: ObservatoryApi, data: Path, run_example: RunExample, tmp_path: Path
) -> None:
    run_example("sales_export.py", "sales_export")
    before = rows(data / "sales/totals.duckdb", "SELECT book, copies FROM export")
    [dataset] = book.get_datasets(name="exported sales")
    file = tmp_path / "exported.csv"
    book.put_dataset(Dataset(id=dataset.id, service="file", address=str(file)))

    assert set(run_example("sales_export.py", "sales_export").values()) == {"success"}
    with file.open(newline="") as lines:
        assert [(row["book"], int(row["copies"])) for row in csv.DictReader(lines)] == before
    releases = book.get_dataset_releases(dataset_id=dataset.id)
    assert [one.extras for one in releases] == [{"service": "duckdb"}, {"service": "file"}]


@pytest.mark.usefixtures("loaded")
def test_the_bestsellers_wait_for_the_dags_that_the_book_names(
    data: Path, run_example: RunExample, read_dags: Callable[[str], dict[str, DAG]]
) -> None:
    sensor = read_dags("bestsellers.py")["bestsellers"].get_task("wait_for_partners")
    assert set(sensor.dag_ids) == PARTNERS  # type: ignore[union-attr] # the sensor's
    waited_for = end_a_run_after_a_while("harbour_books_sales")
    assert set(run_example("bestsellers.py", "bestsellers").values()) == {"success"}
    assert waited_for.is_set()
    best = rows(data / "sales/totals.duckdb", "SELECT book, copies FROM bestsellers")
    assert (
        sorted(best, key=lambda row: (-row[1], row[0]))
        == sorted(all_sold().items(), key=lambda row: (-row[1], row[0]))[:3]
    )


def end_a_run_after_a_while(dag_id: str) -> threading.Event:
    """Makes the last run of a DAG go on, as far as Airflow knows, and end after two seconds."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    def tell(state: str) -> None:
        with create_session() as session:
            session.merge(DagRun.find(dag_id=dag_id)[-1]).state = state

    def end() -> None:
        ended.set()
        tell("success")

    ended = threading.Event()
    tell("running")
    threading.Timer(2, end).start()
    return ended
