"""The sales of partners, each in a shape of its own, from their files to the sums."""

import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import DAG

from observatory import Dataset, DatasetType, ObservatoryApi, Workflow

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
def test_sales_of_partners_with_columns_of_their_own_are_added_up(
    book: ObservatoryApi, data: Path, run_example: RunExample
) -> None:
    assert set(run_example("sales_total.py", "sales_total").values()) == {"success"}
    totals = rows(data / "sales/totals.duckdb", "SELECT book, copies FROM total")
    assert dict(totals) == all_sold()
    [dataset] = book.get_datasets(name="total sales")
    [release] = book.get_dataset_releases(dataset_id=dataset.id)
    assert release.row_count == len(totals) == 6
    names = [f"sales at {name}" for name in ("Harbour Books", "Librairie du Midi", "Pacific Reader")]
    assert release.extras == {"partners": names}


@pytest.mark.usefixtures("loaded")
def test_a_fourth_partner_that_the_book_is_told_of_is_loaded_and_added_up_by_the_same_code(
    book: ObservatoryApi,
    data: Path,
    run_example: RunExample,
    read_dags: Callable[[str], dict[str, DAG]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(read_dags("sales_partners.py")) == PARTNERS
    reports = shutil.copytree(EXAMPLES / "sales", tmp_path / "reports")
    monkeypatch.setenv("OBSERVATORY_REPORTS", str(reports))
    add_partner(book)
    (reports / "bergen_bok_sales").mkdir()
    (reports / "bergen_bok_sales" / "2026-09.csv").write_text(
        "Dato|Varenr|Solgt antall|NOK\n"
        "03.09.2026|9781760006884|40|9960,00\n"
        "17.09.2026|9788200000013|2|498,00\n"
    )

    # A process asks the book again after three seconds.
    until(lambda: set(read_dags("sales_partners.py")) == {*PARTNERS, "bergen_bok_sales"})
    assert set(run_example("sales_partners.py", "bergen_bok_sales").values()) == {"success"}
    assert set(run_example("sales_total.py", "sales_total").values()) == {"success"}
    totals = dict(rows(data / "sales/totals.duckdb", "SELECT book, copies FROM total"))
    assert totals == all_sold() + Counter({"9781760006884": 40, "9788200000013": 2})


def add_partner(book: ObservatoryApi) -> None:
    [press] = book.get_organisations(name="Open Book Press")
    told = {"sales_field": "Solgt antall", "book_field": "Varenr", "separator": "|"}
    kind = book.post_dataset_type(
        DatasetType(
            type_id="bergen_bok_sales",
            name="Sales as Bergen Bok reports them",
            table_type=book.get_table_type(type_id="partitioned_month"),
            extras=told,
        )
    )
    workflow = book.post_workflow(
        Workflow(
            name="Bergen Bok",
            organisation=press,
            workflow_type=book.get_workflow_type(type_id="partition_telescope"),
            tags=json.dumps(["sales_partner", "aggregation_input"]),
        )
    )
    dataset = Dataset(name="sales at Bergen Bok", workflow=workflow, dataset_type=kind)
    dataset.service, dataset.address = "duckdb", "sales/bergen.duckdb:sales"
    book.post_dataset(dataset)


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
