"""An address is kept sealed, and is read, set and asked for by those only who have the right to."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec import UNSET

from observatory import Dataset, DatasetType, Organisation, Workflow, WorkflowType
from observatory.access import Caller, operator, scopes
from observatory.errors import Forbidden, NotFound, ObservatoryError
from observatory.ledger import catalogue, datasets, open_database
from observatory.ledger.database import Transaction
from observatory.ledger.sealing import KEY, KeyRing
from observatory.records import Grant, Role, TableType

OURS, THEIRS = 1, 2  # organisations, and the workflow of each
SECRET, OTHER = "bigquery.partner.hidden", "bigquery.partner.moved"
RING = KeyRing({"first": b"1" * KEY})
ROTATED = KeyRing({"second": b"2" * KEY, "first": b"1" * KEY})
LOST = KeyRing({"second": b"2" * KEY})
DATASETS = "SELECT id, address, address_digest FROM datasets ORDER BY id"
JOURNAL = "SELECT action, before, after FROM journal WHERE kind = 'Dataset' ORDER BY sequence"

Run = Callable[..., Any]


def account(*grants: tuple[Role, int | None], right: Any = "maintain") -> Caller:
    given = scopes(Grant(role=role, organisation_id=where) for role, where in grants)
    return Caller("dag", 7, given, right)


MAINTAINER = account(("maintainer", None))
READER = account(("maintainer", None), ("address:read", OURS))
WRITER = account(("maintainer", None), ("address:write", OURS))
TRUSTED = account(("maintainer", None), ("address:read", None), ("address:write", None))


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs ledger functions, each in a transaction of its own, with a ring and a caller."""

    def written(
        work: Callable[..., Coroutine[Any, Any, Any]], *args: Any, by: Caller = TRUSTED, ring: KeyRing = RING
    ) -> Any:
        async def written() -> Any:
            database = open_database(database_url, ring=ring)
            async with database.running():
                return await database.write(by, work, *args)

        return asyncio.run(written())

    written(furnish, by=operator("maintain"))
    return written


@pytest.fixture
def rows(database_url: str) -> Callable[..., list[Any]]:
    """Runs a statement of SQL on the database itself."""

    def found(statement: str) -> list[Any]:
        if database_url.startswith("sqlite"):
            with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection, connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(database_url) as other:
            cursor = other.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return found


async def furnish(tx: Transaction) -> None:
    kind = WorkflowType(type_id="sales", name="Sales")
    kind = await catalogue.create(tx, kind)
    await catalogue.create(tx, DatasetType(type_id="sales", name="Sales", table_type=TableType(id=1)))
    for name in ("ours", "theirs"):
        owner = await catalogue.create(tx, Organisation(name=name))
        await catalogue.create(tx, Workflow(name="sales", organisation=owner, workflow_type=kind))


def books(owner: int = OURS, address: str = SECRET, name: str = "books") -> Dataset:
    kind, workflow = DatasetType(id=1), Workflow(id=owner)
    return Dataset(name=name, service="s", address=address, workflow=workflow, dataset_type=kind)


def told_address(json: str | None) -> str | None:
    return msgspec.json.decode(json).get("address") if json else None


def addresses(found: list[Dataset]) -> list[tuple[int, object]]:
    return [(dataset.id, dataset.address) for dataset in found]


def test_an_address_is_kept_sealed_and_read_by_those_who_may(run: Run, rows: Run) -> None:
    made = run(datasets.create, books())

    assert made.address == SECRET
    [(_, kept, digest)] = rows(DATASETS)
    assert kept.startswith("sealed:first:")
    assert digest == RING.fingerprint(SECRET)
    assert RING.unseal(kept, "datasets.address:1") == SECRET
    for by in (TRUSTED, READER):
        assert run(datasets.fetch, Dataset, 1, by=by).address == SECRET
        assert addresses(run(datasets.listed, Dataset, 10, by=by)) == [(1, SECRET)]


def test_for_all_others_an_address_is_absent_from_every_answer(run: Run) -> None:
    run(datasets.create, books(), by=TRUSTED)
    of_theirs = account(("maintainer", None), ("address:read", THEIRS), ("address:write", None))
    for by in (MAINTAINER, WRITER, of_theirs):
        answers = [
            run(datasets.fetch, Dataset, 1, by=by),
            *run(datasets.listed, Dataset, 10, by=by),
            run(datasets.change, Dataset(id=1, service=f"s{id(by)}"), by=by),
            run(datasets.change, Dataset(id=1), by=by),
        ]
        assert [answer.address for answer in answers] == [UNSET] * 4
        assert b"address" not in msgspec.json.encode(answers)


