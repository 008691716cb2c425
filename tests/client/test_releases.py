from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pendulum
import pytest

from observatory import (
    Conflict,
    Coverage,
    Dataset,
    DatasetRelease,
    Invalid,
    ListWasCut,
    NotFound,
    ObservatoryApi,
    Period,
)
from observatory.records import State

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)


def release(dataset: Dataset, start: int, end: int, **facts: Any) -> DatasetRelease:
    return DatasetRelease(
        dataset=dataset, start_date=DAY_0 + timedelta(start), end_date=DAY_0 + timedelta(end), **facts
    )


def test_a_release_is_recorded_with_its_dataset_by_id_and_name(api: ObservatoryApi, dataset: Dataset) -> None:
    recorded = api.post_dataset_release(
        DatasetRelease(
            dataset=dataset,
            start_date=pendulum.datetime(2021, 1, 1, 0, 0, 0, 123456, tz="Australia/Perth"),
            end_date=date(2021, 2, 1),  # type: ignore[arg-type] # works, though its type does not say so
            row_count=7,
        )
    )

    assert recorded.start_date == datetime(2020, 12, 31, 16, 0, 0, 123456, tzinfo=UTC)
    assert recorded.end_date == datetime(2021, 2, 1, tzinfo=UTC)
    assert recorded.state == "present"
    assert recorded.dataset == Dataset(id=dataset.id, name=dataset.name)
    assert api.get_dataset_releases(100, dataset.id) == [recorded]
    assert api.get_dataset_release(recorded.id) == recorded


def test_recording_again_answers_the_one_that_is_there(api: ObservatoryApi, dataset: Dataset) -> None:
    first = api.post_dataset_release(release(dataset, 0, 1, row_count=7))
    again = api.post_dataset_release(release(dataset, 0, 1, row_count=7, ingestion_start=DAY_0))

    assert again == first
    assert api.post_dataset_release(release(dataset, 0, 1)) == first


def test_other_facts_for_the_same_period_are_a_conflict_that_names_them(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_release(release(dataset, 0, 1, row_count=7, digest="a"))

    with pytest.raises(Conflict) as conflict:
        api.post_dataset_release(release(dataset, 0, 1, row_count=8, digest="a"))
    assert conflict.value.fields == {"row_count": "is 7 in the book, not 8"}


def test_many_are_recorded_all_or_none(api: ObservatoryApi, dataset: Dataset) -> None:
    api.post_dataset_release(release(dataset, 2, 3, row_count=1))

    with pytest.raises(Conflict):
        api.post_dataset_releases([release(dataset, 0, 1), release(dataset, 2, 3, row_count=2)])
    assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 1

    many = [release(dataset, 2, 3), release(dataset, 0, 1), release(dataset, 0, 1)]
    recorded = api.post_dataset_releases(many)
    assert [r.period for r in recorded] == [r.period for r in many]
    assert recorded[1] == recorded[2]


def test_releases_are_listed_by_period_over_pages(
    api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observatory.client.connection.PAGE", 2)
    for start, end in [(3, 4), (0, 2), (0, 1), (1, 2), (2, 2)]:
        api.post_dataset_release(release(dataset, start, end))

    listed = api.get_dataset_releases(dataset_id=dataset.id)
    assert [r.period for r in listed] == sorted(r.period for r in listed)
    assert len(listed) == 5
    within = api.get_dataset_releases(
        dataset_id=dataset.id, start_date=date(2021, 1, 2), end_date=date(2021, 1, 4)
    )
    assert within == listed[1:4]


def test_missing_is_what_is_available_and_not_recorded(api: ObservatoryApi, dataset: Dataset) -> None:
    available = [
        DatasetRelease(start_date=r.start_date, end_date=r.end_date)
        for r in (release(dataset, day, day + 1) for day in range(5))
    ]
    api.post_dataset_release(release(dataset, 1, 2))
    api.post_dataset_release(release(dataset, 3, 4, state="empty", reason="nothing was published"))

    missing = api.get_missing_releases(dataset.id, available)
    assert [r.period for r in missing] == [available[i].period for i in (0, 2, 4)]

    api.post_dataset_releases(missing)
    assert api.get_missing_releases(dataset.id, available) == []
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(5))]


