"""A book moves whole from one database to another, and nothing of it is lost or made up."""

import asyncio
import gzip
import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select

from observatory import Conflict, Dataset, DatasetRelease, Invalid, Organisation, Run, Unavailable
from observatory.access import operator
from observatory.ledger import catalogue, datasets, horizon, releases, seals, states, upgrade
from observatory.ledger.dump import dump, in_one_form
from observatory.ledger.load import load
from observatory.ledger.soundness import check
from observatory.ledger.tables import metadata
from observatory.ledger.upgrade import downgrade

from .conftest import NewBook, day, fill, opened, record

NOW = datetime(2026, 2, 3, tzinfo=UTC)
BIG_EXTRAS = {"ä": [1.5, 1e17, -0.0, 1e-7, 2**53, True, None], "a\\b\t\n": "\u2028'\"", "b": {}, "aa": ""}


def furnished(url: str) -> list[int]:
    """Fills a book with all that is unlike: gone ids, revisions, states, extras, a seal, an answer, a key."""
    ids = fill(url)

    async def work() -> None:
        book = opened(url)
        async with book.running():
            by = operator()
            gone = await book.write(by, catalogue.create, Organisation(name="gone"))
            await book.write(by, catalogue.remove, Organisation, gone.id)
            await book.write(by, catalogue.create, Organisation(name="Zoë's \\N\t", extras=BIG_EXTRAS))
            bad = DatasetRelease(id=3, state="withdrawn", reason="bad")
            await book.write(operator("record"), states.change, bad)
            again = day(ids[0], 2)
            again.run = Run(dag_id="d", run_id="r")
            again.extras = BIG_EXTRAS
            again.published = NOW + timedelta(microseconds=1)
            await book.write(operator("record"), releases.record, again)

    asyncio.run(work())
    moment = "'2026-01-01T00:00:00.000001+00:00'"
    kind = "text" if url.startswith("sqlite") else "timestamptz"
    digest = "x'00ff0a5c'" if url.startswith("sqlite") else r"'\x00ff0a5c'::bytea"
    run(
        url,
        f"INSERT INTO accounts (created, modified, version, name, grants)"
        f" VALUES ({moment}, {moment}, 1, 'etl', '[]')",
        "INSERT INTO keys (created, modified, version, expires, account_id, hash)"
        f" VALUES ({moment}, {moment}, 1, {moment}, 1, 'beef')",
        f"INSERT INTO replies VALUES (1, 't', 'h', NULL, {moment})",
        f"INSERT INTO wanted (dataset_id, start_date, end_date, due, size, extras, since, edge, failures)"
        f" VALUES (1, {moment}, {moment}, {moment}, 5, '[1]', {moment}, 3, 2)",
        f"INSERT INTO claims (created, modified, version, holder, until, periods, dataset_id)"
        f" VALUES ({moment}, {moment}, 1, 'etl', {moment}, 1, 1)",
        "INSERT INTO derivations VALUES (2, 1)",
        "UPDATE dataset_releases SET made_from = '[1]' WHERE id = 2",
        f"INSERT INTO seals SELECT 1, max(place), 9, CAST({moment} AS {kind}), {digest}, {digest}"
        " FROM journal",
    )
    return ids