def test_who_sets_an_address_need_not_be_able_to_read_it(run: Run) -> None:
    assert run(datasets.create, books(), by=WRITER).address is UNSET
    assert run(datasets.change, Dataset(id=1, address=OTHER), by=WRITER).address is UNSET

    assert run(datasets.fetch, Dataset, 1).address == OTHER


@pytest.mark.parametrize("by", [MAINTAINER, READER, account(("maintainer", None), ("address:write", THEIRS))])
def test_who_may_not_set_an_address_changes_nothing(run: Run, rows: Run, by: Caller) -> None:
    with pytest.raises(Forbidden, match="address:write in organisation 1") as raised:
        run(datasets.create, books(), by=by)
    assert rows(DATASETS) == []
    assert SECRET not in str(raised.value)

    made = run(datasets.create, books())
    for address in (SECRET, OTHER):  # two answers would tell a right guess from a wrong one
        with pytest.raises(Forbidden, match="address:write in organisation 1"):
            run(datasets.change, Dataset(id=made.id, address=address, name="else"), by=by)
    assert run(datasets.fetch, Dataset, made.id) == made


def test_what_is_given_as_it_is_changes_nothing(run: Run, rows: Run) -> None:
    run(datasets.create, books())
    before = rows(DATASETS)

    assert run(datasets.change, Dataset(id=1, address=SECRET), by=WRITER).version == 1
    assert rows(DATASETS) == before
    assert run(datasets.change, Dataset(id=1, address=OTHER)).version == 2
    assert run(datasets.change, Dataset(id=1, service="t", address=OTHER)).version == 3


def test_datasets_are_found_by_their_address(run: Run) -> None:
    run(datasets.create, books())
    run(datasets.create, books(THEIRS))
    run(datasets.create, books(name="b", address=OTHER))

    def found(by: Caller = TRUSTED, ring: KeyRing = RING, **asked: Any) -> list[int]:
        wanted = {"address": SECRET, **asked}
        return [one.id for one in run(datasets.listed, Dataset, 10, 0, wanted, by=by, ring=ring)]

    assert found() == [1, 2]
    assert found(ring=ROTATED) == [1, 2]
    assert found(workflow_id=THEIRS) == [2]
    assert found(address=OTHER) == [3]
    assert found(address="nowhere") == []
    assert found(address=RING.fingerprint(SECRET)) == []
    assert found(by=READER) == [1]
    assert found(by=account(("reader", THEIRS), ("address:read", OURS))) == []
    run(datasets.change, Dataset(id=1, address=OTHER), ring=ROTATED)
    assert found(ring=ROTATED) == [2]
    assert found(ring=ROTATED, address=OTHER) == [1, 3]


@pytest.mark.parametrize("by", [MAINTAINER, WRITER])
def test_who_may_read_no_address_cannot_ask_for_one(run: Run, by: Caller) -> None:
    run(datasets.create, books())

    with pytest.raises(Forbidden, match="address:read in any organisation") as raised:
        run(datasets.listed, Dataset, 10, 0, {"address": SECRET}, by=by)

    assert SECRET not in str(raised.value)


def test_what_a_server_of_before_wrote_is_read_found_and_changed(run: Run, rows: Run) -> None:
    run(datasets.create, books())
    run(datasets.create, books(THEIRS))
    rows(f"UPDATE datasets SET address = '{OTHER}', address_digest = NULL WHERE id = 1")
    rows(f"UPDATE datasets SET address = '{OTHER}' WHERE id = 2")  # it knows of no digest, and leaves it

    assert [run(datasets.fetch, Dataset, id).address for id in (1, 2)] == [OTHER, OTHER]
    assert [found.id for found in run(datasets.listed, Dataset, 10, 0, {"address": OTHER})] == [1]
    assert run(datasets.listed, Dataset, 10, 0, {"address": SECRET}) == []
    assert run(datasets.change, Dataset(id=1, address=OTHER)).version == 1
    assert run(datasets.change, Dataset(id=1, address=SECRET)).address == SECRET
    assert rows(DATASETS)[0][1].startswith("sealed:first:")


