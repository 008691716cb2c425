"""A cadence is kept in one spelling, and only where its periods can be told."""

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from observatory import Cadence, Dataset, Invalid
from observatory.access import operator
from observatory.ledger import catalogue, datasets
from observatory.rules import normal
from tests.ledger.conftest import fill, opened

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
BY = operator("maintain")


def test_a_cadence_is_brought_into_one_spelling() -> None:
    local = datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    days = [date(2024, 5, 1), date(2024, 1, 1), date(2024, 5, 1)]

    told = Cadence(
        "0 0 * * *", local, exclude=days, include=[local, BEGIN], expected_until=BEGIN + timedelta(1)
    )

    kept = normal(Dataset(cadence=told)).cadence
    assert kept == Cadence(
        "0 0 * * *", BEGIN, exclude=[days[1], days[0]], include=[BEGIN], expected_until=BEGIN + timedelta(1)
    )
    assert kept is not None
    assert kept.expected_from.tzinfo is UTC


@pytest.mark.parametrize(
    ("field", "cadence"),
    [
        ("cadence.expected_from", Cadence("0 0 * * *", datetime(2024, 1, 1))),
        ("cadence.expected_until", Cadence("0 0 * * *", BEGIN, expected_until=BEGIN)),
        ("cadence.exclude", Cadence("0 0 * * *", BEGIN, exclude=[BEGIN])),
        ("cadence.include", Cadence("0 0 * * *", BEGIN, include=[datetime(2024, 1, 1)])),
    ],
)
def test_a_cadence_with_a_wrong_time_is_refused(field: str, cadence: Cadence) -> None:
    with pytest.raises(Invalid) as refused:
        normal(Dataset(cadence=cadence))

    assert set(refused.value.fields) == {field}


def test_a_book_keeps_a_cadence_that_can_be_followed_and_refuses_others(database_url: str) -> None:
    [id] = fill(database_url, 1, 1)
    good = Cadence("30 1 * * *", BEGIN, "Europe/London", exclude=[date(2024, 12, 25)])
    bad = [Cadence("soon", BEGIN), Cadence("0 0 * * *", BEGIN, "London")]

    async def work() -> None:
        book = opened(database_url)
        async with book.running():
            kept = await book.write(BY, datasets.change, Dataset(id=id, cadence=good))
            assert kept.cadence == good
            again = await book.write(BY, datasets.change, Dataset(id=id, cadence=good))
            assert again.version == kept.version
            for cadence, field in zip(bad, ("cadence.cron", "cadence.timezone"), strict=True):
                with pytest.raises(Invalid) as refused:
                    await book.write(BY, datasets.change, Dataset(id=id, cadence=cadence))
                assert set(refused.value.fields) == {field}
                made = Dataset(name="new", service="s", address="a", cadence=cadence)
                made.workflow, made.dataset_type = kept.workflow, kept.dataset_type
                with pytest.raises(Invalid) as refused:
                    await book.write(BY, datasets.create, made)
                assert set(refused.value.fields) == {field}
            assert (await book.read(BY, catalogue.fetch, Dataset, id)).cadence == good

    asyncio.run(work())
