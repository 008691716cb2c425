"""A full disk refuses what is to be written and nothing else, and costs nothing that was answered."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi, Organisation
from observatory.access import operator
from observatory.errors import Full
from observatory.ledger import catalogue, open_database, upgrade
from observatory.ledger.soundness import check

from ..conftest import installed_postgresql
from .conftest import Served
from .test_crashes import furnished

DAY_0 = datetime(1900, 1, 1, tzinfo=UTC)
SIZE = 100  # releases in a batch
BALLAST = 6 << 20
SMALL = 16 << 20  # more than the log of SQLite grows to, and the same again


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of its own with room for a small book."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = Path(tempfile.mkdtemp(prefix="observatory-disk-"))
    place.chmod(0o755)  # PostgreSQL runs as another user
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "observatory-test", place],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        place.rmdir()
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    # Lazily, since a server that a failing test leaves ends only after this.
    subprocess.run(["umount", "--lazy", place], check=True)
    place.rmdir()


def releases(dataset: Dataset, first: int, number: int) -> list[DatasetRelease]:
    return [
        DatasetRelease(
            dataset=dataset,
            start_date=DAY_0 + timedelta(hours=i),
            end_date=DAY_0 + timedelta(hours=i + 1),
            extras={"n": "x" * 40},
        )
        for i in range(first, first + number)
    ]


def record_until_full(url: str, dataset: Dataset, size: int) -> tuple[set[datetime], Full]:
    """Records until there is no room, and returns what was answered and the refusal."""
    recorded: set[datetime] = set()
    with ObservatoryApi(url) as api:
        api._transport._attempts = 1
        for number in range(0, 100_000, size):
            told = releases(dataset, number, size)
            try:
                if size == 1:
                    api.post_dataset_release(told[0])
                else:
                    api.post_dataset_releases(told)
            except Full as error:
                return recorded, error
            recorded |= {release.start_date for release in told}
    raise AssertionError("there is always room")


def starts(api: ObservatoryApi, dataset: Dataset) -> set[datetime]:
    return {release.start_date for release in api.get_dataset_releases(dataset_id=dataset.id)}


def test_a_full_disk_answers_507_and_a_server_goes_on_once_there_is_room(
    disk: Path, served: Callable[..., Served]
) -> None:
    url = f"sqlite:///{disk}/book.db"
    server = served(url)
    with ObservatoryApi(server.url) as api:
        singles, batches, third = datasets = furnished(api, 3)
        (disk / "ballast").write_bytes(bytes(BALLAST))
        before = api.get_dataset(singles.id)

        with ThreadPoolExecutor(2) as pool:
            some = pool.submit(record_until_full, server.url, singles, 1)
            many = pool.submit(record_until_full, server.url, batches, SIZE)
        there, refused = some.result()
        told, others = many.result()

        for error in (refused, others):
            assert error.answered == 507
            assert (
                error.detail == "the disk of the database is full; nothing was changed, and reading goes on"
            )
        api._transport._attempts = 1
        with pytest.raises(Full):
            api.post_dataset_releases(releases(third, 0, 2000))
        # Reading goes on, and finds what was answered and nothing else.
        assert api.get_dataset(singles.id) == before
        assert starts(api, singles) == there
        assert starts(api, batches) == told
        assert starts(api, third) == set()
        assert api.get_coverage(batches.id).runs[0].end_date == max(told) + timedelta(hours=1)
        pid = server.pid

        (disk / "ballast").unlink()

        assert server.pid == pid
        api.post_dataset_releases(releases(third, 0, SIZE))
        api.post_dataset_release(releases(singles, 90_000, 1)[0])
        assert len(starts(api, third)) == SIZE
        assert starts(api, singles) - there == {DAY_0 + timedelta(hours=90_000)}
    server.stop()
    report = check(url)
    assert report.is_sound, dict(report.told)
    assert report.rows["dataset_releases"] == len(there) + len(told) + SIZE + 1
    assert len(datasets) == report.rows["datasets"]
    # Each release has its entry, and there is none without a release.
    assert report.rows["journal"] >= report.rows["dataset_releases"]


def test_a_full_disk_of_postgresql_is_told_as_such(disk: Path, postgresql: str) -> None:
    if installed_postgresql() is None:
        pytest.skip("the PostgreSQL of the tests runs as another user, who cannot use the small file system")
    shutil.chown(disk, "postgres", "postgres")
    name = f"small_{uuid4().hex}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = urlsplit(postgresql)._replace(path=f"/{name}").geturl()
    try:
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE organisations SET TABLESPACE {name}".encode())
        asyncio.run(fill_postgresql(url))
    finally:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            connection.execute(f"DROP TABLESPACE {name}".encode())


async def fill_postgresql(url: str) -> None:
    """Creates organisations until there is no room for one, and then goes on with what needs none."""
    database = open_database(url)
    by = operator()
    async with database.running():
        created = 0
        while True:
            # What does not compress: PostgreSQL would keep it in a page.
            organisation = Organisation(name=f"o{created}", extras={"a": os.urandom(30_000).hex()})
            try:
                await database.write(by, catalogue.create, organisation)
            except Full:
                break
            created += 1
        assert created > 5
        listed = await database.read(operator("read"), catalogue.listed, Organisation, 1000)
        assert len(listed) == created
        await database.write(by, catalogue.remove, Organisation, listed[0].id)
        assert len(await database.read(operator("read"), catalogue.listed, Organisation, 1000)) == created - 1
