"""Sensors that wait: how often 200 of them ask the book, and how soon they fire after a release is recorded.

The triggers are real, in one event loop as in a triggerer, at a real server behind a front that counts.
What Airflow adds, a second or two until it has stored an event and until a worker goes on, is not in it.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from observatory import Dataset, DatasetRelease
from tests.airflow.book import Book, add_partner
from tests.airflow.proxy import Mode

from .report import Claim, Report, table

if TYPE_CHECKING:
    from observatory.airflow.triggers import SettledTrigger

SENSORS = 200
SECONDS = 20.0  # of each of the phases in which they only wait
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)

# What we claim, at most: requests a second of all of them, and seconds until one fires.
REQUESTS, FIRING = 5, 10

# What the front does while they wait, and how it is told.
PHASES: dict[str, Mode] = {"waiting": "pass", "the book answers 500": "500", "waiting again": "pass"}
RECORDING = "releases are recorded, one after the other"


class Waited(NamedTuple):
    """Requests a second in each phase; seconds from recording to firing; how long the loop was held up."""

    rates: dict[str, float]
    fired: list[float]
    held_up: float


def measure(folder: Path) -> Waited:
    """Fills a book of its own in SQLite, and lets the sensors wait at it."""
    folder.mkdir()
    airflow = {"AIRFLOW_HOME": str(folder), "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
    with Book(folder) as book, _environment({**book.environment, **airflow}):
        datasets = [add_partner(book.api, f"Partner {number}") for number in range(SENSORS)]
        return asyncio.run(_wait(book, datasets))


def tell(report: Report, waited: Waited) -> None:
    """Tells what waiting costs the book, and how soon it ends."""
    rows = [[phase, f"{rate:.2f}"] for phase, rate in waited.rates.items()]
    middle, longest = statistics.median(waited.fired), max(waited.fired)
    report.tables.append(
        f"### {SENSORS} sensors that wait in one triggerer\n\n{table('while|requests a second', rows)}\n"
        f"From recording to firing: {middle:.2f} s at the median, {longest:.2f} s at most. The event loop "
        f"was held up for {1000 * waited.held_up:.0f} ms at most.\n"
    )
    what, most = f"{SENSORS} sensors", max(waited.rates.values())
    said = f"{waited.rates['waiting']:.2f} requests a second, {most:.2f} at most"
    report.claims.append(Claim(f"{what} waiting", said, f"under {REQUESTS}", most < REQUESTS))
    said = f"{longest:.2f} s after the recording at most"
    report.claims.append(Claim(f"{what} firing", said, f"within {FIRING} s", longest < FIRING))


async def _wait(book: Book, datasets: list[Dataset]) -> Waited:
    # Here, because Airflow is set up by the environment when it is first imported.
    from observatory.airflow.triggers import SettledTrigger

    after, longest = book.api.get_cursor(), [0.0]
    watchdog = asyncio.create_task(_lag(longest))
    key = f"{JANUARY:%Y-%m-%d}/{JANUARY + DAY:%Y-%m-%d}"
    waiting = [asyncio.create_task(_fired(SettledTrigger(one.id, [key], None, after))) for one in datasets]
    rates = {}
    for phase, mode in PHASES.items():
        book.front.be(mode)
        before = book.front.requests
        await asyncio.sleep(SECONDS)
        rates[phase] = (book.front.requests - before) / SECONDS
    before, begun, recorded = book.front.requests, time.monotonic(), []
    for one in datasets:
        release = DatasetRelease(dataset=one, start_date=JANUARY, end_date=JANUARY + DAY)
        # Past the front, which counts what the sensors ask.
        await asyncio.to_thread(book.api.post_dataset_release, release)
        recorded.append(time.monotonic())
    took = [at - then for at, then in zip(await asyncio.gather(*waiting), recorded, strict=True)]
    rates[RECORDING] = (book.front.requests - before) / (time.monotonic() - begun)
    watchdog.cancel()
    return Waited(rates, took, longest[0])


async def _fired(trigger: "SettledTrigger") -> float:
    """Returns when a trigger fired."""
    async for _ in trigger.run():
        return time.monotonic()
    raise AssertionError("it ended without an event")


async def _lag(longest: list[float]) -> None:
    """Notes how long the event loop was held up at most."""
    while True:
        begun = time.monotonic()
        await asyncio.sleep(0.05)
        longest[0] = max(longest[0], time.monotonic() - begun - 0.05)


@contextmanager
def _environment(told: Mapping[str, str]) -> Iterator[None]:
    """Lets the triggers, which find the book as those of a triggerer do, find this one."""
    before = dict(os.environ)
    os.environ.update(told)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
