"""What every storage service does, whatever it is."""

import gzip
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from observatory.errors import Invalid, NotFound
from observatory.storage import Storage, open_storage

from .processes import killed

# The package without which a service cannot be used.
DRIVERS = {"duckdb": "duckdb"}
ROWS: list[dict[str, Any]] = [
    {"code": "000", "longitude": 0.0},
    {"code": "001", "longitude": 0.15},
    {"code": "247", "longitude": None},
]


def test_a_load_says_how_many_rows_it_brought(storage: Storage, address: str) -> None:
    loaded = storage.load(address, ROWS)
    assert loaded.row_count == 3
    assert storage.exists(address)
    assert storage.row_count(address) == 3
    assert storage.measure(address) == loaded


def test_a_load_that_is_retried_does_not_double_anything(storage: Storage, address: str) -> None:
    assert storage.load(address, ROWS) == storage.load(address, ROWS)
    assert storage.row_count(address) == 3


def test_a_load_replaces_what_was_there_columns_and_all(storage: Storage, address: str) -> None:
    storage.load(address, ROWS)
    storage.load(address, [{"name": "Greenwich"}])
    assert storage.row_count(address) == 1


def test_a_load_that_fails_leaves_what_was_there(
    storage: Storage, address: str, write: Callable[[str, str], Path]
) -> None:
    before = storage.load(address, ROWS)

    def broken() -> Iterator[dict[str, Any]]:
        yield {"code": "000"}
        raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        storage.load(address, broken())
    with pytest.raises(Invalid, match="cannot be loaded"):
        storage.load(address, write("rows.json", '[{"code": "000"}, {"code": '))
    assert storage.measure(address) == before


def test_a_load_that_is_killed_leaves_what_was_there(
    storage: Storage, service: str, address: str, tmp_path: Path
) -> None:
    before = storage.load(address, ROWS)
    large = tmp_path / "large.csv"
    large.write_text("code,longitude\n" + "001,0.15\n" * 3_000_000)
    killed(service, tmp_path, f"storage.load({address!r}, Path({str(large)!r}))", after=0.7)
    assert storage.measure(address) == before


def test_the_digest_depends_on_the_rows_and_not_on_their_order(storage: Storage, address: str) -> None:
    digest = storage.load(address, ROWS).digest
    assert storage.load(address, ROWS[::-1]).digest == digest
    assert storage.load(address, [*ROWS[:2], {"code": "247", "longitude": 0.0}]).digest != digest
    assert storage.load(address, ROWS + ROWS[:1]).digest != digest
    assert storage.load(address, ROWS + ROWS[:1] * 2).digest != storage.load(address, ROWS).digest


def test_values_keep_their_types(storage: Storage, address: str) -> None:
    at = datetime(2026, 10, 7, 7, 28, 19, 123456, UTC)
    row = {"text": "007", "day": "2026-10-07", "whole": 1, "huge": 2**70, "part": 1, "yes": True}
    other = {"at": at, "on": date(2026, 10, 7), "part": 0.5, "nested": {"a": [1]}, "never": None}
    assert storage.load(address, [row, other]).row_count == 2
    # As text, "007" is not the number 7, and a time has its microseconds.
    digest = storage.measure(address).digest
    for name, value in {"text": "7", "at": at.replace(microsecond=123457)}.items():
        changed = [record | {name: value} if name in record else record for record in (row, other)]
        assert storage.load(address, changed).digest != digest


def test_values_that_do_not_go_together_are_refused_with_their_place(storage: Storage, address: str) -> None:
    with pytest.raises(Invalid, match="row 2, column code holds BIGINT, the rows before it VARCHAR"):
        storage.load(address, [{"code": "000"}, {"code": 1}])


def test_no_rows_are_not_a_table(storage: Storage, address: str) -> None:
    with pytest.raises(Invalid, match="no rows"):
        storage.load(address, [])
    assert not storage.exists(address)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "code,longitude\n000,0.0\n001,0.15\n247,\n"),
        ("rows.tsv", "code\tlongitude\n000\t0.0\n001\t0.15\n247\t\n"),
        ("rows.json", '[{"code":"000","longitude":0.0},{"code":"001","longitude":0.15},{"code":"247"}]'),
        (
            "rows of '2026'.ndjson",
            '{"code":"000","longitude":0.0}\n{"code":"001","longitude":0.15}\n{"code":"247"}',
        ),
    ],
)
def test_files_are_loaded_like_rows(
    storage: Storage, address: str, write: Callable[[str, str], Path], name: str, text: str
) -> None:
    from_file = storage.load(address, write(name, text))
    assert from_file == storage.load(address, ROWS)


def test_a_compressed_file_is_loaded_too(storage: Storage, address: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"code,longitude\n000,0.0\n"))
    assert storage.load(address, path).row_count == 1


def test_a_late_row_of_another_type_is_no_surprise(
    storage: Storage, address: str, write: Callable[[str, str], Path]
) -> None:
    rows = "".join(f'{{"code": {number}}}\n' for number in range(50_000))
    assert storage.load(address, write("rows.ndjson", rows + '{"code": "A01"}\n')).row_count == 50_001


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "rows[1].csv", "missing.csv"])
def test_a_file_that_cannot_be_read_is_refused(
    storage: Storage, address: str, write: Callable[[str, str], Path], name: str
) -> None:
    with pytest.raises(Invalid):
        storage.load(
            address, write(name, "code\n000\n").with_name(name) if name != "missing.csv" else Path(name)
        )


def test_shards_are_listed_by_date_without_their_neighbours(storage: Storage, address: str) -> None:
    for suffix in ("20261017", "20261007", "", "_old", "20261", "s20261007"):
        storage.load(address + suffix, ROWS)
    assert storage.shards(address) == [address + "20261007", address + "20261017"]
    assert storage.shards(address + "_none") == []


def test_a_dropped_table_is_gone_and_may_be_dropped_again(storage: Storage, address: str) -> None:
    storage.drop(address)
    storage.load(address, ROWS)
    storage.drop(address)
    storage.drop(address)
    assert not storage.exists(address)


def test_a_table_that_is_not_there_has_no_rows_to_count(storage: Storage, address: str) -> None:
    for _ in range(2):  # in a new service, and in one where another table is
        assert not storage.exists(address)
        with pytest.raises(NotFound, match="codes"):
            storage.row_count(address)
        with pytest.raises(NotFound, match="codes"):
            storage.measure(address)
        storage.load(address + "20261017", ROWS)


def test_many_threads_load_one_table_and_none_is_lost_or_doubled(storage: Storage, address: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(lambda _: storage.load(address, ROWS), range(12)))
    assert set(loaded) == {storage.measure(address)}


def test_a_malformed_address_is_refused(storage: Storage) -> None:
    with pytest.raises(Invalid, match="expected"):
        storage.load(":", ROWS)


def test_an_unknown_service_says_which_are_known() -> None:
    with pytest.raises(Invalid, match=r"'carrier pigeon'.*one of .*duckdb"):
        open_storage("carrier pigeon")


def test_a_service_whose_package_is_not_installed_says_how_to_install_it(service: str) -> None:
    program = f"""
        import sys
        sys.modules[{DRIVERS[service]!r}] = None  # as if it were not installed
        from observatory.storage import open_storage
        open_storage({service!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert f"Invalid: storing in {service} needs the package {DRIVERS[service]}" in said
    assert f"pip install 'observatory-ledger[{service}]'" in said


def test_no_service_is_imported_before_it_is_asked_for() -> None:
    program = "import sys, observatory.storage; assert 'duckdb' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
