"""A request that names itself by an Idempotency-Key is done once, however often it is sent."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import httpx2
import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi, Organisation
from observatory.access import operator
from observatory.ledger import open_database, replies
from observatory.settings import Settings

from .conftest import Caller, Contents

Serve = Callable[[Settings], str]
DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)
MANY = 16


def day(dataset: Dataset, number: int, **facts: Any) -> dict[str, Any]:
    at = DAY_0 + timedelta(number)
    period = {"start_date": at.isoformat(), "end_date": (at + timedelta(1)).isoformat()}
    return {"dataset": {"id": dataset.id}, **period, **facts}


def post(caller: Caller, path: str, token: str, **body: Any) -> httpx2.Response:
    return caller.send("POST", path, json.dumps(body), idempotency_key=token)


def entries(contents: Callable[[], Contents]) -> list[tuple[Any, ...]]:
    """Returns what the journal says of changes: who reads an address changes nothing."""
    return [row for row in contents()["journal"] if "read" not in row]


def test_what_is_sent_twice_is_done_once(caller: Caller, contents: Callable[[], Contents]) -> None:
    for path, body in (
        ("/organisations", {"name": "a"}),
        ("/workflow-types", {"type_id": "a", "name": "a"}),
        ("/table-types", {"type_id": "a", "name": "a"}),
        ("/dataset-types", {"type_id": "a", "name": "a", "table_type": {"id": 1}}),
        ("/workflows", {"name": "a", "organisation": {"id": 1}, "workflow_type": {"id": 1}}),
        (
            "/datasets",
            {"name": "a", "service": "s", "address": "a", "workflow": {"id": 1}, "dataset_type": {"id": 1}},
        ),
        ("/accounts", {"name": "a", "grants": [{"role": "reader"}]}),
    ):
        first = post(caller, path, path, **body)
        known = entries(contents)
        again = post(caller, path, path, **body)

        assert first.status_code == again.status_code == 201, again.text
        assert first.json() == again.json()
        assert entries(contents) == known


def test_of_many_that_send_it_at_once_all_are_answered_the_same(
    server_url: str, contents: Callable[[], Contents]
) -> None:
    callers = [Caller(server_url) for _ in range(MANY)]
    for caller in callers:
        caller.send("GET", "/table-types")
    for number in range(5):
        start = Barrier(MANY)

        def create(caller: Caller, number: int = number, start: Barrier = start) -> httpx2.Response:
            start.wait(10)
            return post(caller, "/organisations", f"token {number}", name=f"o{number}")

        with ThreadPoolExecutor(MANY) as pool:
            answers = list(pool.map(create, callers))
        assert Counter(answer.status_code for answer in answers) == {201: MANY}
        assert len({answer.text for answer in answers}) == 1
    for caller in callers:
        caller.http.close()
    made = [row for row in entries(contents) if "Organisation" in row]
    assert len(made) == len(contents()["organisations"]) == 5


def test_the_name_of_one_request_is_refused_for_another(caller: Caller) -> None:
    first = post(caller, "/organisations", "t", name="a")

    for path, body in (("/organisations", {"name": "b"}), ("/workflow-types", {"type_id": "a", "name": "a"})):
        told = post(caller, path, "t", **body)
        assert told.status_code == 409
        assert "was used for another request" in told.text
    assert caller.send("GET", "/organisations").json() == [first.json()]


def test_an_attempt_that_failed_is_not_remembered(caller: Caller, contents: Callable[[], Contents]) -> None:
    body = {"name": "w", "organisation": {"id": 1}, "workflow_type": {"id": 1}}
    assert post(caller, "/workflows", "t", **body).status_code == 404
    assert post(caller, "/workflows", "t", name="w").status_code == 422
    assert contents()["replies"] == []
    post(caller, "/organisations", "o", name="o")
    post(caller, "/workflow-types", "k", type_id="k", name="k")

    assert post(caller, "/workflows", "t", **body).status_code == 201
    assert post(caller, "/workflows", "t", **body).status_code == 201
    assert len(contents()["workflows"]) == 1


def test_it_is_remembered_across_a_restart(caller: Caller, serve: Serve, database_url: str) -> None:
    first = post(caller, "/organisations", "t", name="a")

    other = Caller(serve(Settings(database_url=database_url)))
    assert post(other, "/organisations", "t", name="a").json() == first.json()
    assert post(other, "/organisations", "t", name="b").status_code == 409
    other.http.close()


def test_it_says_how_the_record_is_now(caller: Caller, api: ObservatoryApi) -> None:
    id = post(caller, "/organisations", "t", name="a").json()["id"]
    api.put_organisation(Organisation(id=id, extras={"now": 1}))

    assert post(caller, "/organisations", "t", name="a").json()["extras"] == {"now": 1}
    api.delete_organisation(id)
    assert post(caller, "/organisations", "t", name="a").status_code == 404
    assert api.get_organisations() == []


def test_a_batch_is_remembered_part_by_part(
    caller: Caller, dataset: Dataset, contents: Callable[[], Contents]
) -> None:
    releases = [day(dataset, number) for number in range(2500)]
    releases[1500]["state"] = "withdrawn"
    first = post(caller, "/dataset-releases/batch", "t", releases=releases, atomic=False)
    known = entries(contents)
    again = post(caller, "/dataset-releases/batch", "t", releases=releases, atomic=False)

    assert first.status_code == again.status_code == 200
    statuses = [[answer["status"] for answer in told.json()] for told in (first, again)]
    assert Counter(statuses[0]) == {201: 2499, 422: 1}
    # What was refused may be good by now, so its part is told anew: what is there already is found.
    assert statuses[1] == [201] * 1000 + [200] * 500 + [422] + [200] * 499 + [201] * 500
    assert [a.get("release") for a in again.json()] == [a.get("release") for a in first.json()]
    assert entries(contents) == known
    assert {row[1] for row in contents()["replies"]} >= {"t#0", "t#1000", "t#2000"}


def test_a_batch_of_which_a_part_was_done_goes_on_behind_it(caller: Caller, dataset: Dataset) -> None:
    releases = [day(dataset, number) for number in range(2000)]
    post(caller, "/dataset-releases/batch", "first", releases=releases[:1000], atomic=False)

    told = post(caller, "/dataset-releases/batch", "whole", releases=releases, atomic=False).json()
    again = post(caller, "/dataset-releases/batch", "whole", releases=releases, atomic=False).json()
    assert [answer["status"] for answer in told] == [200] * 1000 + [201] * 1000
    assert again == told


def test_the_secret_of_a_key_is_not_shown_again(caller: Caller, contents: Callable[[], Contents]) -> None:
    account = post(caller, "/accounts", "a", name="a", grants=[{"role": "reader"}]).json()
    first = post(caller, "/keys", "k", account={"id": account["id"]})
    again = post(caller, "/keys", "k", account={"id": account["id"]})

    assert first.status_code == 201
    assert (again.status_code, f"key {first.json()['key']['id']}" in again.text) == (409, True)
    secret = first.json()["secret"]
    assert secret not in again.text
    assert len(contents()["accounts"]) == 2
    assert secret.split("_")[2] not in str(contents())


def test_a_release_has_an_identity_of_its_own(caller: Caller, dataset: Dataset, api: ObservatoryApi) -> None:
    first = post(caller, "/dataset-releases", "t", **day(dataset, 0))
    again = post(caller, "/dataset-releases", "t", **day(dataset, 0, ingestion_start="2021-01-05T00:00:00Z"))
    other = post(caller, "/dataset-releases", "t", **day(dataset, 1))

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 201)
    assert first.json() == again.json()
    assert other.json()["id"] != first.json()["id"]
    assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 2


def test_a_token_hides_no_other_facts(caller: Caller, dataset: Dataset) -> None:
    for path, name in (("/dataset-releases", "one"), ("/dataset-releases/batch", "many")):
        for rows, status in ((7, 201), (7, 201), (8, 409)):
            release = day(dataset, len(path), row_count=rows)
            body: dict[str, Any] = {"releases": [release], "atomic": False} if name == "many" else release
            told = post(caller, path, name, **body)
            answer = told.json()[0] if name == "many" else told.json()
            assert (answer["status"] if name == "many" else told.status_code) == status
            assert ("is 7 in the book, not 8" in told.text) == (rows == 8)


def test_a_release_that_does_not_say_what_it_is_is_refused_with_a_token_too(caller: Caller) -> None:
    bodies: list[dict[str, Any]] = [{}, {"dataset": {}}, {"dataset": {"id": 1}}]
    for body in bodies:
        assert post(caller, "/dataset-releases", "t", **body).status_code == 422
        assert post(caller, "/dataset-releases/batch", "t", releases=[body]).status_code == 422


def test_a_release_that_was_withdrawn_since_is_recorded_anew(
    caller: Caller, dataset: Dataset, api: ObservatoryApi
) -> None:
    first = post(caller, "/dataset-releases", "t", **day(dataset, 0)).json()
    api.put_dataset_release(DatasetRelease(id=first["id"], state="withdrawn", reason="bad"))

    again = post(caller, "/dataset-releases", "t", **day(dataset, 0)).json()
    assert (again["revision"], again["state"]) == (2, "present")


def test_each_account_has_tokens_of_its_own(caller: Caller, server_url: str) -> None:
    account = post(caller, "/accounts", "a", name="other", grants=[{"role": "admin"}]).json()
    key = post(caller, "/keys", "k", account={"id": account["id"]}).json()["secret"]
    other = Caller(server_url, key)
    mine = post(caller, "/organisations", "t", name="a")
    theirs = post(other, "/organisations", "t", name="b")
    other.http.close()

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("token", ["", "x" * 251, "é", "a\tb"])
def test_a_token_that_cannot_be_kept_is_refused(caller: Caller, token: str) -> None:
    headers = {b"Idempotency-Key": token.encode("latin-1"), b"Content-Type": b"application/json"}
    told = caller.http.post("/organisations", content=b'{"name": "a"}', headers=headers)

    assert told.status_code == 422
    assert set(told.json()["fields"]) == {"Idempotency-Key"}
    assert caller.send("GET", "/organisations").json() == []


def test_it_is_forgotten_after_seven_days(
    caller: Caller, database_url: str, contents: Callable[[], Contents]
) -> None:
    post(caller, "/organisations", "t", name="a")

    async def forget(days: float) -> None:
        book = open_database(database_url)
        async with book.running():
            await book.write(operator(), replies.forget, datetime.now(UTC) + timedelta(days))

    asyncio.run(forget(6.9))
    assert len(contents()["replies"]) == 1
    asyncio.run(forget(7.1))
    assert contents()["replies"] == []
    assert post(caller, "/organisations", "t", name="b").status_code == 201


def test_a_server_forgets_by_itself(
    caller: Caller,
    serve: Serve,
    database_url: str,
    contents: Callable[[], Contents],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post(caller, "/organisations", "t", name="a")
    monkeypatch.setattr(replies, "KEPT", timedelta(0))

    serve(Settings(database_url=database_url))
    until = time.monotonic() + 10
    while contents()["replies"] and time.monotonic() < until:
        time.sleep(0.05)
    assert contents()["replies"] == []
