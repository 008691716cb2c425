"""Many callers at once: each is answered as if alone, and the book is as if they had come in turn."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import httpx2
import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi, Organisation, Period
from observatory.intervals import merge

from .conftest import Caller, Contents, Served

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)
MANY = 8


def day(dataset: Dataset, number: int, **facts: Any) -> DatasetRelease:
    at = DAY_0 + timedelta(number)
    return DatasetRelease(dataset=dataset, start_date=at, end_date=at + timedelta(1), **facts)


def told(dataset: int, number: int) -> dict[str, Any]:
    at = DAY_0 + timedelta(number)
    period = {"start_date": at.isoformat(), "end_date": (at + timedelta(1)).isoformat()}
    return {"dataset": {"id": dataset}, **period}


@pytest.fixture
def together(server_url: str) -> Iterator[Callable[[Callable[[Caller, int], Any]], list[Any]]]:
    """Calls a function from many threads at the same moment, each with a caller of its own and its number."""
    callers = [Caller(server_url) for _ in range(MANY)]
    for caller in callers:
        caller.send("GET", "/organisations")  # opens its connection

    def run(work: Callable[[Caller, int], Any]) -> list[Any]:
        start = Barrier(MANY)

        def one(number: int) -> Any:
            start.wait(10)
            return work(callers[number], number)

        with ThreadPoolExecutor(MANY) as pool:
            return list(pool.map(one, range(MANY)))

    yield run
    for caller in callers:
        caller.http.close()


Together = Callable[[Callable[[Caller, int], Any]], list[Any]]


def posting(path: str, *bodies: str) -> Callable[[Caller, int], httpx2.Response]:
    """Posts the body of the caller's number, or all the same one."""
    return lambda caller, number: caller.send("POST", path, bodies[number % len(bodies)])


def test_of_many_that_record_the_same_period_first_one_is_told_that_it_is_new(
    together: Together, api: ObservatoryApi, dataset: Dataset
) -> None:
    for number in range(10):
        body = json.dumps(told(dataset.id, number))
        answers = together(posting("/dataset-releases", body))

        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: MANY - 1}
        assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get_dataset_releases(dataset_id=dataset.id, history=True)) == 10


def test_many_may_record_into_a_new_dataset_at_once(
    together: Together, api: ObservatoryApi, dataset: Dataset
) -> None:
    for number in range(8):
        new = api.post_dataset(
            Dataset(
                name=f"new {number}",
                service="s",
                address="a",
                workflow=dataset.workflow,
                dataset_type=dataset.dataset_type,
            )
        )
        answers = together(posting("/dataset-releases", *[json.dumps(told(new.id, n)) for n in range(MANY)]))

        assert [answer.status_code for answer in answers] == [201] * MANY
        assert api.get_coverage(new.id).runs == [Period(DAY_0, DAY_0 + timedelta(MANY))]


