"""The chain over the journal: whatever is done to an entry later is found, and the entry named."""

import asyncio
import sqlite3
from collections.abc import Callable

import psycopg
import pytest

from observatory import Invalid
from observatory.access import operator
from observatory.ledger import Database, seals
from observatory.ledger.seals import Checkpoint, Report
from observatory.ledger.tables import journal

from .conftest import day, fill, record
from .test_journal import change, run

BY = operator("read")


async def seal_all(book: Database) -> list[int]:
    found = []
    while sealed := await book.write(BY, seals.seal):
        found.append(sealed)
    return found


def verified(url: str, *checkpoints: Checkpoint) -> Report:
    report: Report = run(url, lambda book: seals.verify(book, checkpoints))
    return report


@pytest.fixture
def sealed_url(book_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A book with 26 entries in three links."""
    monkeypatch.setattr(seals, "LINK", 10)
    fill(book_url, 1, 18)
    assert run(book_url, seal_all) == [10, 10, 6]
    assert verified(book_url) == Report(26, 0, None)
    return book_url


def test_what_is_written_is_sealed_later_and_once(sealed_url: str) -> None:
    record(sealed_url, [day(1, 100 + number) for number in range(7)])
    assert verified(sealed_url) == Report(26, 7, None)

    async def work(book: Database) -> list[int]:
        at_once = await asyncio.gather(*(book.write(BY, seals.seal) for _ in range(5)))
        return [sealed for sealed in at_once if sealed]

    assert run(sealed_url, work) == [7]
    assert verified(sealed_url) == Report(33, 0, None)


def test_the_running_server_seals_in_the_background(book_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "PAUSE", 0.05)
    monkeypatch.setattr(seals, "LINK", 4)
    fill(book_url, 1, 18)

    async def work(book: Database) -> Report:
        async with seals.sealing(book, lambda seconds: None):
            for _ in range(200):
                report = await seals.verify(book)
                if not report.unsealed:
                    break
                await asyncio.sleep(0.05)
        return report

    assert run(book_url, work) == Report(26, 0, None)


def test_what_may_still_come_is_not_sealed(new_book: Callable[[str], str]) -> None:
    url = new_book("postgresql")
    fill(url, 1, 3)
    with psycopg.connect(url) as held:
        held.execute(b"SELECT pg_current_xact_id()")
        record(url, [day(1, 50)])
        run(url, seal_all)
        assert verified(url) == Report(11, 1, None)
    run(url, seal_all)
    assert verified(url) == Report(12, 0, None)


@pytest.mark.parametrize("column", [column.name for column in journal.c])
def test_a_change_of_any_column_is_found_and_named(sealed_url: str, column: str) -> None:
    on_sqlite = sealed_url.startswith("sqlite")
    other = {
        "sequence": "1000",
        "place": "place + 1",
        "time": "'2020-01-01T00:00:00.000000+00:00'",
        "before": "'{}'",
        "after": "after || ' '",
    }
    of_text = ("actor", "action", "kind", "request")
    value = other.get(column, "'read'" if column in of_text else "coalesce(-record_id, 0)")
    place = cursors(sealed_url)[16]
    change(sealed_url, f"UPDATE journal SET {column} = {value} WHERE sequence = 17")
    report = verified(sealed_url)
    assert report.broken
    assert report.sound == 10
    if column not in ("sequence", "place"):
        assert f"entry {place} was changed" in report.broken
    elif column == "place" and on_sqlite:
        # It is the last one now.
        assert "removed" in report.broken
    else:
        assert "removed" in report.broken or "changed" in report.broken


def cursors(url: str) -> list[str]:
    """Returns the cursors of all entries in the order of sequences."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        rows = connection.execute("SELECT place, sequence FROM journal ORDER BY sequence").fetchall()
        connection.close()
    else:
        with psycopg.connect(url) as postgresql:
            rows = postgresql.execute(b"SELECT place, sequence FROM journal ORDER BY sequence").fetchall()
    return [f"{place}.{sequence}" for place, sequence in rows]


@pytest.mark.parametrize(
    "sequences", [[1], [5, 6], [10], [11], [20, 21], [9, 10, 11], [26], list(range(1, 11))]
)
def test_a_removed_entry_is_found_and_its_place_named(sealed_url: str, sequences: list[int]) -> None:
    here = cursors(sealed_url)
    listed = ", ".join(map(str, sequences))
    change(sealed_url, f"DELETE FROM journal WHERE sequence IN ({listed})")
    report = verified(sealed_url)
    assert report.broken
    assert "removed" in report.broken
    before = "-1.0" if sequences[0] == 1 else here[sequences[0] - 2]
    assert f" {before} " in report.broken


def test_an_inserted_entry_is_found_and_named(sealed_url: str) -> None:
    # In the place of one that is moved up, so that all the others are as they were.
    columns = ", ".join(column.name for column in journal.c if column.name not in ("sequence", "place"))
    change(
        sealed_url,
        f"INSERT INTO journal (sequence, place, {columns})"
        f" SELECT -5, (SELECT place FROM journal WHERE sequence = 15), {columns}"
        " FROM journal WHERE sequence = 15",
    ) if sealed_url.startswith("sqlite") else change(
        sealed_url,
        f"INSERT INTO journal (sequence, place, {columns}) OVERRIDING SYSTEM VALUE"
        f" SELECT -5, (SELECT place FROM journal WHERE sequence = 15), {columns}"
        " FROM journal WHERE sequence = 15",
    )
    report = verified(sealed_url)
    assert report.broken
    assert ".-5 was inserted" in report.broken


def test_two_entries_whose_contents_are_swapped_are_found(sealed_url: str) -> None:
    columns = ("record_id", "after")
    for column in columns:
        change(
            sealed_url,
            f"UPDATE journal SET {column} = (SELECT {column} FROM journal AS other"
            " WHERE other.sequence = 37 - journal.sequence) WHERE sequence IN (18, 19)",
        )
    report = verified(sealed_url)
    assert report.broken
    assert f"entry {cursors(sealed_url)[17]} was changed" in report.broken


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM seals WHERE number = 2", "link 2 of the chain was removed"),
        ("DELETE FROM seals WHERE number = 1", "link 1 of the chain was removed"),
        ("UPDATE seals SET digest = leaves WHERE number = 2", "link 2 of the chain was changed"),
        ("UPDATE seals SET leaves = digest WHERE number = 1", "link 1 of the chain was changed"),
        ("UPDATE seals SET sequence = 12, place = -1 WHERE number = 2", "removed"),
        ("UPDATE seals SET sequence = 999 WHERE number = 3", "link 3 of the chain was changed"),
    ],
)
def test_a_chain_that_is_tampered_with_is_found(sealed_url: str, statement: str, said: str) -> None:
    change(sealed_url, statement)
    report = verified(sealed_url)
    assert report.broken
    assert said in report.broken


