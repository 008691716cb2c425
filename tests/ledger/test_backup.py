"""Copies of a SQLite book: whole, of one moment, and put in its place only where nobody uses it."""

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from observatory import Conflict, Invalid, ObservatoryError, Unavailable
from observatory.ledger import backup as backups
from observatory.ledger import upgrade
from observatory.ledger.backup import backup, restore
from observatory.ledger.snapshot import open_file
from observatory.ledger.soundness import check
from observatory.ledger.upgrade import downgrade, head

from .conftest import NewBook, day, fill, opened, record

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def book(new_book: NewBook) -> Path:
    """A book in a file, with 40 releases."""
    url = new_book("sqlite")
    fill(url)
    return Path(url.removeprefix("sqlite:///"))


def count(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        [number] = connection.execute("SELECT count(*) FROM dataset_releases").fetchone()
        return int(number)


@contextmanager
def writing(book: Path) -> Iterator[list[float]]:
    """Records without a pause in a thread, and gives how long each recording took."""
    took: list[float] = []
    ending = threading.Event()

    def work() -> None:
        number = 1000
        while not ending.is_set():
            began = time.monotonic()
            record(f"sqlite:///{book}", [day(1, number + i) for i in range(50)])
            took.append(time.monotonic() - began)
            number += 50

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield took
    finally:
        ending.set()
        thread.join()


def test_a_copy_is_whole_and_of_one_moment_while_others_write(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "PAGES", 1)  # so that there are writes between the steps
    fillers = [day(2, 5000 + i) for i in range(5000)]
    record(f"sqlite:///{book}", fillers)

    with writing(book) as took:
        time.sleep(0.2)
        copies = [book.with_name(f"copy{i}.db") for i in range(3)]
        for copy in copies:
            backup(book, copy)
            time.sleep(0.1)

    assert len(took) > 3
    assert max(took) < 5
    for copy in copies:
        assert check(f"sqlite:///{copy}").is_sound
        assert (count(copy) - 5040) % 50 == 0


class Slowly:
    """A connection that copies so slowly that somebody else writes after each page."""

    def __init__(self, connection: sqlite3.Connection, write: Callable[[], None]) -> None:
        self._connection = connection
        self._write = write
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def backup(self, target: sqlite3.Connection, pages: int) -> None:
        def after_a_page(_: int, left: int, whole: int) -> None:
            self.steps += 1
            assert self.steps <= whole, f"it began anew; {left} of {whole} pages are left"
            self._write()

        self._connection.backup(target, pages=1, progress=after_a_page)


def test_a_copy_does_not_begin_anew_at_each_write(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(book, isolation_level=None)) as other:
        other.execute("PRAGMA synchronous=OFF")

        def write() -> None:
            other.execute("UPDATE holdings SET longest = longest + 1")

        monkeypatch.setattr(backups, "open_file", lambda path: Slowly(open_file(path), write))
        monkeypatch.setattr(backups, "_check", lambda copy, source: None)
        backup(book, book.with_name("copy.db"))
        [now] = other.execute("SELECT max(longest) FROM holdings").fetchone()

    with closing(sqlite3.connect(book.with_name("copy.db"))) as connection:
        [then] = connection.execute("SELECT max(longest) FROM holdings").fetchone()
    day = 24 * 3600 * 10**6
    assert then == day
    assert now > day + 20


def test_a_copy_is_one_file_that_only_its_owner_reads(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)

    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(file.name for file in book.parent.iterdir() if "copy" in file.name) == ["copy.db"]
    # Not in the mode with a log: it can be read where nothing can be written.
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_file_is_overwritten_only_when_asked(book: Path) -> None:
    copy = book.with_name("copy.db")
    copy.write_text("precious")
    with pytest.raises(Invalid, match="is there already"):
        backup(book, copy)
    assert copy.read_text() == "precious"

    backup(book, copy, overwrite=True)

    assert count(copy) == 40


def test_a_damaged_book_is_not_copied_over_a_good_copy(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    with book.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 20))

    with pytest.raises(ObservatoryError):
        backup(book, copy, overwrite=True)

    assert count(copy) == 40
    assert not [file for file in book.parent.iterdir() if file.name.startswith(".copy")]


