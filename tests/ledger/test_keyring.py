"""The ring is found where the settings say, or made once beside the file of the book."""

import multiprocessing
import os
import re
import sqlite3
import stat
from pathlib import Path

import pytest

from observatory import Invalid
from observatory.ledger import upgrade
from observatory.ledger.keyring import beside, open_ring
from observatory.ledger.sealing import new_line
from observatory.settings import Settings, read

PLACE = "datasets.address:17"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "observatory.db"


def local(book: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{book}")


def test_a_book_in_a_file_gets_a_ring_that_only_its_owner_reads(book: Path) -> None:
    kept = open_ring(local(book)).seal("a.b.c", PLACE)

    assert sorted(path.name for path in book.parent.iterdir()) == ["observatory.db.keys"]
    assert stat.S_IMODE(beside(book).stat().st_mode) == 0o600
    assert open_ring(local(book)).unseal(kept, PLACE) == "a.b.c"


def test_two_books_have_different_rings(tmp_path: Path) -> None:
    one, other = open_ring(local(tmp_path / "1.db")), open_ring(local(tmp_path / "2.db"))

    assert one.current != other.current


def seal_there(
    url: str, start: "multiprocessing.synchronize.Event", told: "multiprocessing.Queue[str]"
) -> None:
    start.wait()
    told.put(open_ring(Settings(database_url=url)).seal("a.b.c", PLACE))


def test_processes_that_start_at_once_have_one_ring(book: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    start, told = context.Event(), context.Queue()
    processes = [
        context.Process(target=seal_there, args=[local(book).database_url, start, told]) for _ in "12345678"
    ]
    for process in processes:
        process.start()
    start.set()
    kept = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    ring = open_ring(local(book))
    assert [ring.unseal(one, PLACE) for one in kept] == ["a.b.c"] * len(processes)
    assert [path.name for path in book.parent.iterdir()] == ["observatory.db.keys"]


def test_the_ring_of_the_environment_comes_before_the_one_beside_the_book(book: Path) -> None:
    line = new_line()
    environ = {"OBSERVATORY_DATABASE_URL": f"sqlite:///{book}", "OBSERVATORY_KEY_RING": line}

    assert open_ring(read(environ)).current == f"sealed:{line.split()[0]}:"
    assert not beside(book).exists()


def test_the_ring_can_be_a_file(tmp_path: Path) -> None:
    line, file = new_line(), tmp_path / "ring"
    file.touch(0o600)
    file.write_text(f"# ours\n{line}\n")
    settings = Settings(database_url="postgresql://nobody@/nowhere", key_ring_file=str(file))

    assert open_ring(settings).current == f"sealed:{line.split()[0]}:"


def test_a_ring_is_said_once() -> None:
    with pytest.raises(Invalid, match="two key rings"):
        open_ring(Settings(key_ring=new_line(), key_ring_file="ring"))


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o666])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "ring"
    file.write_text(new_line())
    file.chmod(mode)

    with pytest.raises(Invalid) as raised:
        open_ring(Settings(key_ring_file=str(file)))

    assert raised.value.fields == {"OBSERVATORY_KEY_RING_FILE": f"run: chmod 600 {file}"}


def test_a_group_reads_what_root_lets_it_and_not_what_others_do(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    file = tmp_path / "ring"
    file.write_text(new_line())
    file.chmod(0o640)
    open_ring(Settings(key_ring_file=str(file)))

    os.chown(file, 12345, 12345)
    with pytest.raises(Invalid, match="others can read"):
        open_ring(Settings(key_ring_file=str(file)))


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=re.escape(str(tmp_path / "none"))) as raised:
        open_ring(Settings(key_ring_file=str(tmp_path / "none")))
    assert "No such file" in raised.value.fields["OBSERVATORY_KEY_RING_FILE"]

    with pytest.raises(Invalid, match="cannot be read"):
        open_ring(Settings(key_ring_file=str(tmp_path)))

    binary = tmp_path / "binary"
    binary.touch(0o600)
    binary.write_bytes(os.urandom(31) + b"\xff")
    with pytest.raises(Invalid, match="cannot be read") as raised:
        open_ring(Settings(key_ring_file=str(binary)))
    assert raised.value.fields == {"OBSERVATORY_KEY_RING_FILE": "must be a file of text"}


def test_a_ring_that_cannot_be_made_is_said_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as raised:
        open_ring(local(tmp_path / "no folder" / "observatory.db"))

    assert "No such file" in raised.value.fields["OBSERVATORY_KEY_RING_FILE"]


def test_a_book_in_postgresql_needs_a_ring_and_is_told_how_to_make_one() -> None:
    with pytest.raises(Invalid) as raised:
        open_ring(Settings(database_url="postgresql://nobody@/nowhere"))

    cure = raised.value.fields["OBSERVATORY_KEY_RING_FILE"]
    assert "observatory keys ring > observatory.keys" in cure
    assert "umask 077" in cure


def test_a_ring_that_is_gone_is_not_replaced_unseen(book: Path) -> None:
    settings = local(book)
    upgrade(settings.database_url)
    sealed = open_ring(settings).seal("a.b.c", PLACE)
    beside(book).unlink()
    open_ring(settings)  # nothing is sealed yet, so nothing is lost
    beside(book).unlink()
    with sqlite3.connect(book) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(
            "INSERT INTO datasets (created, modified, version, name, service, address, extras, workflow_id,"
            " dataset_type_id) VALUES ('', '', 1, 'a', 's', ?, '{}', 1, 1)",
            [sealed],
        )
    connection.close()

    with pytest.raises(Invalid, match="is gone") as raised:
        open_ring(settings)

    assert "from its copy" in raised.value.fields["OBSERVATORY_KEY_RING_FILE"]
    assert not beside(book).exists()