def test_a_cut_end_and_a_chain_that_is_written_anew_are_found_by_a_checkpoint(
    sealed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: Checkpoint = run(sealed_url, seals.checkpoint)
    assert kept.number == 3
    assert seals.checkpoint_of(str(kept)) == kept
    with pytest.raises(Invalid, match="no checkpoint"):
        seals.checkpoint_of("1 2 3")
    assert verified(sealed_url, kept) == Report(26, 0, None)
    foreign = kept._replace(book="another")
    with pytest.raises(Invalid, match="another book"):
        verified(sealed_url, foreign)

    change(sealed_url, "DELETE FROM seals WHERE number = 3")
    change(sealed_url, "DELETE FROM journal WHERE sequence > 20")
    assert verified(sealed_url).broken is None  # nobody could tell
    assert "link 3: its end was cut off" in str(verified(sealed_url, kept).broken)

    record(sealed_url, [day(1, 500 + number) for number in range(6)])
    run(sealed_url, seal_all)
    assert verified(sealed_url).broken is None
    assert "link 3 is not that of its checkpoint" in str(verified(sealed_url, kept).broken)


def test_leaves_are_the_same_on_both_databases() -> None:
    entry = (
        7,
        0,
        "2026-01-01T00:00:00.000000+00:00",
        "é",
        None,
        "create",
        "Dataset",
        3,
        1,
        3,
        None,
        "{}",
        "",
    )
    assert seals.leaf(entry).hex() == seals.leaf(list(entry)).hex()
    assert seals.leaf(entry) != seals.leaf((*entry[:4], "", *entry[5:]))
    assert seals.leaf(("1", "23")) != seals.leaf(("12", "3"))


def test_a_sealed_journal_that_moves_to_another_database_is_still_sound(
    new_book: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "LINK", 10)
    here, there = new_book("sqlite"), new_book("postgresql")
    fill(here, 1, 18)
    run(here, seal_all)
    connection = sqlite3.connect(here.removeprefix("sqlite:///"))
    with psycopg.connect(there) as postgresql:
        postgresql.execute(b"SET LOCAL session_replication_role = replica")
        postgresql.execute(b"DELETE FROM journal")
        for name, number in (("journal", len(journal.c)), ("seals", 6)):
            for row in connection.execute(f"SELECT * FROM {name}"):
                places = ", ".join(["%s"] * number)
                sort = "OVERRIDING SYSTEM VALUE" if name == "journal" else ""
                postgresql.execute(f"INSERT INTO {name} {sort} VALUES ({places})".encode(), row)
    connection.close()
    assert verified(there) == Report(26, 0, None)


def test_times_are_sealed_to_the_microsecond(sealed_url: str) -> None:
    on_sqlite = (
        "substr(time, 1, 25) || CASE substr(time, 26, 1) WHEN '0' THEN '1' ELSE '0' END || substr(time, 27)"
    )
    on_postgresql = "time + interval '1 microsecond'"
    time = on_sqlite if sealed_url.startswith("sqlite") else on_postgresql
    change(sealed_url, f"UPDATE journal SET time = {time} WHERE sequence = 3")
    assert "was changed" in str(verified(sealed_url).broken)