def run(url: str, *statements: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def lines(file: Path) -> list[str]:
    return file.read_text().split("\n")[:-1]


def rewritten(file: Path, change: Callable[[list[str]], list[str]]) -> Path:
    file.write_text("".join(f"{line}\n" for line in change(lines(file))))
    return file


@pytest.mark.parametrize(("here", "there"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_a_book_that_goes_there_and_back_is_the_same(
    new_book: NewBook, tmp_path: Path, here: str, there: str
) -> None:
    urls = [new_book(here), new_book(there), new_book(here)]
    furnished(urls[0])
    files = [tmp_path / f"{i}.jsonl" for i in range(3)]

    counts = dump(urls[0], files[0], NOW)
    for i in (1, 2):
        assert load(urls[i], files[i - 1]) == counts
        dump(urls[i], files[i], NOW)

    first, *others = [lines(file)[1:] for file in files]
    for other in others:
        assert [pair for pair in zip(other, first, strict=True) if pair[0] != pair[1]] == []
    assert counts["dataset_releases"] == 41
    assert min(counts.values()) > 0


@pytest.mark.parametrize(("here", "there"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_the_journal_of_a_moved_book_is_still_sealed_and_goes_on_in_order(
    new_book: NewBook, tmp_path: Path, here: str, there: str
) -> None:
    url, other = new_book(here), new_book(there)
    fill(url)

    async def seal(url: str) -> int:
        book = opened(url)
        async with book.running():
            await book.write(operator(), horizon.keep_order)
            await book.write(operator(), catalogue.create, Organisation(name=f"there is {url[:6]} now"))
            sealed = await book.write(operator("read"), seals.seal)
            report = await seals.verify(book)
            assert report.broken is None
            assert report.unsealed == 0
            assert report.sound == check(url).rows["journal"]
            return sealed

    assert asyncio.run(seal(url)) > 40
    dump(url, tmp_path / "all.jsonl", NOW)
    load(other, tmp_path / "all.jsonl")
    assert asyncio.run(seal(other)) == 1


def test_every_table_and_column_is_in_the_file(book_url: str, tmp_path: Path) -> None:
    furnished(book_url)
    file = tmp_path / "all.jsonl"
    dump(book_url, file, NOW)

    parts = [json.loads(line) for line in lines(file) if line.startswith('{"table"')]

    assert {part["table"]: part["columns"] for part in parts} == {
        table.name: [column.name for column in table.c] for table in metadata.tables.values()
    }
    with_rows = [json.loads(line) for line in lines(file) if line.startswith("[")]
    assert "AP8KXA==" in [row[-1] for row in with_rows]
    assert "2026-01-01T00:00:00.000001+00:00" in [value for row in with_rows for value in row if value]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_imported_book_goes_on_where_it_was(book_url: str, new_book: NewBook, tmp_path: Path) -> None:
    [first, _] = furnished(book_url)
    file = tmp_path / "all.jsonl.gz"
    dump(book_url, file, NOW)
    other = new_book("postgresql" if book_url.startswith("sqlite") else "sqlite")
    load(other, file)

    record(other, [day(first, 500)])
    made = asyncio.run(created(other))

    # The id of the organisation that is gone is not given again.
    assert made.id == 4
    assert check(other).is_sound
    with pytest.raises(Exception, match="only added to"):
        run(other, "DELETE FROM journal")


async def created(url: str) -> Organisation:
    book = opened(url)
    async with book.running():
        listed = await book.read(operator("read"), datasets.listed, Dataset, 10)
        assert [dataset.address for dataset in listed] == ["a.b.0", "a.b.1"]
        found = await book.read(operator("read"), catalogue.fetch, Organisation, 3)
        assert found.extras == BIG_EXTRAS
        return await book.write(operator(), catalogue.create, Organisation(name="next"))


def test_a_book_is_made_where_there_is_none(new_book: NewBook, tmp_path: Path) -> None:
    url = new_book("sqlite")
    furnished(url)
    dump(url, tmp_path / "all.jsonl", NOW)
    load(f"sqlite:///{tmp_path}/new.db", tmp_path / "all.jsonl")
    assert check(f"sqlite:///{tmp_path}/new.db").is_sound


def test_a_book_with_anything_in_it_is_not_replaced(book_url: str, tmp_path: Path) -> None:
    furnished(book_url)
    file = tmp_path / "all.jsonl"
    dump(book_url, file, NOW)
    before = lines(file)[1:]

    with pytest.raises(Conflict, match="is not empty"):
        load(book_url, file)

    dump(book_url, file, NOW)
    assert lines(file)[1:] == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "the file ends too early"),
        (lambda lines: lines[:40], "the file ends too early"),
        (lambda lines: lines[:5], "the file ends too early"),
        (lambda lines: [], "the file ends too early"),
        (lambda lines: [line for i, line in enumerate(lines) if i != 30], "the file is not whole"),
        (lambda lines: [*lines, lines[-1]], "the file is not whole"),
        (lambda lines: [*lines[:30], lines[30][:-3], *lines[31:]], "line 31 is not as it was written"),
        (lambda lines: [line.replace('"schema":"', '"schema":"9') for line in lines], "is of schema 9"),
        (lambda lines: [line.replace("00.000000+00:00", "00+00:00") for line in lines], "matching regex"),
        (lambda lines: [line.replace('"table":"keys"', '"table":"kees"') for line in lines], "no such table"),
        (lambda lines: ["a book", *lines], "line 1 is not as it was written"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_changes_nothing(
    new_book: NewBook, tmp_path: Path, change: Callable[[list[str]], list[str]], said: str
) -> None:
    source, book_url = new_book("sqlite"), new_book("sqlite")
    fill(source)
    dump(source, tmp_path / "all.jsonl", NOW)
    file = rewritten(tmp_path / "all.jsonl", change)
    before = state(book_url)

    with pytest.raises(Invalid, match=said):
        load(book_url, file)

    assert state(book_url) == before


def state(url: str) -> dict[str, list[Any]]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            return {name: list(connection.execute(select(t))) for name, t in metadata.tables.items()}
    finally:
        engine.dispose()


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_cut_compressed_file_changes_nothing(book_url: str, tmp_path: Path, kept: float) -> None:
    url = f"sqlite:///{tmp_path}/source.db"
    load_from = tmp_path / "all.jsonl.gz"
    upgrade(url)
    fill(url, days=400)
    dump(url, load_from, NOW)
    whole = load_from.read_bytes()
    load_from.write_bytes(whole[: int(len(whole) * kept)])

    with pytest.raises(Invalid, match="not whole"):
        load(book_url, load_from)

    assert state(book_url)["organisations"] == []


def test_a_book_that_is_not_sound_is_not_imported(book_url: str, new_book: NewBook, tmp_path: Path) -> None:
    source = new_book("sqlite")
    fill(source)
    run(source, "UPDATE holdings SET longest = 1")
    dump(source, tmp_path / "all.jsonl", NOW)

    with pytest.raises(Invalid, match="longest period has 1 µs"):
        load(book_url, tmp_path / "all.jsonl")

    assert state(book_url)["datasets"] == []


def test_rows_that_the_database_refuses_change_nothing(
    book_url: str, new_book: NewBook, tmp_path: Path
) -> None:
    source = new_book("sqlite")
    fill(source)
    dump(source, tmp_path / "all.jsonl", NOW)
    row = next(line for line in lines(tmp_path / "all.jsonl") if line.startswith("["))
    file = rewritten(
        tmp_path / "all.jsonl",
        lambda lines: [again for line in lines for again in ([line, line] if line == row else [line])],
    )

    with pytest.raises(Unavailable, match="does not take it, at line"):
        load(book_url, file)

    assert state(book_url)["datasets"] == []


def test_a_book_of_an_earlier_version_is_upgraded_first(book_url: str, tmp_path: Path) -> None:
    downgrade(book_url, "0001")
    with pytest.raises(Unavailable, match="at version 0001"):
        dump(book_url, tmp_path / "all.jsonl", NOW)
    assert list(tmp_path.glob("*.jsonl*")) == []


def test_a_compressed_file_says_the_same(book_url: str, tmp_path: Path) -> None:
    furnished(book_url)
    dump(book_url, tmp_path / "all.jsonl", NOW)
    dump(book_url, tmp_path / "all.jsonl.gz", NOW)
    assert gzip.decompress((tmp_path / "all.jsonl.gz").read_bytes()) == (tmp_path / "all.jsonl").read_bytes()


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(), st.lists)


@given(st.dictionaries(st.text(), VALUES))
def test_json_in_one_form_means_the_same(value: dict[str, Any]) -> None:
    said = in_one_form(json.dumps(value))
    # As numbers, whole or not: 1e20 and 100000000000000000000 are the same one.
    assert json.loads(said, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    assert in_one_form(said.decode()) == said
