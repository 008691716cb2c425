"""The journal as programs read it: whole, on and on, through restarts of the server, and of one record."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import assert_type

import pytest

from observatory import (
    Dataset,
    DatasetRelease,
    Entry,
    Gone,
    Invalid,
    ListWasCut,
    ObservatoryApi,
    Organisation,
    Unavailable,
)
from observatory.records import is_given

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)


def release(dataset: Dataset, number: int) -> DatasetRelease:
    at = DAY_0 + timedelta(number)
    return DatasetRelease(dataset=dataset, start_date=at, end_date=at + timedelta(1), row_count=number)


def test_every_change_is_in_the_journal_with_who_made_it(api: ObservatoryApi, dataset: Dataset) -> None:
    api.put_dataset(Dataset(id=dataset.id, service="duckdb"))
    made = api.post_dataset_release(release(dataset, 1))
    api.put_dataset_release(DatasetRelease(id=made.id, state="withdrawn", reason="bad"))
    api.delete_dataset_release(made.id)

    of_dataset = [entry for entry in api.get_journal(dataset_id=dataset.id) if entry.action != "read"]
    assert_type(of_dataset, list[Entry])
    assert [(entry.action, entry.kind) for entry in of_dataset] == [
        ("create", "Dataset"),
        ("change", "Dataset"),
        ("create", "DatasetRelease"),
        ("change", "DatasetRelease"),
        ("delete", "DatasetRelease"),
    ]
    changed = of_dataset[1]
    assert changed.before == {"service": "bigquery"}
    assert changed.after
    assert changed.after["service"] == "duckdb"
    assert {entry.actor for entry in of_dataset} == {"admin"}
    assert all(entry.organisation_id == dataset.workflow.organisation.id for entry in of_dataset)
    assert "a.b.c" not in json.dumps([str(entry) for entry in api.get_journal()])


def test_the_journal_is_whole_whatever_the_size_of_its_pages(
    api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.post_dataset_releases([release(dataset, number) for number in range(30)])
    whole = api.get_journal()
    monkeypatch.setattr("observatory.client.journal.PAGE", 7)
    assert api.get_journal() == whole
    assert api.get_journal(after=whole[10].cursor) == whole[11:]
    with pytest.warns(ListWasCut):
        assert api.get_journal(limit=20) == whole[:20]
    assert api.get_journal(limit=len(whole)) == whole
    assert api.get_journal(kind="DatasetRelease", record_id=3) == [e for e in whole if e.record_id == 3][-1:]
    hour = timedelta(hours=1)
    assert api.get_journal(since=whole[-1].time + hour) == []
    assert api.get_journal(until=whole[-1].time + hour, actor="admin") == [
        entry for entry in whole if entry.actor == "admin"
    ]


def test_the_history_of_a_dataset_shows_that_its_address_changed(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    api.put_dataset(Dataset(id=dataset.id, address="d.e.f"))
    api.put_dataset(Dataset(id=dataset.id, address="a.b.c"))
    told = [e.after["address"] for e in api.get_history(dataset) if e.action != "read" and e.after]
    assert len(told) == 3
    assert told[0] == told[2] != told[1]
    assert not any("a.b.c" in text or "d.e.f" in text for text in told)


def test_a_cursor_that_leads_nowhere_is_refused(api: ObservatoryApi) -> None:
    for cursor in ("", "x", "1", f"0.{10**17}"):
        with pytest.raises(Invalid, match="after"):
            api.get_journal(after=cursor)
    assert issubclass(Gone, Exception)


def test_a_follower_sees_each_change_once_and_soon(api: ObservatoryApi, dataset: Dataset) -> None:
    follower = api.follow_journal(after=api.get_journal()[-1].cursor)
    seen: list[Entry] = []
    thread = threading.Thread(target=lambda: seen.extend(islice(follower, 30)))
    thread.start()
    for number in range(10):
        api.post_dataset_release(release(dataset, number))
    api.post_dataset_releases([release(dataset, number) for number in range(10, 30)])
    told = time.monotonic()
    thread.join(10)
    assert time.monotonic() - told < 3
    assert [entry.after["row_count"] for entry in seen if entry.after] == list(range(30))
    assert len({entry.cursor for entry in seen}) == 30


def test_a_follower_begins_now_if_asked_and_sees_what_it_asks_for_only(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    follower = api.follow_journal(after="now", kind="Organisation")
    seen: list[Entry] = []
    thread = threading.Thread(target=lambda: seen.extend(islice(follower, 1)))
    thread.start()
    for number in range(100):
        api.post_dataset_release(release(dataset, number))
        if not number % 10:
            api.post_organisation(Organisation(name=f"number {number}"))
    thread.join(10)
    assert [entry.kind for entry in seen] == ["Organisation"]


def test_a_follower_of_a_server_that_was_never_there_is_told_so(api: ObservatoryApi) -> None:
    with ObservatoryApi("http://127.0.0.1:9", api_key="x") as nowhere:
        nowhere._transport._attempts = 1
        with pytest.raises(Unavailable):
            next(nowhere.follow_journal())


def test_what_the_book_said_at_a_time_is_answered(api: ObservatoryApi, dataset: Dataset) -> None:
    first = api.post_dataset_release(release(dataset, 1))
    before = api.get_journal()[-1].time
    api.put_dataset_release(DatasetRelease(id=first.id, state="withdrawn", reason="bad"))
    api.post_dataset_release(release(dataset, 2))
    api.put_dataset(Dataset(id=dataset.id, service="duckdb", address="d.e.f"))

    assert api.get_dataset_releases(dataset_id=dataset.id, as_of=before) == [first]
    assert api.get_dataset_release(first.id, as_of=before) == first
    then = api.get_dataset(dataset.id, as_of=before)
    assert (then.service, then.version, is_given(then.address)) == ("bigquery", 1, False)
    assert then.workflow == dataset.workflow
    assert [d.service for d in api.get_datasets(as_of=before, service="bigquery")] == ["bigquery"]
    with pytest.raises(Invalid, match="as_of"):
        api.get_dataset(dataset.id, as_of=DAY_0)
    with pytest.raises(Invalid, match="as_of"):
        api.get_dataset(dataset.id, as_of=datetime(2021, 1, 1))  # it has no zone
