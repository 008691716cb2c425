"""Migrations: up, down and up again with data, by several at once, wholly or not at all."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from observatory import (
    Dataset,
    DatasetRelease,
    DatasetType,
    ObservatoryApi,
    Organisation,
    Workflow,
    WorkflowType,
)
from observatory.ledger import upgrade
from observatory.ledger.tables import metadata
from observatory.ledger.upgrade import _config, downgrade
from observatory.settings import Settings

Serve = Callable[[Settings], str]
DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)
ANEW = {"accounts", "keys", "journal", "seals", "replies"}  # which the first version had not
# Indexes that the other kind of database has alone.
OTHERS = {"sqlite": {"ix_workflows_tags", "ix_datasets_inputs"}, "postgresql": {"ix_datasets_with_inputs"}}
UPGRADE = """
import sys
from observatory.ledger import upgrade
upgrade(sys.argv[1])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    make: Callable[[], str] = request.getfixturevalue("new_database")
    return make()


def engine_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def differences(url: str) -> list[object]:
    """Returns how the schema differs from the tables of the code."""
    engine = create_engine(engine_url(url))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            with warnings.catch_warnings():
                # The one on tags is PostgreSQL's only, and Alembic wonders where it is on SQLite.
                warnings.filterwarnings("ignore", message=".*'ix_workflows_tags'")
                found = list(compare_metadata(context, metadata))
            others = OTHERS[url.partition(":")[0]]
            return [one for one in found if one[0] != "add_index" or one[1].name not in others]
    finally:
        engine.dispose()


def tables(url: str) -> set[str]:
    engine = create_engine(engine_url(url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_the_migrations_make_the_tables_of_the_code(empty_url: str) -> None:
    upgrade(empty_url)

    assert differences(empty_url) == []
    assert tables(empty_url) == {*metadata.tables, "alembic_version"}


def test_constraints_and_indexes_are_named_as_in_the_code(empty_url: str) -> None:
    upgrade(empty_url)
    engine = create_engine(engine_url(empty_url))
    try:
        found = inspect(engine)
        for table in metadata.sorted_tables:
            names = {str(one["name"]) for one in found.get_indexes(table.name)}
            names |= {str(one["name"]) for one in found.get_unique_constraints(table.name)}
            told = {str(index.name) for index in table.indexes}
            told -= OTHERS[empty_url.partition(":")[0]]
            assert told <= names, table.name
            keys = {str(key["name"]) for key in found.get_foreign_keys(table.name)}
            assert keys == {str(key.constraint.name) for key in table.foreign_keys if key.constraint}
    finally:
        engine.dispose()


def test_a_book_goes_down_and_up_again_as_far_as_the_version_before(empty_url: str, serve: Serve) -> None:
    upgrade(empty_url)
    scripts = ScriptDirectory.from_config(_config())
    versions = [script.revision for script in scripts.walk_revisions()]
    dataset = fill(serve(Settings(database_url=empty_url)))
    before = rows(empty_url)

    for version in versions[1:]:
        downgrade(empty_url, version)
    upgrade(empty_url)

    assert differences(empty_url) == []
    if len(versions) > 1:
        # What the version before had no place for is gone, but never a record.
        after = rows(empty_url)
        kept = before.keys() - ANEW
        assert {name: len(after[name]) for name in kept} == {name: len(before[name]) for name in kept}
    with ObservatoryApi(serve(Settings(database_url=empty_url))) as api:
        assert api.get_dataset(dataset.id).name == dataset.name
        assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 30


def test_the_way_down_removes_all_and_the_way_up_begins_anew(empty_url: str, serve: Serve) -> None:
    upgrade(empty_url)
    fill(serve(Settings(database_url=empty_url)))

    downgrade(empty_url, "base")
    assert tables(empty_url) <= {"alembic_version", "sqlite_sequence"}

    upgrade(empty_url)
    assert differences(empty_url) == []
    with ObservatoryApi(serve(Settings(database_url=empty_url))) as api:
        assert [kind.type_id for kind in api.get_table_types()] == ["regular", "sharded", "partitioned"]
        assert api.get_organisations() == []


def test_to_upgrade_again_changes_nothing(empty_url: str, serve: Serve) -> None:
    upgrade(empty_url)
    fill(serve(Settings(database_url=empty_url)))
    before = rows(empty_url)

    upgrade(empty_url)

    assert rows(empty_url) == before


def test_several_may_upgrade_at_once(empty_url: str) -> None:
    command = [sys.executable, "-c", UPGRADE, empty_url]

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))

    assert [one.stderr for one in done if one.returncode] == []
    assert differences(empty_url) == []
    assert len(rows(empty_url)["table_types"]) == 3


def test_a_migration_that_fails_leaves_nothing_behind(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last thing a migration does is to note its version.
    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        upgrade(empty_url)
    monkeypatch.undo()

    assert tables(empty_url) <= {"alembic_version"}
    upgrade(empty_url)
    assert differences(empty_url) == []


def fail(*_: object) -> None:
    raise RuntimeError("on purpose")


def fill(url: str) -> Dataset:
    """Puts a dataset and its releases into a book."""
    with ObservatoryApi(url) as api:
        dataset = furnish(api)
        for number in range(30):
            at = DAY_0 + timedelta(2 * number)
            api.post_dataset_release(
                DatasetRelease(
                    dataset=dataset, start_date=at, end_date=at + timedelta(number % 3), extras={"n": 1}
                )
            )
        return dataset


def furnish(api: ObservatoryApi) -> Dataset:
    workflow = api.post_workflow(
        Workflow(
            name="w",
            organisation=api.post_organisation(Organisation(name="o")),
            workflow_type=api.post_workflow_type(WorkflowType(type_id="t", name="t")),
            tags=["a", "b"],  # type: ignore[arg-type] # a list works, though its type does not say so
        )
    )
    kind = api.post_dataset_type(
        DatasetType(type_id="t", name="t", table_type=api.get_table_type(type_id="partitioned"))
    )
    return api.post_dataset(Dataset(name="d", service="s", address="a", workflow=workflow, dataset_type=kind))


def rows(url: str) -> dict[str, list[object]]:
    engine = create_engine(engine_url(url))
    try:
        with engine.connect() as connection:
            asked = {table.name: f"SELECT * FROM {table.name} ORDER BY 1" for table in metadata.sorted_tables}
            return {name: list(connection.exec_driver_sql(text)) for name, text in asked.items()}
    finally:
        engine.dispose()