def test_a_dataset_that_does_not_exist_has_no_missing_releases(api: ObservatoryApi) -> None:
    with pytest.raises(NotFound, match="Dataset 9"):
        api.get_dataset_releases(dataset_id=9)
    with pytest.raises(NotFound, match="Dataset 9"):
        api.get_missing_releases(9, [])
    with pytest.raises(NotFound, match="Dataset 9 does not exist"):
        api.post_dataset_release(release(Dataset(id=9), 0, 1))


def test_a_release_needs_a_period_that_starts_before_it_ends(api: ObservatoryApi, dataset: Dataset) -> None:
    with pytest.raises(Invalid) as refused:
        api.post_dataset_release(release(dataset, 1, 0))
    assert set(refused.value.fields) == {"end_date"}
    with pytest.raises(Invalid, match="start_date: 2021-01-01T00:00:00 has no time zone: add one"):
        api.post_dataset_release(
            DatasetRelease(dataset=dataset, start_date=datetime(2021, 1, 1), end_date=DAY_0)
        )


def test_the_same_release_from_sixteen_threads_is_one_row_and_sixteen_right_answers(
    api: ObservatoryApi, dataset: Dataset, server_url: str
) -> None:
    def record_all(_: int) -> list[DatasetRelease]:
        with ObservatoryApi(server_url) as mine:
            return [mine.post_dataset_release(release(dataset, day, day + 1)) for day in range(10)]

    with ThreadPoolExecutor(16) as racers:
        answers = list(racers.map(record_all, range(16)))

    listed = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert len(listed) == 10
    assert all(answer == listed for answer in answers)
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(10))]


def test_neighbours_recorded_at_the_same_time_become_one_run(
    api: ObservatoryApi, dataset: Dataset, server_url: str
) -> None:
    def record_every_sixth(first: int) -> None:
        with ObservatoryApi(server_url) as mine:
            for day in range(first, 60, 6):
                mine.post_dataset_release(release(dataset, day, day + 1))

    with ThreadPoolExecutor(6) as racers:
        list(racers.map(record_every_sixth, range(6)))

    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(60))]


def test_a_limit_that_cuts_the_list_warns_and_no_limit_lists_all(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    api.post_dataset_releases([release(dataset, day, day + 1) for day in range(2500)])

    with pytest.warns(ListWasCut, match="limit of 1000"):
        assert len(api.get_dataset_releases(1000, dataset.id)) == 1000
    recorded = {r.period for r in api.get_dataset_releases(dataset_id=dataset.id)}
    available = {release(dataset, day, day + 1).period for day in range(2600)}
    assert len(available - recorded) == 100


def test_paging_goes_on_while_releases_come_and_go(
    api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observatory.client.connection.PAGE", 10)
    kept = [release(dataset, day, day + 1) for day in range(0, 100, 2)]
    recorded = api.post_dataset_releases(kept)
    pages = type(api._transport).page
    asked = 0

    def page_and_disturb(transport: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        answer = pages(transport, *args, **kwargs)
        if not answer[0]:
            return answer
        last = answer[0][-1]
        asked += 1
        # The very release that the next page is asked to go on behind vanishes, and others come.
        with monkeypatch.context() as plain:
            plain.setattr(type(api._transport), "page", pages)
            api.delete_dataset_release(last.id)
            api.post_dataset_release(release(dataset, 2 * asked - 1, 2 * asked))
        return answer

    monkeypatch.setattr(type(api._transport), "page", page_and_disturb)
    listed = api.get_dataset_releases(dataset_id=dataset.id)

    periods = [r.period for r in listed]
    assert periods == sorted(set(periods))
    assert {r.id for r in recorded} <= {r.id for r in listed}


def test_a_withdrawn_release_is_missing_and_recorded_anew_as_a_revision(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    first, _ = api.post_dataset_releases([release(dataset, 0, 1, row_count=7), release(dataset, 1, 2)])
    withdrawn = api.put_dataset_release(
        DatasetRelease(id=first.id, state="withdrawn", reason="half of the rows")
    )

    assert (withdrawn.state, withdrawn.reason, withdrawn.version) == ("withdrawn", "half of the rows", 2)
    assert [r.period for r in api.get_missing_releases(dataset.id, [first.period])] == [first.period]
    assert first.period not in [r.period for r in api.get_dataset_releases(dataset_id=dataset.id)]
    assert api.get_dataset_releases(dataset_id=dataset.id, state="withdrawn") == [withdrawn]
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0 + timedelta(1), DAY_0 + timedelta(2))]

    second = api.post_dataset_release(release(dataset, 0, 1, row_count=14))

    assert (second.revision, second.row_count, second.state) == (2, 14, "present")
    assert second.id != first.id
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(2))]
    history = api.get_dataset_releases(dataset_id=dataset.id, history=True)
    assert [(r.revision, r.state) for r in history] == [(1, "superseded"), (2, "present"), (1, "present")]
    assert history[0].reason == "half of the rows"
    assert api.get_dataset_release(first.id) == history[0]


