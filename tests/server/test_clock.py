"""What changes by time alone is written down by a clock in each server: once, whatever else is broken."""

import logging
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from observatory import Cadence, Dataset, DatasetRelease, ObservatoryApi
from observatory.server import clock
from observatory.settings import Settings

from .test_crashes import furnished

DAY = timedelta(1)
Execute = Callable[[str], None]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets clocks tick so often that those of two servers are at the same datasets at once."""
    monkeypatch.setattr(clock, "EVERY", 0.02)


@pytest.fixture
def execute(database_url: str) -> Execute:
    """Changes a book behind the back of its servers."""

    def run(text: str) -> None:
        if database_url.startswith("sqlite"):
            connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=10)
            with connection:
                connection.execute(text)
            connection.close()
            return
        with psycopg.connect(database_url) as connected:
            connected.execute(text.encode())

    return run


def late_in(seconds: float) -> Cadence:
    """Returns a cadence by which the period of yesterday becomes late in so many seconds."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    grace = round((now - midnight).total_seconds() + seconds)
    return Cadence("0 0 * * *", midnight - DAY, expected_until=midnight, grace=grace)


def yesterday(dataset: Dataset, cadence: Cadence) -> DatasetRelease:
    start = cadence.expected_from
    return DatasetRelease(dataset=dataset, start_date=start, end_date=start + DAY)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def changes(api: ObservatoryApi) -> list[tuple[int, bool]]:
    """Returns the entries about the status of datasets: of which, and whether it is late from then on."""
    told = [(entry.record_id, entry.after) for entry in api.get_journal(kind="DatasetStatus")]
    return sorted((id, after is not None and after["status"] == "late") for id, after in told)


def test_that_a_dataset_is_late_and_has_recovered_is_told_once_however_many_servers_look(
    serve: Callable[[Settings], str], database_url: str
) -> None:
    urls = [serve(Settings(database_url=database_url)) for _ in range(2)]
    with ObservatoryApi(urls[0]) as api, ObservatoryApi(urls[1]) as other:
        datasets = furnished(api, 10)
        cadence = late_in(1)
        for dataset in datasets:
            api.put_dataset(Dataset(id=dataset.id, cadence=cadence))
        wait_until(lambda: len(other.get_statuses(status="late")) == 10)
        time.sleep(0.2)  # in which each clock ticks some more times
        assert changes(api) == [(dataset.id, True) for dataset in datasets]
        for number, dataset in enumerate(datasets):
            (api if number % 2 else other).post_dataset_release(yesterday(dataset, cadence))
        time.sleep(0.2)
        assert other.get_statuses(status="late") == []
        assert changes(api) == [(dataset.id, late) for dataset in datasets for late in (False, True)]


def test_a_dataset_that_cannot_be_looked_at_is_logged_and_holds_up_no_other(
    api: ObservatoryApi,
    execute: Execute,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, whole = furnished(api, 2)
    monkeypatch.setattr(clock, "AT_ONCE", 1)
    with caplog.at_level(logging.ERROR, "observatory.server.clock"):
        api.put_dataset(Dataset(id=broken.id, cadence=late_in(60)))
        long_ago = "'2020-01-01T00:00:00.000000+00:00'"
        execute(f"""UPDATE datasets SET cadence = '{{"cron": 7}}' WHERE id = {broken.id}""")
        execute(f"UPDATE holdings SET horizon = {long_ago}, next_look = {long_ago}")
        wait_until(lambda: bool(caplog.records))
        api.put_dataset(Dataset(id=whole.id, cadence=late_in(1)))
        wait_until(lambda: [one.dataset.id for one in api.get_statuses(status="late")] == [whole.id])
    # It is left for a while: told again at each tick, it would hide all else that is told.
    [told] = caplog.records
    assert f"dataset {broken.id} cannot be looked at" in told.getMessage()
    assert changes(api) == [(whole.id, True)]
