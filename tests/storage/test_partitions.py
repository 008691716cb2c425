"""What every storage service does with the partitions of a table, whatever it is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from observatory.errors import Invalid, NotFound
from observatory.storage import Storage

from .processes import killed

JANUARY: list[dict[str, Any]] = [{"code": "000", "seen": 1}, {"code": "001", "seen": 2}]
FEBRUARY: list[dict[str, Any]] = [{"code": "000", "seen": 3}]


@pytest.fixture
def january(address: str) -> str:
    return address + "$202601"


@pytest.fixture
def february(address: str) -> str:
    return address + "$202602"


def test_partitions_are_rows_of_one_table(
    storage: Storage, address: str, january: str, february: str
) -> None:
    storage.load(february, FEBRUARY)
    storage.load(january, JANUARY)
    assert storage.partitions(address) == [january, february]
    assert storage.shards(address) == []
    assert storage.exists(address)
    assert storage.measure(address) == storage.load(f"{address}_all", JANUARY + FEBRUARY)


def test_a_load_replaces_just_its_partition(
    storage: Storage, address: str, january: str, february: str
) -> None:
    storage.load(january, JANUARY)
    before = storage.load(february, FEBRUARY)
    changed = storage.load(january, JANUARY[:1])
    assert storage.load(january, JANUARY[:1]) == changed == storage.measure(january)
    assert storage.measure(february) == before
    assert storage.row_count(january) == storage.row_count(february) == 1
    assert storage.row_count(address) == 2


def test_the_digest_of_a_partition_is_that_of_its_rows(storage: Storage, address: str, january: str) -> None:
    assert storage.load(january, JANUARY) == storage.load(f"{address}_plain", JANUARY)


def test_what_one_partition_brings_does_not_change_the_digest_of_another(
    storage: Storage, january: str, february: str
) -> None:
    before = storage.load(january, JANUARY)
    storage.load(february, [{"Height": 240, "code": "002"}])
    assert storage.measure(january) == before


def test_types_become_wider_where_they_must_and_else_are_refused(
    storage: Storage, january: str, february: str
) -> None:
    storage.load(january, JANUARY)
    after = storage.load(february, [{"code": "002", "seen": 0.5}])
    with pytest.raises(Invalid, match="column seen holds VARCHAR, the rows before it DOUBLE"):
        storage.load(february, [{"code": "002", "seen": "never"}])
    assert storage.measure(february) == after


def test_a_partition_loaded_with_wrong_types_is_put_right_by_loading_it_again(
    storage: Storage, january: str
) -> None:
    storage.load(january, [{"code": 0}])
    assert storage.load(january, JANUARY) == storage.measure(january)


def test_a_dropped_partition_is_gone_and_may_be_dropped_again(
    storage: Storage, address: str, january: str, february: str
) -> None:
    storage.drop(january)
    storage.load(january, JANUARY)
    storage.load(february, FEBRUARY)
    storage.drop(january)
    storage.drop(january)
    assert not storage.exists(january)
    assert storage.partitions(address) == [february]
    storage.drop(february)
    assert storage.partitions(address) == []


def test_a_partition_that_is_not_there_has_no_rows_to_count(
    storage: Storage, address: str, january: str, february: str
) -> None:
    for load in (address + "_other", february):
        with pytest.raises(NotFound, match=r"codes\$202601"):
            storage.row_count(january)
        with pytest.raises(NotFound, match=r"codes\$202601"):
            storage.measure(january)
        assert not storage.exists(january)
        storage.load(load, JANUARY)


def test_a_load_without_rows_empties_the_partition(
    storage: Storage, january: str, february: str, write: Callable[[str, str], Path]
) -> None:
    storage.load(january, JANUARY)
    storage.load(february, FEBRUARY)
    assert storage.load(january, write("rows.csv", "code,seen\n")).row_count == 0
    assert not storage.exists(january)
    assert storage.row_count(february) == 1


def test_tables_that_are_something_else_are_not_made_partitioned(
    storage: Storage, address: str, january: str
) -> None:
    before = storage.load(address, JANUARY)
    with pytest.raises(Invalid, match="has no partitions"):
        storage.load(january, JANUARY)
    assert storage.measure(address) == before
    assert storage.partitions(address) == []


def test_rows_are_not_merged_into_partitions(storage: Storage, address: str, january: str) -> None:
    storage.load(january, JANUARY)
    for wrong in (address, january):
        with pytest.raises(Invalid, match="partition"):
            storage.upsert(wrong, JANUARY, ["code"], datetime(2026, 10, 1, tzinfo=UTC))
    with pytest.raises(Invalid, match="one partition"):
        storage.partitions(january)
    assert storage.row_count(address) == 2


@pytest.mark.parametrize("table", ["", "$202601"])
def test_columns_of_our_own_are_refused_in_a_source(storage: Storage, address: str, table: str) -> None:
    with pytest.raises(Invalid, match="Observatory's own"):
        storage.load(address + table, [{"_partition": "202601"}])
    assert not storage.exists(address)


def test_a_load_of_a_partition_that_is_killed_leaves_what_was_there(
    storage: Storage, service: str, address: str, january: str, tmp_path: Path
) -> None:
    storage.load(january, JANUARY)
    before = storage.measure(address)
    large = tmp_path / "large.csv"
    large.write_text("code,seen\n" + "A01,1\n" * 3_000_000)
    killed(service, tmp_path, f"storage.load({january!r}, Path({str(large)!r}))", after=0.7)
    assert storage.measure(address) == before


def test_threads_that_load_a_partition_at_once_do_not_double_it(
    storage: Storage, january: str, february: str
) -> None:
    storage.load(january, JANUARY)
    rows = [{"code": str(number)} for number in range(20_000)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: storage.load(february, rows), range(4)))
    assert storage.row_count(february) == 20_000
    assert storage.row_count(january) == 2
