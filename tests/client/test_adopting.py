"""What is in storage already is adopted: in ranges, in bulk, with its evidence, and as often as is told."""

from datetime import UTC, datetime, timedelta

import pytest

from observatory import (
    Dataset,
    DatasetRelease,
    Invalid,
    NotFound,
    ObservatoryApi,
    Period,
)

DAY_0, DAY = datetime(2021, 1, 1, tzinfo=UTC), timedelta(1)
SEEN = {"table": "a.b.c", "rows": 120, "by": "Ann"}


def days(start: int, end: int) -> Period:
    return Period(DAY_0 + start * DAY, DAY_0 + end * DAY)


def test_a_range_is_adopted_a_release_for_each_day_with_its_evidence(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    done = api.adopt_releases(dataset.id, span=days(0, 59), step="day", evidence=SEEN, reason="moved in")
    assert (done.recorded, done.there_already, done.in_conflict) == (59, 0, 0)
    found = api.get_dataset_releases(dataset_id=dataset.id)
    assert [one.period for one in found] == [days(n, n + 1) for n in range(59)]
    assert {one.reason for one in found} == {"adopted: moved in"}
    assert found[7].extras == {"evidence": SEEN}
    assert api.get_coverage(dataset.id).runs == [days(0, 59)]

    again = api.adopt_releases(
        dataset.id, span=(DAY_0, days(0, 61).end_date), step="day", evidence=SEEN, reason="again"
    )
    assert (again.recorded, again.there_already, again.in_conflict) == (2, 59, 0)
    assert api.get_dataset_releases(dataset_id=dataset.id)[7].version == 1


def test_periods_of_any_length_are_adopted_as_they_are_told(api: ObservatoryApi, dataset: Dataset) -> None:
    told = [days(0, 0), days(0, 1), days(1, 31), days(0, 1)]
    done = api.adopt_releases(dataset.id, told, evidence=SEEN, reason="moved in")
    assert (done.recorded, done.there_already) == (3, 1)
    whole = api.adopt_releases(dataset.id, span=days(40, 70), evidence=SEEN, reason="one load")
    assert whole.recorded == 1
    assert api.get_coverage(dataset.id).runs == [days(0, 31), days(40, 70)]
    assert api.get_coverage(dataset.id).instants == 1


def test_what_the_book_says_otherwise_is_left_and_listed(api: ObservatoryApi, dataset: Dataset) -> None:
    facts = DatasetRelease(dataset=dataset, row_count=7)
    for number, state in enumerate(("present", "empty", "unobtainable", "expired")):
        facts.start_date, facts.end_date = days(number, number + 1).start_date, days(0, number + 1).end_date
        facts.state = state  # type: ignore[assignment] # a literal of the tuple
        api.post_dataset_release(facts)
    bad = api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=DAY_0, end_date=DAY_0))
    api.put_dataset_release(DatasetRelease(id=bad.id, state="withdrawn", reason="half of it"))
    before = api.get_dataset_releases(dataset_id=dataset.id, history=True)

    told = [days(0, 0), *(days(n, n + 1) for n in range(4))]
    done = api.adopt_releases(dataset.id, told, evidence=SEEN, reason="moved in")

    assert (done.recorded, done.there_already, done.in_conflict) == (0, 1, 4)
    assert "is withdrawn in the book: half of it" in done.conflicts[0].why
    assert [one.start_date for one in done.conflicts] == [DAY_0, *(DAY_0 + n * DAY for n in range(1, 4))]
    assert api.get_dataset_releases(dataset_id=dataset.id, history=True) == before


def test_many_conflicts_are_counted_and_the_first_are_named(api: ObservatoryApi, dataset: Dataset) -> None:
    told = [days(n, n + 1) for n in range(1030)]
    api.post_dataset_releases(
        [DatasetRelease(dataset=dataset, start_date=p.start_date, end_date=p.end_date, state="empty")
         for p in told]
    )  # fmt: skip
    done = api.adopt_releases(dataset.id, told, evidence=SEEN, reason="moved in")
    assert (done.recorded, done.in_conflict, len(done.conflicts)) == (0, 1030, 20)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({}, "periods"),
        ({"periods": [days(0, 1)], "span": days(0, 1)}, "periods"),
        ({"periods": [days(0, 1)], "step": "day"}, "step"),
        ({"span": (DAY_0 + DAY / 2, DAY_0 + DAY), "step": "day"}, "span"),
        ({"span": days(0, 0), "step": "day"}, "span"),
        ({"span": Period(DAY_0, DAY_0.replace(year=2040)), "step": "hour"}, "span"),
        ({"span": days(1, 0)}, "span.end_date"),
        ({"span": days(0, 1), "evidence": {}}, "evidence"),
        ({"span": days(0, 1), "evidence": {"note": "x" * 70_000}}, "evidence"),
        ({"span": days(0, 1), "reason": ""}, "reason"),
    ],
)
def test_what_cannot_be_adopted_is_named_and_nothing_is_recorded(
    api: ObservatoryApi, dataset: Dataset, told: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as error:
        api.adopt_releases(dataset.id, **{"evidence": SEEN, "reason": "r", **told})  # type: ignore[arg-type]
    assert error.value.fields.keys() == {field}
    assert api.get_dataset_releases(dataset_id=dataset.id) == []


def test_a_dataset_that_is_not_there_adopts_nothing(api: ObservatoryApi, dataset: Dataset) -> None:
    with pytest.raises(NotFound):
        api.adopt_releases(dataset.id + 1, [days(0, 1)], evidence=SEEN, reason="r")
    with pytest.raises(NotFound):
        api.adopt_releases(dataset.id + 1, [], evidence=SEEN, reason="r")
    assert api.adopt_releases(dataset.id, [], evidence=SEEN, reason="r").recorded == 0
