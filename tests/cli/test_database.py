"""`observatory database`: what is typed by whoever looks after the book."""

import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi
from observatory.ledger import upgrade

from .conftest import Type


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book with nothing in it, which the environment names."""
    file = tmp_path / "book.db"
    monkeypatch.setenv("OBSERVATORY_DATABASE_URL", f"sqlite:///{file}")
    upgrade(f"sqlite:///{file}")
    return file


def test_a_book_is_copied_and_restored(anywhere: Type, book: Path) -> None:
    copy = book.with_name("copy.db")

    said = anywhere("database", "backup", str(copy))
    assert (said.code, said.out.strip()) == (0, f"the book is copied to {copy}")
    said = anywhere("database", "backup", str(copy))
    assert said.code == 1
    assert said.err.strip() == f"error: {copy} is there already; force: say --force to replace it"
    assert anywhere("database", "backup", str(copy), "--force").code == 0

    said = anywhere("database", "restore", str(copy))
    assert said.code == 1
    assert "say --force to replace it; the old file is kept beside it" in said.err
    said = anywhere("database", "restore", str(copy), "--force")
    assert said.code == 0
    assert f"{book} is the book of {copy}; the one before is kept as {book}.2" in said.out


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_of_postgresql_its_own_tools_are_named(anywhere: Type, command: str) -> None:
    url = "postgresql://me:secret@db.example.org:5433/press?sslmode=require"
    said = anywhere("database", command, "file", "--database-url", url)

    assert said.code == 2
    assert "secret" not in said.err
    shown = "'postgresql://me:…@db.example.org:5433/{}?sslmode=require'"
    if command == "backup":
        assert f"pg_dump --format=custom --file=book.dump --dbname={shown.format('press')}" in said.err
        assert (
            f"pg_basebackup --pgdata=base --wal-method=stream --checkpoint=fast --dbname={shown.format('')}"
            in said.err
        )
    else:
        assert f"--dbname={shown.format('NEW')} book.dump" in said.err


def test_a_sound_book_is_told_so_while_it_is_served(
    anywhere: Type, api: ObservatoryApi, dataset: Dataset, database_url: str
) -> None:
    for day in (1, 5):
        start, end = datetime(2026, 1, day, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=start, end_date=end))

    said = anywhere("database", "check", "--database-url", database_url)

    assert said.code == 0, said
    assert "2 dataset releases" in said.out
    assert said.out.endswith("the book is sound\n")

    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM coverage")
        connection.commit()
    said = anywhere("database", "check", "--database-url", database_url)
    assert said.code == 1
    lacking = f"  dataset {dataset.id} lacks: 2026-01-01T00:00:00+00:00 to 2026-02-01T00:00:00+00:00"
    assert said.out.splitlines()[:2] == ["coverage: 1 wrong", lacking]
    assert said.out.endswith("the book is not sound\n")

    said = anywhere("database", "check", "--repair", "--database-url", database_url)
    assert said.code == 0
    assert f"counted anew: datasets {dataset.id}" in said.out
    assert len(api.get_coverage(dataset_id=dataset.id).runs) == 1


def test_many_faults_of_one_sort_are_told_in_few_lines(anywhere: Type, book: Path) -> None:
    with closing(sqlite3.connect(book)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for i in range(30):
            connection.execute("INSERT INTO holdings (dataset_id, longest) VALUES (?, 0)", [i])
        connection.commit()

    said = anywhere("database", "check")

    assert said.code == 1
    assert said.out.splitlines()[0] == "keys: 30 wrong"
    assert "  and 20 more" in said.out.splitlines()


def test_no_book_is_told_and_none_is_made(anywhere: Type, tmp_path: Path) -> None:
    file = tmp_path / "nothing.db"
    said = anywhere("database", "check", "--database-url", f"sqlite:///{file}")
    assert (said.code, said.err) == (1, f"error: there is no book at {file}\n")
    assert not file.exists()


def test_a_whole_book_goes_through_a_file(
    anywhere: Type, dataset: Dataset, database_url: str, tmp_path: Path
) -> None:
    file, new = tmp_path / "all.jsonl.gz", f"sqlite:///{tmp_path}/new.db"

    said = anywhere("export", "--all", str(file), "--database-url", database_url)
    assert said.code == 0, said
    assert said.out.startswith("wrote 1 accounts, 1 book, ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    said = anywhere("import", str(file), "--database-url", new)
    assert said.code == 0, said
    assert said.out.startswith("put in 1 accounts, 1 book, ")
    assert anywhere("database", "check", "--database-url", new).code == 0

    said = anywhere("import", str(file), "--database-url", new)
    assert said.code == 1
    assert "is not empty" in said.err


def test_a_whole_book_is_not_written_where_everybody_reads(anywhere: Type, tmp_path: Path) -> None:
    assert anywhere("export", "--all").code == 2
    assert anywhere("export", "file", "--database-url", "sqlite:///book.db").code == 2
    assert anywhere("import", str(tmp_path / "nothing")).code == 2