def test_an_address_that_was_moved_to_another_dataset_is_not_read(run: Run, rows: Run) -> None:
    run(datasets.create, books())
    run(datasets.create, books(THEIRS, OTHER))
    rows("UPDATE datasets SET address = (SELECT address FROM datasets WHERE id = 2) WHERE id = 1")

    with pytest.raises(ObservatoryError, match=r"datasets\.address:1 does not hold") as raised:
        run(datasets.fetch, Dataset, 1)

    assert OTHER not in str(raised.value)


def test_the_journal_has_fingerprints_only(run: Run, rows: Run) -> None:
    run(datasets.create, books())
    run(datasets.change, Dataset(id=1, address=OTHER))
    run(datasets.change, Dataset(id=1, service="t"), by=MAINTAINER)
    run(datasets.remove, Dataset, 1, by=MAINTAINER)

    entries = rows(JOURNAL)
    assert SECRET not in str(entries)
    assert OTHER not in str(entries)
    assert "sealed:" not in str(entries)
    told = [(action, told_address(before), told_address(after)) for action, before, after in entries]
    one, other = RING.fingerprint(SECRET), RING.fingerprint(OTHER)
    assert told == [
        ("create", None, one),
        ("change", one, other),
        ("change", None, other),
        ("delete", other, None),
    ]


def test_without_its_key_an_address_is_told_anew(run: Run) -> None:
    run(datasets.create, books())

    with pytest.raises(ObservatoryError, match="the key first, which is not in the ring") as raised:
        run(datasets.fetch, Dataset, 1, ring=LOST)
    assert SECRET not in str(raised.value)
    assert run(datasets.fetch, Dataset, 1, by=MAINTAINER, ring=LOST).name == "books"
    assert run(datasets.change, Dataset(id=1, service="t"), by=MAINTAINER, ring=LOST).service == "t"

    assert run(datasets.change, Dataset(id=1, address=SECRET), ring=LOST).address == SECRET
    assert run(datasets.fetch, Dataset, 1, ring=LOST).address == SECRET


def test_a_dataset_takes_its_address_along_only_for_who_may_read_and_set_it(run: Run) -> None:
    run(datasets.create, books())
    moved = Dataset(id=1, workflow=Workflow(id=THEIRS))
    reader_there = account(("maintainer", None), ("address:read", THEIRS))
    for by in (MAINTAINER, reader_there, READER, WRITER):
        with pytest.raises(Forbidden, match="address:"):
            run(datasets.change, moved, by=by)
        with pytest.raises(Forbidden, match="address:"):
            run(catalogue.change, Workflow(id=OURS, organisation=Organisation(id=THEIRS), name="w"), by=by)

    by = account(("maintainer", None), ("address:read", OURS), ("address:write", THEIRS))
    assert run(datasets.change, moved, by=by).workflow.id == THEIRS


def test_another_organisations_dataset_does_not_exist(run: Run) -> None:
    run(datasets.create, books())
    by = account(("maintainer", THEIRS), ("address:read", None), ("address:write", None))
    for work, *args in (
        (datasets.fetch, Dataset, 1),
        (datasets.change, Dataset(id=1, address=OTHER)),
        (datasets.remove, Dataset, 1),
        (datasets.create, books()),
    ):
        with pytest.raises(NotFound):
            run(work, *args, by=by)
    assert run(datasets.listed, Dataset, 10, 0, {"address": SECRET}, by=by) == []


def test_nothing_on_the_disk_has_the_address(run: Run, rows: Run, database_url: str) -> None:
    run(datasets.create, books(address="bigquery.nowhere.written"))
    run(datasets.change, Dataset(id=1, address="bigquery.nowhere.changed"))
    if database_url.startswith("sqlite"):
        book = Path(database_url.removeprefix("sqlite:///"))
        files = [*book.parent.iterdir()]
    else:
        rows("CHECKPOINT")
        [(folder, table)] = rows("SELECT current_setting('data_directory'), pg_relation_filepath('datasets')")
        files = [Path(folder, table), *(file for file in Path(folder, "pg_wal").iterdir() if file.is_file())]

    assert any(b"sealed:first:" in file.read_bytes() for file in files)
    assert [file for file in files if b"bigquery.nowhere" in file.read_bytes()] == []
