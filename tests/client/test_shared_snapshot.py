"""Snapshots that processes of one machine and workers of many share."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from observatory import Dataset, ObservatoryApi, Unavailable
from observatory.client.kept import unpacked

from ..s3 import serving_bucket
from .reading import OPENED, WRONG, Around, read_as, said, serving
from .test_snapshot import book, heard, key_of

RACING = """
import sys
from pathlib import Path
from {package} import Around, read_as
url, key, home, number = sys.argv[1:]
for _ in range(8):
    assert len(read_as(url, Around(Path(home)), key, seconds=20).get_organisations()) == 1
"""


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def test_eight_processes_leave_one_whole_snapshot(
    api: ObservatoryApi, dataset: Dataset, server_url: str, tmp_path: Path
) -> None:
    here = Path(__file__).parent
    text = RACING.replace("{package}", "reading")
    key, home = key_of(api), tmp_path / "home"
    command = [sys.executable, "-c", text, server_url, key, str(home)]
    environ = {**os.environ, "PYTHONPATH": str(here)}
    racing = [subprocess.Popen([*command, str(i)], env=environ) for i in range(8)]
    seen = 0
    while any(one.poll() is None for one in racing):
        for file in (home / "observatory").glob("*.catalogue"):
            assert unpacked(file.read_bytes()).body
            seen += 1
        time.sleep(0.01)

    assert [one.returncode for one in racing] == [0] * 8
    assert seen > 1
    assert len(list((home / "observatory").iterdir())) == 1


@pytest.fixture(params=["memory", "file", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that workers share."""
    if request.param == "s3":
        bucket: str = request.getfixturevalue("s3")
        return f"{bucket}/snapshots"
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/shared"


@pytest.fixture
def s3() -> Iterator[str]:
    with serving_bucket("books") as bucket:
        yield bucket


def test_a_worker_without_a_snapshot_begins_with_the_shared_one(shared: str, tmp_path: Path) -> None:
    told = [said(200, book(3))]
    one, other, third = (Around(tmp_path / name) for name in ("one", "other", "third"))
    with serving(lambda handler: told[0](handler)) as (url, _):
        assert len(read_as(url, one, snapshots=shared, seconds=20).get_organisations()) == 3
        told[0] = WRONG["500"]
        assert len(read_as(url, other, snapshots=shared, seconds=20).get_organisations()) == 3
        assert other.told
        assert len(list((one.home() / "observatory").glob("*.catalogue"))) == 1  # a copy beside it
        # An empty book does not replace it either, as a machine without a copy sees it.
        told[0] = said(200, book(0))
        assert len(read_as(url, third, snapshots=shared, seconds=20).get_organisations()) == 3
        told[0] = said(200, book(4, position=11))
        assert len(read_as(url, one, snapshots=shared, seconds=20).get_organisations()) == 4
        told[0] = WRONG["500"]
        assert len(read_as(url, other, snapshots=shared, seconds=20).get_organisations()) == 4


def test_a_shared_place_that_fails_costs_a_warning_and_no_dag(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(said(200, book(3))) as (url, _):
        for place in "nothing://here", f"file://{tmp_path}/a file/below":
            (tmp_path / "a file").write_text("")
            around = Around(tmp_path / f"without {place[:4]}")
            assert len(read_as(url, around, snapshots=place).get_organisations()) == 3
            [warning] = [one for one in caplog.messages if "shared" in one]
            assert place.partition(":")[0] in warning
            caplog.clear()
    with pytest.raises(Unavailable, match="nothing://here"):
        read_as("http://127.0.0.1:9", Around(tmp_path / "new"), snapshots="nothing://here").get_workflows()


def test_a_home_that_cannot_be_written_costs_no_dag_where_a_snapshot_is_shared(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    with serving(said(200, book(3))) as (url, _):
        seen = read_as(url, Around(tmp_path / "home"), snapshots=f"file://{tmp_path}/shared", seconds=20)
        assert len(seen.get_organisations()) == 3
    assert len(list((tmp_path / "shared").glob("*.catalogue"))) == 1


def test_a_hanging_service_leaves_time_for_the_shared_snapshot(tmp_path: Path) -> None:
    place = f"file://{tmp_path}/shared"
    told = [said(200, book(3))]
    with serving(lambda handler: told[0](handler)) as (url, _):
        assert len(read_as(url, Around(tmp_path / "one"), snapshots=place).get_organisations()) == 3
        told[0] = WRONG["hanging"]
        began = time.monotonic()
        new = read_as(url, Around(tmp_path / "new"), snapshots=place, seconds=2)
        assert len(new.get_organisations()) == 3
        assert time.monotonic() - began < 2
    assert heard(Around(tmp_path / "one"), url) == 3