def test_many_withdrawn_releases_are_recorded_anew_in_one_call(api: ObservatoryApi, dataset: Dataset) -> None:
    days = [release(dataset, day, day + 1) for day in range(20)]
    for recorded in api.post_dataset_releases(days)[5:15]:
        api.put_dataset_release(DatasetRelease(id=recorded.id, state="withdrawn", reason="bad"))

    again = api.post_dataset_releases(days)

    assert [r.revision for r in again] == [1] * 5 + [2] * 10 + [1] * 5
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(20))]
    assert len(api.get_dataset_releases(dataset_id=dataset.id, history=True)) == 30


def test_a_change_of_state_needs_a_reason(api: ObservatoryApi, dataset: Dataset) -> None:
    recorded = api.post_dataset_release(release(dataset, 0, 1))

    with pytest.raises(Invalid) as refused:
        api.put_dataset_release(DatasetRelease(id=recorded.id, state="withdrawn"))
    assert refused.value.fields == {"reason": "say why it is withdrawn"}
    with pytest.raises(Invalid, match="set by the book"):
        api.put_dataset_release(DatasetRelease(id=recorded.id, state="superseded", reason="old"))
    assert api.get_dataset_release(recorded.id) == recorded


def test_what_is_superseded_is_history_and_stays_so(api: ObservatoryApi, dataset: Dataset) -> None:
    first = api.post_dataset_release(release(dataset, 0, 1))
    api.put_dataset_release(DatasetRelease(id=first.id, state="withdrawn", reason="bad"))
    api.post_dataset_release(release(dataset, 0, 1))

    with pytest.raises(Conflict, match="is history"):
        api.put_dataset_release(DatasetRelease(id=first.id, state="present", reason="good after all"))
    with pytest.raises(Conflict, match="revision 1 of 2: delete the later ones first"):
        api.delete_dataset_release(first.id)


def test_many_are_revised_in_one_call(api: ObservatoryApi, dataset: Dataset) -> None:
    api.post_dataset_releases([release(dataset, 0, 1, row_count=7), release(dataset, 1, 2, row_count=8)])
    told = [release(dataset, 0, 1, row_count=9), release(dataset, 1, 2, row_count=8)]
    made = api.post_dataset_releases(told, revise=True)
    assert [(one.revision, one.row_count) for one in made] == [(2, 9), (1, 8)]


