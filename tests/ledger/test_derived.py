"""What is made from what: looked up by the input, without circles, and stale once an input is not current."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from time import perf_counter
from typing import Any, TypeVar

import pytest

from observatory import Conflict, DatasetRelease, NotFound, ObservatoryError, Period
from observatory.access import Caller, operator
from observatory.ledger import (
    Database,
    Transaction,
    datasets,
    derived,
    releases,
    states,
)
from observatory.ledger.releases import How
from observatory.ledger.soundness import check
from observatory.records import Dataset

from .conftest import DAY_0, day, furnish, opened
from .test_recount import repair
from .test_recount import run as damaged

T = TypeVar("T")
ANEW = How(revising=True)


def run(url: str, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    async def whole() -> T:
        book = opened(url)
        async with book.running():
            return await work(book)

    return asyncio.run(whole())


async def made(book: Database, dataset: int, number: int, *inputs: int, **facts: Any) -> int:
    """Records a release of a day, made from others, and returns its id."""
    release = day(dataset, number)
    release.made_from = list(inputs)
    for field, value in facts.items():
        setattr(release, field, value)
    return (await book.write(operator("record"), releases.record, release, ANEW)).release.id


async def withdraw(book: Database, id: int) -> None:
    told = DatasetRelease(id=id, state="withdrawn", reason="bad")
    await book.write(operator("record"), states.change, told)


async def stale(book: Database, by: Caller | None = None, **asked: Any) -> dict[int, list[int]]:
    wanted = derived.Wanted(**{"limit": 100, **asked})
    found = await book.scan(by or operator("read"), derived.stale, wanted)
    return {one.release.id: one.inputs for one in found}


async def below(book: Database, id: int, by: Caller | None = None) -> list[tuple[int, int, bool]]:
    found = await book.scan(by or operator("read"), derived.derived, id)
    return [(one.release.id, one.depth, one.stale) for one in found]


async def refused(work: Coroutine[Any, Any, Any]) -> ObservatoryError:
    try:
        await work
    except ObservatoryError as error:
        return error
    raise AssertionError("it was not refused")


def test_what_was_made_from_a_release_is_found_to_any_depth(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b, c = await furnish(book, 3)
        first, other = await made(book, a, 0), await made(book, a, 1)
        second = await made(book, b, 0, first, other)
        # By two ways, of which the shorter counts.
        third = await made(book, c, 0, second, first, first)
        fourth = await made(book, c, 1, third)

        assert await below(book, first) == [(second, 1, False), (third, 1, False), (fourth, 2, False)]
        assert await below(book, other) == [(second, 1, False), (third, 2, False), (fourth, 3, False)]
        assert await below(book, fourth) == []
        found = await book.read(operator("read"), releases.fetch, third)
        assert found.made_from == [first, second]
        with pytest.raises(NotFound, match="DatasetRelease 99 does not exist"):
            await below(book, 99)

    run(book_url, work)


def test_a_chain_of_a_thousand_is_followed_to_its_end(book_url: str) -> None:
    async def work(book: Database) -> None:
        [a] = await furnish(book, 1)

        async def chain(tx: Transaction) -> list[int]:
            ids: list[int] = []
            for number in range(1000):
                release = day(a, number)
                release.made_from = ids[-1:]
                ids.append((await releases.record(tx, release)).release.id)
            return ids

        first, *_, last = await book.write(operator("record"), chain)
        assert (await below(book, first))[-1] == (last, 999, False)

        await withdraw(book, first)

        assert len(await stale(book, limit=1000)) == 999
        assert (await below(book, first))[-1] == (last, 999, True)

    run(book_url, work)


def test_what_was_made_from_what_is_not_current_any_more_is_stale_until_it_is_made_anew(
    book_url: str,
) -> None:
    async def work(book: Database) -> None:
        a, b, c = await furnish(book, 3)
        first, whole = await made(book, a, 0), await made(book, a, 1)
        second = await made(book, b, 0, first, whole)
        third = await made(book, c, 0, second)
        assert await stale(book) == {}

        await withdraw(book, first)
        assert await stale(book) == {second: [first], third: [first]}
        assert await below(book, first) == [(second, 1, True), (third, 2, True)]
        assert await book.read(operator("read"), derived.stale_periods, c) == [
            Period(DAY_0, DAY_0 + timedelta(1))
        ]

        # It is there again, and what was made of it before is as stale as it was.
        anew = await made(book, a, 0)
        assert await stale(book) == {second: [first], third: [first]}

        second_anew = await made(book, b, 0, anew, whole, row_count=7)
        assert await stale(book) == {third: [second]}
        third_anew = await made(book, c, 0, second_anew, row_count=7)
        assert await stale(book) == {}
        assert await below(book, anew) == [(second_anew, 1, False), (third_anew, 2, False)]
        # History is told, and is not stale: nobody makes it anew.
        assert await below(book, first) == [(second, 1, False), (third, 2, False)]
        assert await book.read(operator("read"), derived.stale_periods, c) == []

        # What is settled again was good after all.
        await withdraw(book, anew)
        assert len(await stale(book)) == 2
        back = DatasetRelease(id=anew, state="present", reason="it was good")
        await book.write(operator("record"), states.change, back)
        assert await stale(book) == {}

    run(book_url, work)


def test_what_retention_removed_makes_nothing_stale(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        first = await made(book, a, 0)
        await made(book, b, 0, first)
        expired = DatasetRelease(id=first, state="expired", reason="kept for a year")
        await book.write(operator("record"), states.change, expired)
        assert await stale(book) == {}

    run(book_url, work)


def test_stale_releases_come_in_pages_of_what_is_asked_for(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b, c = await furnish(book, 3)
        inputs = [await made(book, a, number) for number in range(5)]
        of_b = [await made(book, b, number, id) for number, id in enumerate(inputs)]
        of_c = [await made(book, c, number, id) for number, id in enumerate(inputs)]
        for id in inputs:
            await withdraw(book, id)

        assert sorted(await stale(book)) == [*of_b, *of_c]
        assert sorted(await stale(book, limit=4)) == of_b[:4]
        assert sorted(await stale(book, limit=4, after=of_b[3])) == [of_b[4], *of_c[:3]]
        assert sorted(await stale(book, dataset_id=c)) == of_c
        assert sorted(await stale(book, workflow_id=1, organisation_id=1)) == [*of_b, *of_c]
        for asked in ({"dataset_id": 99}, {"workflow_id": 99}, {"organisation_id": 99}):
            assert isinstance(await refused(stale(book, None, **asked)), NotFound)

    run(book_url, work)


def test_nothing_is_made_from_what_is_not_there_or_from_itself(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        first = await made(book, a, 0)
        second = await made(book, b, 0, first)
        third = await made(book, b, 1, second)

        absent = await refused(made(book, b, 2, first, 99))
        assert isinstance(absent, NotFound)
        assert absent.fields == {"made_from": "there is no DatasetRelease 99"}
        for id, inputs, way in (
            (first, [first], f"{first} from {first}"),
            (first, [third], f"{first} from {third}, {third} from {second}, {second} from {first}"),
        ):
            told = DatasetRelease(id=id, made_from=inputs)
            circle = await refused(book.write(operator("record"), states.change, told))
            assert isinstance(circle, Conflict)
            assert circle.fields == {"made_from": f"lead back to it: {way}"}
        assert await below(book, third) == []

        changed = await book.write(
            operator("record"), states.change, DatasetRelease(id=third, made_from=[first, first])
        )
        assert changed.made_from == [first]
        assert await below(book, first) == [(second, 1, False), (third, 1, False)]
        assert await below(book, second) == []
        cleared = DatasetRelease(id=third, made_from=[])
        assert (await book.write(operator("record"), states.change, cleared)).made_from is None
        assert await below(book, first) == [(second, 1, False)]

    run(book_url, work)
    assert check(book_url).is_sound


def test_a_release_that_is_told_again_with_other_inputs_is_the_one_that_is_there(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        first, other = await made(book, a, 0), await made(book, a, 1)
        second = await made(book, b, 0, first)
        assert await made(book, b, 0, other) == second
        assert (await book.read(operator("read"), releases.fetch, second)).made_from == [first]

    run(book_url, work)


def test_what_something_is_made_from_is_not_removed(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        first = await made(book, a, 0)
        users = [await made(book, b, number, first) for number in range(7)]
        kept = await refused(book.write(operator("record"), states.remove, first))
        assert isinstance(kept, Conflict)
        which = ", ".join(map(str, users[:5]))
        cure = f"delete what refers to it first: dataset-releases {which} and more"
        assert kept.fields == {"dataset-releases": cure}
        for id in users:
            await book.write(operator("record"), states.remove, id)
        await book.write(operator("record"), states.remove, first)

        by = operator("maintain")
        await book.write(by, datasets.change, Dataset(id=b, inputs=[a, a]))
        kept = await refused(book.write(by, datasets.remove, Dataset, a))
        assert isinstance(kept, Conflict)
        assert kept.fields == {"datasets": f"delete what refers to it first: datasets {b}"}
        await book.write(by, datasets.change, Dataset(id=b, inputs=[]))
        await book.write(by, datasets.remove, Dataset, a)

    run(book_url, work)
    assert check(book_url).is_sound


def test_a_dataset_is_not_made_from_itself_nor_from_what_is_not_there(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b, c = await furnish(book, 3)
        by = operator("maintain")
        await book.write(by, datasets.change, Dataset(id=b, inputs=[a]))
        changed = await book.write(by, datasets.change, Dataset(id=c, inputs=[b, a, b]))
        assert changed.inputs == [a, b]
        again = await book.write(by, datasets.change, Dataset(id=c, inputs=[b, a]))
        assert again.version == changed.version

        circle = await refused(book.write(by, datasets.change, Dataset(id=a, inputs=[c])))
        assert isinstance(circle, Conflict)
        assert circle.fields == {"inputs": f"lead back to it: {a} from {c}, {c} from {a}"}
        assert isinstance(await refused(book.write(by, datasets.change, Dataset(id=a, inputs=[a]))), Conflict)
        absent = await refused(book.write(by, datasets.change, Dataset(id=a, inputs=[99])))
        assert isinstance(absent, NotFound)
        assert absent.fields == {"inputs": "there is no Dataset 99"}
        assert (await book.read(by, datasets.fetch, Dataset, a)).inputs == []

    run(book_url, work)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM derivations WHERE input_id = 1", "release 2 is not kept as made from 1"),
        ("INSERT INTO derivations VALUES (3, 1)", "release 3 is kept as made from 1"),
        ("UPDATE dataset_releases SET made_from = NULL", "release 2 is kept as made from 1"),
        ("DELETE FROM dataset_releases WHERE id = 1", "release 2 was made from 1, which is not there"),
    ],
)
def test_what_is_looked_up_and_is_not_what_the_releases_say_is_told_and_repaired(
    book_url: str, damage: str, told: str
) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        first = await made(book, a, 0)
        await made(book, b, 1, await made(book, b, 0, first))

    run(book_url, work)
    assert check(book_url).is_sound

    damaged(book_url, damage)

    report = check(book_url)
    assert "derivations" in report.found
    assert told in "".join(report.told["derivations"])
    if "not there" not in told:
        repair(book_url, *report.differ)
        assert check(book_url).is_sound


def test_ten_thousand_releases_are_made_from_others_in_one_batch(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        by = operator("record")
        inputs = await book.write(by, releases.record_all, [day(a, number) for number in range(10_000)])
        told = [day(b, number) for number in range(10_000)]
        for release, before in zip(told, inputs, strict=True):
            release.made_from = [before.release.id]
        began = perf_counter()
        recorded = await book.write(by, releases.record_all, told)
        assert perf_counter() - began < 10
        assert await below(book, inputs[9999].release.id) == [(recorded[9999].release.id, 1, False)]

        # Each for itself: what refers to nothing is refused, and its neighbours are recorded.
        more = [day(b, 20_000), day(b, 20_001)]
        more[0].made_from = [10**12]
        outcomes = await book.write(by, releases.record_each, more)
        assert isinstance(outcomes[0], NotFound)
        assert isinstance(outcomes[1], releases.Recorded)

    run(book_url, work)
    assert check(book_url).is_sound