def test_what_cannot_be_copied_is_told(book: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no file"):
        backup(tmp_path / "nothing.db", tmp_path / "copy.db")
    with pytest.raises(Unavailable, match="cannot be written"):
        backup(book, tmp_path / "nowhere" / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_restored_book_is_the_one_that_was_copied(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    record(f"sqlite:///{book}", [day(1, 900)])
    before = copy.read_bytes()

    old = restore(copy, book, NOW, overwrite=True)

    assert count(book) == 40
    assert check(f"sqlite:///{book}").is_sound
    assert old == book.with_name("book0.db.20260203T040506000000Z")
    assert count(old) == 41
    assert copy.read_bytes() == before
    assert stat.S_IMODE(book.stat().st_mode) == 0o600
    assert {file.name for file in book.parent.iterdir()} == {book.name, old.name, copy.name}


def test_a_book_is_replaced_only_when_asked(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    with pytest.raises(Invalid, match="there is a book"):
        restore(copy, book, NOW)

    book.unlink()
    assert restore(copy, book, NOW) is None
    assert count(book) == 40


def test_a_book_that_a_server_holds_is_not_replaced(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)

    async def attempt() -> None:
        # A server that does nothing at all at the moment.
        async with opened(f"sqlite:///{book}").running():
            with pytest.raises(Conflict, match="is in use"):
                await asyncio.to_thread(restore, copy, book, NOW, overwrite=True)

    asyncio.run(attempt())
    assert [file.name for file in book.parent.iterdir() if "2026" in file.name] == []

    restore(copy, book, NOW, overwrite=True)


def test_the_log_of_a_killed_server_does_not_get_into_the_restored_book(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    killed(book)
    assert Path(f"{book}-wal").stat().st_size > 0

    old = restore(copy, book, NOW, overwrite=True)

    assert count(book) == 40
    assert old is not None
    assert count(old) == 41


def test_the_log_of_a_file_that_is_gone_does_not_get_into_the_restored_book(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    killed(book)
    book.unlink()

    restore(copy, book, NOW)

    assert count(book) == 40
    assert check(f"sqlite:///{book}").is_sound
    assert Path(f"{book}.20260203T040506000000Z-wal").exists()


def test_a_damaged_book_is_replaced_and_kept(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    book.write_bytes(b"not a database" * 1000)

    old = restore(copy, book, NOW, overwrite=True)

    assert count(book) == 40
    assert old is not None
    assert old.read_bytes().startswith(b"not a database")


def killed(book: Path) -> None:
    """Leaves what a killed server leaves: its last write is in the log only."""
    with closing(sqlite3.connect(book, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(
            "INSERT INTO dataset_releases (created, modified, version, start_date, end_date, revision, state,"
            " dataset_id) SELECT created, modified, 1, '1980-01-01T00:00:00.000000+00:00', end_date, 1,"
            " state, dataset_id FROM dataset_releases LIMIT 1"
        )
        left = {end: Path(f"{book}{end}").read_bytes() for end in ("", "-wal", "-shm")}
    for end, content in left.items():
        Path(f"{book}{end}").write_bytes(content)


def test_an_older_copy_is_brought_up_to_date_before_it_is_in_place(book: Path) -> None:
    older, copy = book.with_name("older.db"), book.with_name("copy.db")
    shutil.copy(book, older)
    downgrade(f"sqlite:///{older}", "0001")
    backup(older, copy)

    restore(copy, book, NOW, overwrite=True)

    with closing(sqlite3.connect(book)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (head(),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "but no book"),
        (b"not a database" * 100, "no sound SQLite file"),
    ],
)
def test_what_is_no_copy_of_a_book_is_not_restored(book: Path, content: bytes, said: str) -> None:
    copy = book.with_name("copy.db")
    copy.write_bytes(content)
    with pytest.raises(Invalid, match=said):
        restore(copy, book, NOW, overwrite=True)
    assert count(book) == 40


def test_a_copy_of_a_later_version_is_not_restored(book: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    upgrade(f"sqlite:///{copy}")
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(Invalid, match="is of version 9999; this code knows"):
        restore(copy, book, NOW, overwrite=True)
    assert count(book) == 40


def test_a_cut_copy_is_not_restored(book: Path) -> None:
    copy = book.with_name("copy.db")
    backup(book, copy)
    copy.write_bytes(copy.read_bytes()[: -4096 * 2])
    with pytest.raises(Invalid, match=r"damaged|no sound"):
        restore(copy, book, NOW, overwrite=True)
    assert count(book) == 40