def test_of_two_that_withdraw_and_record_anew_coverage_is_what_the_releases_say(
    together: Together, api: ObservatoryApi, dataset: Dataset
) -> None:
    releases = api.post_dataset_releases([day(dataset, number) for number in range(MANY)])

    def withdraw_or_record(caller: Caller, number: int) -> list[int]:
        statuses = []
        for _ in range(5):
            release = releases[number // 2]
            if number % 2:
                body = json.dumps({"state": "withdrawn", "reason": "bad"})
                found = caller.send("PATCH", f"/dataset-releases/{release.id}", body)
            else:
                body = json.dumps(told(dataset.id, number // 2))
                found = caller.send("POST", "/dataset-releases", body)
            statuses.append(found.status_code)
        return statuses

    statuses = {status for answered in together(withdraw_or_record) for status in answered}
    # 409: it was withdrawn, recorded anew, and is history now.
    assert statuses <= {200, 201, 409}
    settled = api.get_dataset_releases(dataset_id=dataset.id)
    assert api.get_coverage(dataset.id).runs == merge(release.period for release in settled)
    revisions = Counter(
        (release.period, release.state == "superseded")
        for release in api.get_dataset_releases(dataset_id=dataset.id, history=True)
    )
    assert [period for (period, history), count in revisions.items() if not history and count > 1] == []


def test_a_dataset_is_deleted_or_recorded_into_and_never_both(
    together: Together, api: ObservatoryApi, dataset: Dataset, contents: Callable[[], Contents]
) -> None:
    for number in range(12):
        new = api.post_dataset(
            Dataset(
                name=f"new {number}",
                service="s",
                address="a",
                workflow=dataset.workflow,
                dataset_type=dataset.dataset_type,
            )
        )

        def delete_or_record(caller: Caller, n: int, id: int = new.id) -> tuple[int, str]:
            if n % 4 == 0:
                answer = caller.send("DELETE", f"/datasets/{id}")
            else:
                answer = caller.send("POST", "/dataset-releases", json.dumps(told(id, n)))
            return answer.status_code, answer.text

        answers = together(delete_or_record)
        deleted, recorded = answers[::4], [answer for i, answer in enumerate(answers) if i % 4]
        assert {status for status, _ in deleted} <= {204, 404, 409}, deleted
        assert {status for status, _ in recorded} <= {201, 404, 409}, recorded
        is_gone = any(status == 204 for status, _ in deleted)
        assert is_gone != any(status == 201 for status, _ in recorded)
    held = contents()
    ids = {row[0] for row in held["datasets"]}
    assert {row[0] for row in held["holdings"]} <= ids
    assert {row[0] for row in held["coverage"]} <= ids


@pytest.mark.parametrize("path", ["/datasets/1", "/dataset-releases/1"])
def test_of_many_changes_to_one_version_exactly_one_is_made(
    together: Together, api: ObservatoryApi, dataset: Dataset, path: str
) -> None:
    api.post_dataset_release(day(dataset, 0))
    for version in range(1, 16):

        def change(caller: Caller, n: int, version: int = version) -> int:
            body = json.dumps({"version": version, "extras": {"by": n, "version": version}})
            return caller.send("PATCH", path, body).status_code

        assert Counter(together(change)) == {200: 1, 412: MANY - 1}


def test_of_many_that_create_one_name_exactly_one_does(together: Together, api: ObservatoryApi) -> None:
    for number in range(10):
        body = json.dumps({"name": f"o{number}"})
        answers = together(posting("/organisations", body))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: MANY - 1}


def test_batches_over_the_same_datasets_in_any_order_never_block_each_other(
    together: Together, api: ObservatoryApi, dataset: Dataset
) -> None:
    others = [
        api.post_dataset(
            Dataset(
                name=f"other {i}",
                service="s",
                address="a",
                workflow=dataset.workflow,
                dataset_type=dataset.dataset_type,
            )
        )
        for i in range(4)
    ]
    ids = [other.id for other in others]

    def record(caller: Caller, n: int) -> list[int]:
        order = ids if n % 2 else ids[::-1]
        statuses = []
        for round in range(6):
            releases = [told(id, number) for id in order for number in range(round * 20, round * 20 + 40)]
            body = json.dumps({"releases": releases if n % 3 else releases[::-1]})
            statuses.append(caller.send("POST", "/dataset-releases/batch", body).status_code)
        return statuses

    assert together(record) == [[200] * 6] * MANY
    for other in others:
        assert len(api.get_dataset_releases(dataset_id=other.id, history=True)) == 140
        assert api.get_coverage(other.id).runs == [Period(DAY_0, DAY_0 + timedelta(140))]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_two_servers_may_share_a_file_and_nobody_hears_of_locks(
    served: Callable[..., Served], database_url: str, api: ObservatoryApi, dataset: Dataset
) -> None:
    urls = [served(database_url).url, served(database_url).url]
    each = 25

    def work(number: int) -> None:
        with ObservatoryApi(urls[number % 2]) as mine:
            mine._transport._attempts = 1  # so that a refusal is seen, and not repeated
            for i in range(each):
                mine.post_organisation(Organisation(name=f"{number} {i}"))
                mine.post_dataset_release(day(dataset, number * each + i))
                assert mine.get_dataset(dataset.id) == dataset

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(16))
        list(pool.map(work, range(16)))
    assert len(api.get_organisations()) == 16 * each + 1
    assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 16 * each
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(16 * each))]
