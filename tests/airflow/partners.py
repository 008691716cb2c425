"""Partners in a book, with sources and a warehouse, and an Airflow that has a DAG for each."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb

from .book import Book, add_partner
from .real import Airflow

DAY_0 = date(2026, 9, 30)
DAG_FILE = Path(__file__).parent / "dags" / "partners.py"


class Partners:
    """What tests do with the partners, and see of them."""

    def __init__(self, folder: Path, book: Book, names: Sequence[str], environment: dict[str, str]) -> None:
        self.book = book
        self.datasets = {name: add_partner(book.api, name) for name in names}
        self.dag_ids = [f"sales_{name}" for name in names] + ["sums"]
        self.sources, self.warehouse = folder / "sources", folder / "warehouse"
        self.warehouse.mkdir()
        for name in names:
            (self.sources / name).mkdir(parents=True)
        places = {"SOURCES": str(self.sources), "WAREHOUSE": str(self.warehouse)}
        self.airflow = Airflow({**book.environment, **places, **environment})
        shutil.copy(DAG_FILE, self.airflow.dags_folder)

    def publish(self, name: str, *days: int) -> None:
        """Publishes days, the first of October 2026 being 1, each with as many rows as its number."""
        for day in days:
            rows = "".join(f"{number}\n" for number in range(day))
            self._file(name, day, "csv").write_text(f"sold\n{rows}")

    def tell(self, name: str, what: str, *days: int) -> None:
        """Tells days of a source to be `broken`, or, between load and recording, `held` or `deadly` once.

        Without days it is told of the source, which may be `closed`: it lets wait who looks what there is.
        """
        for file in self._signs(name, what, days):
            file.touch()

    def end(self, name: str, what: str, *days: int) -> None:
        """Ends what they were told to be."""
        for file in self._signs(name, what, days):
            file.unlink()

    def has_loaded(self, name: str, *days: int) -> bool:
        """Tells whether tasks have loaded all these days, at least once, if they have not recorded them."""
        return all(file.exists() for file in self._signs(name, "loaded", days))

    def run(self, name: str, seconds: float = 180) -> dict[str, str]:
        """Runs the DAG of a partner to its end, and returns the states of its tasks."""
        run = self.airflow.trigger(f"sales_{name}")
        self.airflow.ended(f"sales_{name}", run, seconds)
        return self.airflow.states(f"sales_{name}", run)

    def fetched(self, name: str) -> list[int]:
        """Returns the days that were downloaded, each as often as it was."""
        file = self.sources / name / "fetched"
        lines = file.read_text().split() if file.exists() else []
        return sorted((date.fromisoformat(line) - DAY_0).days for line in lines)

    def has_each_once(self, name: str, *days: int) -> None:
        """Fails unless just these days are in the book, once each, and in the tables."""
        found = self.book.api.get_dataset_releases(dataset_id=self.datasets[name].id, history=True)
        told = [((one.start_date.date() - DAY_0).days, one.revision, one.row_count) for one in found]
        assert told == [(day, 1, day) for day in days]
        assert self.loaded(name) == {f"sales{DAY_0 + timedelta(day):%Y%m%d}": day for day in days}

    def loaded(self, name: str) -> dict[str, int]:
        """Returns the rows of each table."""
        with duckdb.connect(str(self.warehouse / f"{name.lower()}.duckdb"), read_only=True) as warehouse:
            tables = [table for (table,) in warehouse.sql("SHOW TABLES").fetchall()]
            counts = [warehouse.sql(f'SELECT count(*) FROM "{table}"').fetchall() for table in tables]
            return {table: count for table, [(count,)] in zip(tables, counts, strict=True)}

    def all_is_well(self) -> None:
        """Fails unless all DAGs are there, and their file can be read."""
        assert self.airflow.import_errors() == {}
        are_stale = {dag_id: dag["is_stale"] for dag_id, dag in self.airflow.dags().items()}
        assert are_stale == dict.fromkeys(self.dag_ids, False)

    def _signs(self, name: str, what: str, days: Sequence[int]) -> list[Path]:
        return [self._file(name, day, what) for day in days] or [self.sources / name / what]

    def _file(self, name: str, day: int, kind: str) -> Path:
        return self.sources / name / f"{DAY_0 + timedelta(day)}.{kind}"


@contextmanager
def partners(folder: Path, *names: str, **environment: str) -> Iterator[Partners]:
    """Starts a book, and an Airflow with a DAG for each partner; all is gone after it."""
    with Book(folder) as book:
        made = Partners(folder, book, names, environment)
        with made.airflow:
            made.airflow.has(*made.dag_ids)
            yield made
