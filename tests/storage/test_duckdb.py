"""What only DuckDB does: one process at a time has the file."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import duckdb
import pytest

from observatory.errors import Unavailable
from observatory.storage.duckdb import DuckDB

ADDRESS = "warehouse.duckdb:codes"
ROWS = [{"code": "000"}]


@contextmanager
def another_process(path: Path, seconds: float) -> Iterator[None]:
    program = f"""
        import duckdb, time
        with duckdb.connect({str(path)!r}):
            print("open", flush=True)
            time.sleep({seconds})
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
        holder.kill()


def test_a_load_waits_for_another_process_to_be_done(tmp_path: Path) -> None:
    with another_process(tmp_path / "warehouse.duckdb", seconds=0.5):
        assert DuckDB(tmp_path).load(ADDRESS, ROWS).row_count == 1


def test_a_load_waits_for_another_part_of_this_process_to_let_go_of_the_file(tmp_path: Path) -> None:
    DuckDB(tmp_path).load(ADDRESS, ROWS)
    holder = duckdb.connect()
    holder.execute(f"ATTACH '{tmp_path / 'warehouse.duckdb'}' AS other")
    letting_go = Timer(0.3, holder.execute, ["DETACH other"])
    letting_go.start()
    assert DuckDB(tmp_path).load(ADDRESS, ROWS).row_count == 1
    letting_go.join()


def test_waiting_has_an_end_that_names_the_file_and_who_has_it(tmp_path: Path) -> None:
    with (
        another_process(tmp_path / "warehouse.duckdb", seconds=30),
        pytest.raises(Unavailable, match=r"warehouse.duckdb is in use by others for 0.3 s.*PID \d+"),
    ):
        DuckDB(tmp_path, patience=0.3).load(ADDRESS, ROWS)


def test_a_file_that_is_no_database_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "warehouse.duckdb").write_text("no database" * 1000)
    with pytest.raises(duckdb.IOException, match="not a valid DuckDB database"):
        DuckDB(tmp_path).load(ADDRESS, ROWS)


def test_the_digest_of_times_does_not_depend_on_the_zone_of_the_machine(tmp_path: Path) -> None:
    program = f"""
        from datetime import UTC, datetime
        from pathlib import Path
        from observatory.storage import open_storage
        storage = open_storage("duckdb", Path({str(tmp_path)!r}))
        print(storage.load({ADDRESS!r}, [{{"at": datetime(2026, 10, 7, tzinfo=UTC)}}]).digest)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    digests = {
        subprocess.check_output(command, env={**os.environ, "TZ": zone})
        for zone in ("UTC", "Australia/Perth")
    }
    assert len(digests) == 1
