"""Who is served when there is more to do than can be done: order, waiting, refusal, and the rate of a key."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.server.admission import BURST, KEYS, Places, Rates, Urgency, urgency
from observatory.settings import Settings

from .conftest import admin_key

RECORDING, TASK, PARSING, PAGE = Urgency
ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database has no part in it


@pytest.mark.parametrize(
    ("method", "path", "query", "purpose", "expected"),
    [
        ("POST", "/v1/dataset-releases", b"", None, RECORDING),
        ("POST", "/v1/dataset-releases/batch", b"", b"parsing", RECORDING),
        ("PATCH", "/v1/dataset-releases/7", b"", None, RECORDING),
        ("GET", "/v1/dataset-releases", b"dataset_id=3", None, TASK),
        ("GET", "/v1/datasets/3", b"", None, TASK),
        ("POST", "/v1/datasets/3/missing", b"", None, TASK),
        ("POST", "/v1/datasets", b"", None, TASK),
        ("DELETE", "/v1/dataset-releases/7", b"", None, TASK),
        ("GET", "/v1/datasets/3", b"", b"parsing", PARSING),
        ("GET", "/v1/datasets", b"", b"parsing", PARSING),
        ("GET", "/v1/datasets", b"", None, PAGE),
        ("GET", "/v1/datasets", b"limit=10&after=30", None, PAGE),
        ("GET", "/v1/datasets", b"limit=10&workflow_id=3", None, TASK),
        ("GET", "/v1/openapi.json", b"", None, PAGE),
        ("GET", "/docs", b"", None, PAGE),
        ("GET", "/", b"", None, PAGE),
    ],
)
def test_each_request_has_its_urgency(
    method: str, path: str, query: bytes, purpose: bytes | None, expected: Urgency
) -> None:
    assert urgency(method, path, query, purpose) == expected


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


async def begin(places: Places, urgency: Urgency) -> "asyncio.Task[str]":
    task = asyncio.create_task(places.enter(urgency))
    await asyncio.sleep(0)
    return task


def test_the_most_urgent_is_served_first_and_among_equals_the_first() -> None:
    async def story() -> None:
        places = Places(4)
        served: list[str] = []
        for _ in range(4):
            assert await places.enter(PAGE) == ""

        async def ask(name: str, urgency: Urgency) -> None:
            assert await places.enter(urgency) == ""
            served.append(name)

        asked = [("page", PAGE), ("task 1", TASK), ("task 2", TASK), ("recording", RECORDING)]
        tasks = [asyncio.create_task(ask(*one)) for one in asked]
        await asyncio.sleep(0)
        for _ in tasks:
            places.leave()
            await asyncio.sleep(0)
        assert served == ["recording", "task 1", "task 2", "page"]

    run(story())


def test_who_is_more_urgent_pushes_out_the_last_of_the_least_urgent() -> None:
    async def story() -> None:
        places = Places(2)
        assert [await places.enter(TASK), await places.enter(TASK)] == ["", ""]
        first, last = await begin(places, PAGE), await begin(places, PAGE)
        assert await places.enter(PAGE) == "busy"
        recording = await begin(places, RECORDING)
        assert await last == "pushed out"
        task = await begin(places, TASK)
        assert await first == "pushed out"
        assert await places.enter(TASK) == "busy"
        places.leave()
        assert await recording == ""
        places.leave()
        assert await task == ""
        places.leave()
        places.leave()
        assert (places.free, places.waiting) == (2, 0)

    run(story())


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observatory.server.admission.PATIENCE", 0.05)

    async def story() -> None:
        places = Places(1)
        assert await places.enter(TASK) == ""
        assert await places.enter(RECORDING) == "waited"
        back = asyncio.create_task(places.come_back())
        await asyncio.sleep(0.2)
        assert not back.done()  # who had a place already is not sent away
        places.leave()
        await back

    run(story())


def is_inside(task: "asyncio.Task[str]") -> bool:
    return task.done() and not task.cancelled() and task.result() == ""


@given(st.lists(st.tuples(st.sampled_from(Urgency), st.sampled_from(["leave", "give up", "both", ""]))))
def test_no_place_is_lost_or_made_whoever_comes_and_gives_up(callers: list[tuple[Urgency, str]]) -> None:
    async def story() -> None:
        places = Places(3)
        tasks: list[asyncio.Task[str]] = []
        for asked, then in callers:
            newest = await begin(places, asked)
            tasks.append(newest)
            if then in ("leave", "both") and (inside := next(filter(is_inside, tasks), None)):
                tasks.remove(inside)
                places.leave()
            if then in ("give up", "both"):
                newest.cancel()  # with both, it may just have been given the place
        while any(tasks):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for _ in filter(is_inside, tasks):
                places.leave()
            tasks = [task for task in tasks if not task.done()]
        assert (places.free, places.waiting) == (3, 0)

    run(story())


def test_a_key_has_its_rate_and_a_burst() -> None:
    rates = Rates(10)
    at_once = [rates.wait("key", 100.0) for _ in range(25)]
    assert at_once[: 10 * BURST] == [0] * 10 * BURST
    assert all(0 < wait <= 0.1 + 1e-9 for wait in at_once[10 * BURST :])
    assert rates.wait("another", 100.0) == 0
    later = [rates.wait("key", 100 + at / 20) for at in range(1, 201)]
    assert later.count(0) == pytest.approx(100, abs=1)


def test_the_memory_of_keys_is_bounded() -> None:
    rates = Rates(10)
    for number in range(3 * KEYS):
        assert rates.wait(number, 100 + number / 1e6) == 0
    assert len(rates._busy_until) <= KEYS


@ONE
def test_a_key_that_asks_too_much_is_told_when_to_come_again(
    serve: Callable[[Settings], str], database_url: str
) -> None:
    url = serve(Settings(database_url=database_url, rate=5))
    headers = {"Authorization": f"Bearer {admin_key(url)}"}
    with httpx2.Client(base_url=url) as http:
        answers = [http.get("/v1/table-types", headers=headers) for _ in range(20)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:10] == [200] * 10
        refused = answers[-1]
        assert refused.status_code == refused.json()["status"] == 429
        assert refused.json()["title"] == "Throttled"
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["Retry-After"] == "1"
        assert http.get("/v1/table-types").status_code == 401  # another caller, who is asked for a key first
        assert {http.get("/livez").status_code for _ in range(30)} == {200}
        time.sleep(1)
        assert http.get("/v1/table-types", headers=headers).status_code == 200


@ONE
def test_what_cannot_be_served_soon_is_refused_at_once_and_health_is_always_answered(
    serve: Callable[[Settings], str], database_url: str
) -> None:
    url = serve(Settings(database_url=database_url, in_flight=1, rate=0))
    headers = {"Authorization": f"Bearer {admin_key(url)}"}

    def ask(number: int) -> httpx2.Response:
        return http.get("/livez" if number % 4 == 0 else "/v1/dataset-releases?limit=1000", headers=headers)

    with httpx2.Client(base_url=url) as http, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(400)))
    assert {answer.status_code for answer in answers[::4]} == {200}
    others = [answer for number, answer in enumerate(answers) if number % 4]
    refused = [answer for answer in others if answer.status_code == 503]
    assert {answer.status_code for answer in others} == {200, 503}
    assert refused[0].json()["title"] == "Unavailable"
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert all(answer.headers["X-Request-ID"] for answer in answers)
