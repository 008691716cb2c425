"""Sensors that wait: how often 200 of them ask the book, and how soon they fire after a release is recorded.

The triggers are real, in one event loop as in a triggerer, at a real server behind a front that counts.
What Airflow adds, a second or two until it has stored an event and until a worker goes on, is not in it.
"""

import asyncio
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from observatory import Dataset, DatasetRelease
from observatory.airflow.triggers import SettledTrigger
from tests.airflow.book import Book, add_partner

SENSORS = 200
SECONDS = 60
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(1)


async def fired(trigger: SettledTrigger) -> float:
    """Returns when a trigger fired."""
    async for _ in trigger.run():
        return time.monotonic()
    raise AssertionError("it ended without an event")


async def lag(longest: list[float]) -> None:
    """Notes how long the event loop was held up at most."""
    while True:
        begun = time.monotonic()
        await asyncio.sleep(0.05)
        longest[0] = max(longest[0], time.monotonic() - begun - 0.05)


async def measure(book: Book, datasets: list[Dataset]) -> None:
    """Prints the figures."""
    after, longest = book.api.get_cursor(), [0.0]
    watchdog = asyncio.create_task(lag(longest))
    key = f"{JANUARY:%Y-%m-%d}/{JANUARY + DAY:%Y-%m-%d}"
    waiting = [asyncio.create_task(fired(SettledTrigger(one.id, [key], None, after))) for one in datasets]
    for mode in ("pass", "500", "pass"):
        book.front.be(mode)
        before = book.front.requests
        await asyncio.sleep(SECONDS / 3)
        print(f"{mode}: {(book.front.requests - before) / (SECONDS / 3):.2f} requests a second")
    before, begun, recorded = book.front.requests, time.monotonic(), []
    for one in datasets:
        release = DatasetRelease(dataset=one, start_date=JANUARY, end_date=JANUARY + DAY)
        await asyncio.to_thread(book.api.post_dataset_release, release)
        recorded.append(time.monotonic())
    took = [at - then for at, then in zip(await asyncio.gather(*waiting), recorded, strict=True)]
    rate = (book.front.requests - before) / (time.monotonic() - begun)
    print(f"while they are recorded, one after the other: {rate:.2f} requests a second")
    print(f"from recording to firing: p50 {statistics.median(took):.2f} s, at most {max(took):.2f} s")
    print(f"the event loop was held up for at most {longest[0] * 1000:.0f} ms")
    watchdog.cancel()


def main() -> None:
    """Fills a book, and waits at it."""
    with tempfile.TemporaryDirectory() as folder, Book(Path(folder)) as book:
        os.environ |= book.environment
        datasets = [add_partner(book.api, f"Partner {number}") for number in range(SENSORS)]
        asyncio.run(measure(book, datasets))


if __name__ == "__main__":
    main()
