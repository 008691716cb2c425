"""The catalogue is published with the DAG files, and a worker without anything else begins with it."""

import json
import stat
from pathlib import Path

import pytest

from observatory import Dataset, ObservatoryApi, Organisation, Unavailable
from observatory.client.published import Published, load
from observatory.client.snapshot import Reading
from observatory.records import is_given

from .conftest import Type


class Worker:
    """A machine that has the DAG files and nothing else."""

    def __init__(self, dags: Path, home: Path) -> None:
        self._dags, self._home = dags, home
        self.ages: list[float] = []

    def is_reading(self) -> bool:
        return True

    def starts_task(self) -> bool:
        return False

    def home(self) -> Path:
        return self._home

    def folders(self) -> list[Path]:
        return [self._home, self._dags]

    def tell(self, age: float) -> None:
        self.ages.append(age)


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    return tmp_path / "dags"


def test_a_new_worker_begins_with_what_was_published(
    observatory: Type,
    api: ObservatoryApi,
    dataset: Dataset,
    dags: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = "http://127.0.0.1:9"
    said = observatory("snapshot", str(dags), "--for", away)
    file = dags / Published.FILE
    assert (said.code, said.err) == (0, f"{file}: 1 organisations, 1 workflows, 1 datasets\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644

    worker = Worker(dags, tmp_path / "home")
    with ObservatoryApi(away, reading=Reading(worker, away, None, seconds=5)) as seen:
        [found] = seen.get_datasets(organisation_id=1)
        assert (found.name, found.workflow.organisation.name) == ("books", "Curtin Press")
        assert not is_given(found.address)
    assert "stands in" in caplog.text
    assert 0 <= worker.ages[0] < 60
    # It is of no other service.
    other = "http://127.0.0.1:10"
    with (
        ObservatoryApi(other, reading=Reading(worker, other, None, seconds=5)) as seen,
        pytest.raises(Unavailable, match=r"no observatory-catalogue\.json beside"),
    ):
        seen.get_datasets()


def test_addresses_are_published_when_that_is_typed(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, dags: Path
) -> None:
    observatory("snapshot", str(dags))
    assert dataset.address not in (dags / Published.FILE).read_text()
    observatory("snapshot", str(dags), "--addresses")
    assert dataset.address in (dags / Published.FILE).read_text()
    assert observatory("snapshot", "--check", str(dags)).code == 0
    api.put_dataset(Dataset(id=dataset.id, address="moved"))
    assert observatory("snapshot", "--check", str(dags)).code == 1


def test_what_is_behind_the_book_is_found_by_a_check(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, dags: Path
) -> None:
    assert observatory("snapshot", "--check", str(dags)).code == 1
    assert observatory("snapshot", str(dags)).code == 0
    assert observatory("snapshot", "--check", str(dags)).code == 0
    new = api.post_organisation(Organisation(name="new"))
    said = observatory("snapshot", "--check", str(dags))
    assert (said.code, "is not what the book says now" in said.err) == (1, True)
    api.delete_organisation(new.id)
    assert observatory("snapshot", "--check", str(dags)).code == 0


def test_another_book_and_a_spoilt_file_are_named(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, dags: Path
) -> None:
    file = dags / Published.FILE
    observatory("snapshot", str(dags))
    told = json.loads(file.read_text())
    told["contents"]["book"] = "another"
    file.write_text(json.dumps(told))
    said = observatory("snapshot", str(dags))
    assert (said.code, "is of another book" in said.err) == (1, True)
    file.write_text("{")
    assert "cannot be read" in observatory("snapshot", str(dags)).err
    file.unlink()
    assert observatory("snapshot", str(dags)).code == 0
    published = load(file)
    assert published
    assert len(published.contents.datasets) == 1
    assert observatory("snapshot", str(dags / "nowhere")).code == 2