def test_what_was_revised_is_deleted_latest_first_and_can_be_recorded_again(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    first = api.post_dataset_release(release(dataset, 0, 1))
    api.put_dataset_release(DatasetRelease(id=first.id, state="withdrawn", reason="bad"))
    second = api.post_dataset_release(release(dataset, 0, 1))
    api.delete_dataset_release(second.id)

    assert api.get_coverage(dataset.id).runs == []
    assert [r.period for r in api.get_missing_releases(dataset.id, [first.period])] == [first.period]
    again = api.post_dataset_release(release(dataset, 0, 1))
    assert again.revision == 2
    api.delete_dataset_release(again.id)
    api.delete_dataset_release(first.id)
    api.delete_dataset(dataset.id)


def test_a_withdrawn_release_can_be_found_good_after_all(api: ObservatoryApi, dataset: Dataset) -> None:
    recorded = api.post_dataset_release(release(dataset, 0, 1))
    api.put_dataset_release(DatasetRelease(id=recorded.id, state="withdrawn", reason="looked bad"))
    back = api.put_dataset_release(DatasetRelease(id=recorded.id, state="present", reason="was right"))

    assert back.version == 3
    assert api.get_coverage(dataset.id).runs == [recorded.period]


def test_facts_can_be_added_but_neither_period_nor_dataset_changes(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    recorded = api.post_dataset_release(release(dataset, 0, 1))
    changed = api.put_dataset_release(DatasetRelease(id=recorded.id, row_count=7, extras={"a": 1}))

    assert (changed.row_count, changed.extras, changed.state) == (7, {"a": 1}, "present")
    assert api.put_dataset_release(changed) == changed
    with pytest.raises(Invalid, match="end_date: cannot be changed"):
        api.put_dataset_release(DatasetRelease(id=recorded.id, end_date=DAY_0 + timedelta(3)))
    with pytest.raises(Invalid, match="dataset: cannot be changed"):
        api.put_dataset_release(DatasetRelease(id=recorded.id, dataset=Dataset(id=77)))
    with pytest.raises(Conflict, match="at version 2, not 1"):
        api.put_dataset_release(DatasetRelease(id=recorded.id, version=1, row_count=9))


def test_a_release_recorded_by_mistake_is_deleted(api: ObservatoryApi, dataset: Dataset) -> None:
    first, second = api.post_dataset_releases([release(dataset, 0, 1), release(dataset, 1, 2)])
    api.delete_dataset_release(second.id)

    assert api.get_dataset_releases(dataset_id=dataset.id) == [first]
    assert api.get_coverage(dataset.id).runs == [first.period]
    with pytest.raises(NotFound):
        api.delete_dataset_release(second.id)


@pytest.mark.parametrize("state", ["empty", "unobtainable", "expired"])
def test_every_settled_state_is_not_missing(api: ObservatoryApi, dataset: Dataset, state: State) -> None:
    recorded = api.post_dataset_release(release(dataset, 0, 1, state=state, reason="so it is"))

    assert api.get_missing_releases(dataset.id, [recorded.period]) == []
    assert api.get_dataset_releases(dataset_id=dataset.id) == [recorded]
    assert api.get_coverage(dataset.id).runs == [recorded.period]
    with pytest.raises(Conflict, match=f"state: is '{state}' in the book, not 'present'"):
        api.post_dataset_release(release(dataset, 0, 1))


def test_a_batch_item_by_item_answers_for_each(api: ObservatoryApi, dataset: Dataset) -> None:
    api.post_dataset_release(release(dataset, 1, 2, row_count=1))
    many = [
        release(dataset, 0, 1),
        release(dataset, 1, 2, row_count=2),
        release(Dataset(id=77), 0, 1),
        release(dataset, 2, 3, state="withdrawn"),
        release(dataset, 0, 1),
    ]

    answers = api.post_dataset_releases(many, atomic=False)

    assert [type(answer) for answer in answers] == [
        DatasetRelease,
        Conflict,
        NotFound,
        Invalid,
        DatasetRelease,
    ]
    assert answers[0] == answers[4]
    assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 2


def test_what_is_wrong_before_it_is_sent_stands_in_its_place_too(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    answers = api.post_dataset_releases([release(dataset, 1, 0), release(dataset, 0, 1)], atomic=False)

    assert [type(answer) for answer in answers] == [Invalid, DatasetRelease]


def test_of_two_alike_in_a_batch_one_is_new(api: ObservatoryApi, dataset: Dataset) -> None:
    day = {"dataset": {"id": dataset.id}, "start_date": "2021-01-01T00:00:00Z"}
    told = [{**day, "end_date": "2021-01-02T00:00:00Z"}] * 2
    answers = api._transport._http.post("dataset-releases/batch", json={"releases": told}).json()

    assert [answer["status"] for answer in answers] == [201, 200]


def test_a_span_of_no_length_is_a_moment(api: ObservatoryApi, dataset: Dataset) -> None:
    month, snapshot = api.post_dataset_releases([release(dataset, 0, 31), release(dataset, 3, 3)])
    third = DAY_0 + timedelta(3)

    assert api.get_dataset_releases(dataset_id=dataset.id, start_date=third, end_date=third) == [
        month,
        snapshot,
    ]


def test_an_atomic_batch_names_every_item_that_is_wrong(api: ObservatoryApi, dataset: Dataset) -> None:
    api.post_dataset_release(release(dataset, 1, 2, row_count=1))

    with pytest.raises(Conflict, match="2 of 3 releases cannot be recorded, so none is") as conflict:
        api.post_dataset_releases(
            [release(dataset, 0, 1), release(dataset, 1, 2, row_count=2), release(Dataset(id=77), 0, 1)]
        )

    assert set(conflict.value.fields) == {"releases[1].row_count", "releases[2].dataset"}
    assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 1


def test_ten_thousand_are_recorded_in_one_call_and_once(api: ObservatoryApi, dataset: Dataset) -> None:
    hours = [
        DatasetRelease(
            dataset=dataset, start_date=DAY_0 + timedelta(hours=h), end_date=DAY_0 + timedelta(hours=h + 1)
        )
        for h in range(10_000)
    ]
    recorded = api.post_dataset_releases(hours)

    assert [r.period for r in recorded] == [r.period for r in hours]
    assert api.post_dataset_releases(hours) == recorded
    assert api.get_coverage(dataset.id).runs == [Period(hours[0].start_date, hours[-1].end_date)]
    with pytest.raises(Invalid, match="at most 10000, or atomic=False"):
        api.post_dataset_releases([*hours, hours[0]])


def test_missing_is_exact_to_the_microsecond(api: ObservatoryApi, dataset: Dataset) -> None:
    tick = timedelta(microseconds=1)
    api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=DAY_0, end_date=DAY_0 + 5 * tick))
    available = [(DAY_0 + s * tick, DAY_0 + e * tick) for s in (0, 1) for e in (4, 5, 6)]

    missing = api.get_missing_releases(dataset.id, available)

    assert [(r.start_date, r.end_date) for r in missing] == sorted(
        set(available) - {(DAY_0, DAY_0 + 5 * tick)}
    )


def test_what_is_missing_keeps_the_facts_it_was_offered_with(api: ObservatoryApi, dataset: Dataset) -> None:
    offered = DatasetRelease(
        start_date=DAY_0, end_date=DAY_0, version_label="1.0", published=DAY_0, extras={"file": "a.zip"}
    )
    [missing] = api.get_missing_releases(dataset.id, [offered, offered])

    assert (missing.version_label, missing.extras) == ("1.0", {"file": "a.zip"})
    assert api.post_dataset_release(missing).version_label == "1.0"
    assert api.get_missing_releases(dataset.id, [offered]) == []


def test_a_hundred_thousand_candidates_are_compared_in_one_call(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    minutes = [DAY_0 + timedelta(minutes=m) for m in range(100_001)]
    available = list(pairwise(minutes))
    api.post_dataset_releases(
        [DatasetRelease(dataset=dataset, start_date=s, end_date=e) for s, e in available[:1000]]
    )

    missing = api.get_missing_releases(dataset.id, available)

    assert [(r.start_date, r.end_date) for r in missing] == available[1000:]


def test_coverage_gives_the_gaps_of_a_span_and_counts_instants(api: ObservatoryApi, dataset: Dataset) -> None:
    spans = [(0, 1), (1, 2), (4, 6), (2, 2), (8, 8)]
    api.post_dataset_releases([release(dataset, *span) for span in spans])

    def days(start: int, end: int) -> Period:
        return Period(DAY_0 + timedelta(start), DAY_0 + timedelta(end))

    assert api.get_coverage(dataset.id) == Coverage([days(0, 2), days(4, 6)], [days(2, 4)], 2)
    within = api.get_coverage(dataset.id, DAY_0 + timedelta(1), DAY_0 + timedelta(8))
    assert within == Coverage([days(0, 2), days(4, 6)], [days(2, 4), days(6, 8)], 1)
    with pytest.raises(NotFound):
        api.get_coverage(77)


def test_releases_of_all_datasets_are_listed_by_dataset_and_period(
    api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observatory.client.connection.PAGE", 2)
    other = api.post_dataset(
        Dataset(
            name="other",
            service="s",
            address="a",
            workflow=dataset.workflow,
            dataset_type=dataset.dataset_type,
        )
    )
    api.post_dataset_releases([release(of, day, day + 1) for day in range(3) for of in (other, dataset)])

    listed = [(r.dataset.name, r.start_date) for r in api.get_dataset_releases()]

    assert listed == [(name, DAY_0 + timedelta(day)) for name in ("books", "other") for day in range(3)]
