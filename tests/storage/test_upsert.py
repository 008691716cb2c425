"""What every storage service does when rows come into a table, whatever it is."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from observatory.errors import Invalid
from observatory.storage import Storage

from .processes import killed, started

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
SECOND, THIRD = FIRST + timedelta(days=7), FIRST + timedelta(days=14)
KEYS = ["code"]
ROWS: list[dict[str, Any]] = [{"code": "000", "name": "Greenwich"}, {"code": "001", "name": "Crowborough"}]
REVISED: list[dict[str, Any]] = [
    {"code": "001", "name": "Crowborough Beacon"},
    {"code": "002", "name": "Rayl"},
]
MERGED = [ROWS[0], *REVISED]


def held(storage: Storage, address: str, rows: list[dict[str, Any]]) -> bool:
    """Tells whether the table holds just these rows."""
    return storage.measure(address) == storage.load(f"{address}_expected", rows)


def test_rows_replace_those_with_the_same_keys_and_are_added_else(storage: Storage, address: str) -> None:
    assert storage.upsert(address, ROWS, KEYS, FIRST).row_count == 2
    assert storage.upsert(address, REVISED, KEYS, SECOND).row_count == 2
    assert held(storage, address, MERGED)
    assert storage.row_count(address) == 3


def test_an_upsert_tells_what_the_source_holds_and_not_the_table(storage: Storage, address: str) -> None:
    storage.upsert(address, ROWS, KEYS, FIRST)
    told = storage.upsert(address, REVISED, KEYS, SECOND)
    assert told == storage.load(f"{address}_revised", REVISED)
    assert told == storage.upsert(address, REVISED, KEYS, SECOND)


def test_releases_may_be_loaded_in_any_order_and_again(storage: Storage, address: str) -> None:
    deliveries: list[tuple[list[dict[str, Any]], datetime]] = [
        (ROWS, FIRST),
        (REVISED, SECOND),
        ([{"code": "002", "name": "Ryle", "country": "Wales"}], THIRD),
    ]
    expected = [ROWS[0], REVISED[0], {"code": "002", "name": "Ryle", "country": "Wales"}]
    for number, order in enumerate(itertools.permutations(deliveries)):
        table = f"{address}_{number}"
        for rows, as_of in [*order, order[0], order[1]]:
            storage.upsert(table, rows, KEYS, as_of)
        assert held(storage, table, expected), order


def test_a_release_that_is_corrected_replaces_what_it_brought(storage: Storage, address: str) -> None:
    storage.upsert(address, ROWS, KEYS, FIRST)
    storage.upsert(address, [{"code": "001", "name": "Crow"}], KEYS, FIRST)
    assert held(storage, address, [ROWS[0], {"code": "001", "name": "Crow"}])


def test_rows_that_were_loaded_without_a_release_are_earlier_than_all(storage: Storage, address: str) -> None:
    storage.load(address, ROWS)
    storage.upsert(address, REVISED, KEYS, FIRST)
    assert held(storage, address, MERGED)


def test_several_columns_tell_rows_apart(storage: Storage, address: str) -> None:
    rows = [{"code": code, "year": year, "seen": 1} for code in ("000", "001") for year in (2025, 2026)]
    storage.upsert(address, rows, ["Code", "year"], FIRST)
    storage.upsert(address, [rows[0] | {"seen": 2}], ["code", "year"], SECOND)
    assert held(storage, address, [rows[0] | {"seen": 2}, *rows[1:]])


def test_columns_that_are_new_are_added_and_those_that_are_gone_stay_null(
    storage: Storage, address: str
) -> None:
    storage.upsert(address, ROWS, KEYS, FIRST)
    storage.upsert(address, [{"code": "001", "Height": 240}], KEYS, SECOND)
    assert held(storage, address, [ROWS[0], {"code": "001", "Height": 240}])


def test_types_become_wider_where_they_must(storage: Storage, address: str) -> None:
    storage.upsert(address, [{"code": "000", "height": 1, "seen": None}], KEYS, FIRST)
    storage.upsert(address, [{"code": "001", "height": 0.5, "seen": 7}], KEYS, SECOND)
    storage.upsert(address, [{"code": "002", "height": 2, "seen": None}], KEYS, THIRD)
    expected = [
        {"code": "000", "height": 1.0, "seen": None},
        {"code": "001", "height": 0.5, "seen": 7},
        {"code": "002", "height": 2.0, "seen": None},
    ]
    assert held(storage, address, expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"code": "001"}, {"code": "001"}], r"null or there twice: 001;"),
        ([{"code": None, "name": "x"}, {"code": "7"}], r"null or there twice: null;"),
        ([{"code": str(i % 5)} for i in range(10)], r"there twice: 0, 1, 2, …;"),
        ([{"name": "x"}], r"cannot be told apart by \['code'\]"),
        ([{"code": 7}], r"column code holds BIGINT, the rows before it VARCHAR"),
        ([{"code": "7", "_release": "x"}], r"_release is a column of Observatory's own"),
        ([{"code": "7", "_Partition": "x"}], r"_partition is a column of Observatory's own"),
        ([], "no rows"),
    ],
)
def test_what_cannot_be_merged_is_refused_and_changes_nothing(
    storage: Storage, address: str, rows: list[dict[str, Any]], message: str
) -> None:
    storage.upsert(address, ROWS, KEYS, FIRST)
    before = storage.measure(address)
    with pytest.raises(Invalid, match=message):
        storage.upsert(address, rows, KEYS, SECOND)
    assert storage.measure(address) == before


def test_an_upsert_needs_keys_and_a_time_with_a_zone(storage: Storage, address: str) -> None:
    with pytest.raises(Invalid, match="told apart by nothing"):
        storage.upsert(address, ROWS, [], FIRST)
    with pytest.raises(Invalid, match="later") as error:
        storage.upsert(address, ROWS, KEYS, datetime(2026, 10, 1))
    assert "no time zone" in error.value.fields["as_of"]
    assert not storage.exists(address)


def test_files_are_merged_like_rows(
    storage: Storage, address: str, write: Callable[[str, str], Path]
) -> None:
    storage.upsert(address, write("rows.csv", "code,name\nA00,Greenwich\n"), KEYS, FIRST)
    storage.upsert(address, write("more.csv", "code,name\nA00,Greenwich 2\nA01,\n"), KEYS, SECOND)
    assert held(storage, address, [{"code": "A00", "name": "Greenwich 2"}, {"code": "A01", "name": None}])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "code,name,height\n247,2026-01-01,7\n"),
        ("rows.json", '[{"code": "247", "name": "2026-01-01", "height": 7}]'),
        ("rows.ndjson", '{"code": 247, "name": "2026-01-01", "height": 7}'),
    ],
)
def test_text_that_looks_like_numbers_or_dates_for_once_stays_text(
    storage: Storage, address: str, write: Callable[[str, str], Path], name: str, text: str
) -> None:
    storage.upsert(address, [{"code": "A00", "name": "Greenwich"}], KEYS, FIRST)
    storage.upsert(address, write(name, text), KEYS, SECOND)
    expected = {"code": "247", "name": "2026-01-01", "height": 7}
    assert held(storage, address, [{"code": "A00", "name": "Greenwich"}, expected])


def test_an_upsert_that_is_killed_leaves_what_was_there(
    storage: Storage, service: str, address: str, tmp_path: Path
) -> None:
    storage.upsert(address, ROWS, KEYS, FIRST)
    before = storage.measure(address)
    large = tmp_path / "large.csv"
    large.write_text("code,name\n" + "".join(f"A{number},x\n" for number in range(3_000_000)))
    call = f"storage.upsert({address!r}, Path({str(large)!r}), ['code'], datetime(2026, 10, 8, tzinfo=UTC))"
    killed(service, tmp_path, call, after=0.7)
    assert storage.measure(address) == before


def test_processes_that_merge_at_once_lose_and_double_nothing(
    storage: Storage, service: str, address: str, tmp_path: Path
) -> None:
    call = """for turn in range(3):
        rows = [{{"code": "both"}}, {{"code": f"{number}-{{turn}}"}}]
        storage.upsert({address!r}, rows, ["code"], datetime(2026, 10, 1 + turn, tzinfo=UTC))
    """
    running = [started(service, tmp_path, call.format(number=n, address=address)) for n in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    expected = [{"code": "both"}, *({"code": f"{n}-{turn}"} for n in range(4) for turn in range(3))]
    assert held(storage, address, expected)


def test_threads_that_merge_at_once_lose_and_double_nothing(storage: Storage, address: str) -> None:
    storage.upsert(address, [{"code": "there"}], KEYS, FIRST)
    rows = [{"code": f"new {number}"} for number in range(20_000)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: storage.upsert(address, rows, KEYS, FIRST), range(4)))
    assert storage.row_count(address) == 20_001
