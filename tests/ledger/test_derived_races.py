"""Two at once, of whom one makes something of what the other takes away, or both close a circle."""

from asyncio import gather
from typing import Any

from observatory import Conflict, DatasetRelease, ObservatoryError
from observatory.access import operator
from observatory.ledger import Database, datasets, states
from observatory.ledger.soundness import check
from observatory.records import Dataset

from .conftest import furnish
from .test_derived import below, made, run, stale, withdraw

TIMES = 25


async def both(*work: Any) -> list[Any]:
    return await gather(*work, return_exceptions=True)


def test_what_is_made_of_a_release_while_it_is_withdrawn_ends_stale(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        for number in range(TIMES):
            first = await made(book, a, number)
            user, _ = await both(made(book, b, number, first), withdraw(book, first))
            assert (await stale(book))[user] == [first]

    run(book_url, work)


def test_of_two_that_close_a_circle_one_is_refused(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        by = operator("maintain")
        for number in range(TIMES):
            first, second = await made(book, a, number), await made(book, b, number)
            outcomes = await both(
                *(
                    book.write(by, states.change, DatasetRelease(id=id, made_from=[other]))
                    for id, other in ((first, second), (second, first))
                ),
                *(
                    book.write(by, datasets.change, Dataset(id=id, inputs=[other]))
                    for id, other in ((a, b), (b, a))
                ),
            )
            for two in (outcomes[:2], outcomes[2:]):
                assert [isinstance(one, Conflict) for one in two].count(True) == 1, two
                assert [isinstance(one, Exception) for one in two].count(True) == 1, two
            for id in (a, b):
                await book.write(by, datasets.change, Dataset(id=id, inputs=[]))

    run(book_url, work)


def test_what_is_removed_is_not_what_something_was_just_made_from(book_url: str) -> None:
    async def work(book: Database) -> None:
        a, b = await furnish(book, 2)
        for number in range(TIMES):
            first = await made(book, a, number)
            user, removed = await both(
                made(book, b, number, first), book.write(operator("record"), states.remove, first)
            )
            # Who makes something of it is told that it is gone, or who removes it that it is used.
            assert isinstance(user, ObservatoryError) != isinstance(removed, ObservatoryError), (
                user,
                removed,
            )
            if removed is not None:
                assert await below(book, first) == [(user, 1, False)]

    run(book_url, work)
    assert check(book_url).is_sound


def test_a_dataset_is_removed_or_an_input_and_never_both(book_url: str) -> None:
    async def work(book: Database) -> None:
        first, *others = await furnish(book, TIMES + 1)
        by = operator("maintain")
        for other in others:
            named, removed = await both(
                book.write(by, datasets.change, Dataset(id=first, inputs=[other])),
                book.write(by, datasets.remove, Dataset, other),
            )
            assert isinstance(named, ObservatoryError) != isinstance(removed, ObservatoryError), (
                named,
                removed,
            )
            await book.write(by, datasets.change, Dataset(id=first, inputs=[]))

    run(book_url, work)
