"""What is wrong in a release, a batch or the candidates is named with its place, and nothing is stored."""

import json
from collections.abc import Callable
from typing import Any

from observatory import Dataset

from .conftest import Caller, Contents

PERIOD = {"start_date": "2031-01-01T00:00:00Z", "end_date": "2031-01-02T00:00:00Z"}
EARLY, LATE = "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"
NOWHERE = {"dataset": {"id": 99}}

# The same of a release, said by what differs from a good one.
WRONG_RELEASES: list[tuple[str, dict[str, Any]]] = [
    ("start_date", {"start_date": "2031-01-01T00:00:00"}),
    ("start_date", {"start_date": "2031-01-01"}),
    ("start_date", {"start_date": "2031-02-30T00:00:00Z"}),
    ("start_date", {"start_date": "0000-01-01T00:00:00Z"}),
    ("start_date", {"start_date": 1}),
    ("start_date", {"start_date": None}),
    ("start_date", {"start_date": EARLY}),
    ("end_date", {"end_date": LATE}),
    ("end_date", {"end_date": "2030-12-31T23:59:59.999999Z"}),
    ("published", {"published": "2031-01-01T00:00:00"}),
    ("published", {"published": LATE}),
    ("ingestion_start", {"ingestion_start": EARLY}),
    ("row_count", {"row_count": -1}),
    ("row_count", {"row_count": 2**63}),
    ("row_count", {"row_count": 1.5}),
    ("row_count", {"row_count": "1"}),
    ("revision", {"revision": 0}),
    ("state", {"state": "lost"}),
    ("state", {"state": None}),
    ("state", {"state": "withdrawn"}),
    ("state", {"state": "superseded"}),
    ("digest", {"digest": "a\x00"}),
    ("reason", {"reason": "x" * 2001}),
    ("run.dag", {"run": {"dag": "a"}}),
    ("run.map_index", {"run": {"map_index": 2**31}}),
    ("run", {"run": []}),
    ("extras", {"extras": None}),
    ("dataset", {"dataset": None}),
    ("dataset", {"dataset": 1}),
    ("dataset", {"dataset": {}}),
    ("dataset", {"dataset": {"name": "books"}}),
    ("dataset", NOWHERE),
    ("dataset.id", {"dataset": {"id": -1}}),
    ("dataset.nmae", {"dataset": {"id": 1, "nmae": "b"}}),
    ("dataset.workflow.organisation.b", {"dataset": {"id": 1, "workflow": {"organisation": {"b": 1}}}}),
]


def test_what_is_wrong_in_a_release_is_named_alone_and_in_a_batch(
    caller: Caller, contents: Callable[[], Contents], dataset: Dataset
) -> None:
    good = {"dataset": {"id": dataset.id}, **PERIOD}
    before = contents()
    for place, wrong in WRONG_RELEASES:
        body = json.dumps(good | wrong)
        for path, told, at in (
            ("/dataset-releases", body, place),
            (
                "/dataset-releases/batch",
                f'{{"releases":[{json.dumps(good)},{body}]}}',
                f"releases[1].{place}",
            ),
        ):
            problem = caller.problem("POST", path, told)
            status = 404 if wrong == NOWHERE else 422
            assert (problem.status, at in problem.fields) == (status, True), (at, problem)

    assert contents() == before


def test_what_is_absent_of_a_release_is_named(caller: Caller, dataset: Dataset) -> None:
    assert caller.problem("POST", "/dataset-releases", "{}").fields == {"dataset", "start_date", "end_date"}


def test_what_is_wrong_in_a_change_of_a_release_is_named(
    caller: Caller, contents: Callable[[], Contents], dataset: Dataset
) -> None:
    good = json.dumps({"dataset": {"id": dataset.id}, **PERIOD})
    assert caller.send("POST", "/dataset-releases", good).status_code == 201
    before = contents()
    unchangeable = [
        ("dataset", {"dataset": {"id": 2}}),
        ("start_date", {"start_date": "2030-01-01T00:00:00Z"}),
        ("revision", {"revision": 2}),
        ("reason", {"state": "withdrawn"}),
        ("state", {"state": "superseded", "reason": "by hand"}),
        ("id", {"id": 2}),
    ]
    also_when_new = [wrong for wrong in WRONG_RELEASES if wrong[1] not in ({"state": "withdrawn"},)]
    for place, wrong in unchangeable + also_when_new:
        problem = caller.problem("PATCH", "/dataset-releases/1", json.dumps(wrong))
        assert (problem.status, place in problem.fields) == (422, True), (wrong, problem)

    assert contents() == before


def test_a_wrong_batch_is_refused(caller: Caller) -> None:
    for place, body in (
        ("body", "{}"),
        ("releases", '{"releases": null}'),
        ("releases", '{"releases": {}}'),
        ("releases", '{"releases": [' + ",".join(["{}"] * 10_001) + "]}"),
        ("releases[0]", '{"releases": [null]}'),
        ("releases[0].dataset", '{"releases": [' + ",".join(["{}"] * 100) + "]}"),
        ("atomic", '{"releases": [], "atomic": null}'),
        ("atomic", '{"releases": [], "atomic": "yes"}'),
        ("all", '{"releases": [], "all": true}'),
    ):
        problem = caller.problem("POST", "/dataset-releases/batch", body)
        assert (problem.status, place in problem.fields) == (422, True), problem
        assert len(problem.fields) <= 20


def test_one_that_is_wrong_in_a_batch_item_by_item_stops_none_of_the_others(
    caller: Caller, dataset: Dataset
) -> None:
    good = {"dataset": {"id": dataset.id}, **PERIOD}
    releases = [good | {"end_date": LATE}, good, good | {"dataset": {"id": 99}}]
    body = json.dumps({"releases": releases, "atomic": False})
    answers = caller.send("POST", "/dataset-releases/batch", body).json()

    assert [answer["status"] for answer in answers] == [422, 201, 404]
    assert [set(answer["problem"]["fields"]) for answer in answers[::2]] == [{"end_date"}, {"dataset"}]


def test_wrong_candidates_are_refused(caller: Caller, dataset: Dataset) -> None:
    def of(**wrong: object) -> str:
        return json.dumps({"available": [PERIOD, PERIOD | wrong]})

    for place, body in (
        ("body", "{}"),
        ("available", '{"available": null}'),
        ("available[0]", '{"available": [1]}'),
        ("available[0]", '{"available": [{"start_date": "2021-01-01T00:00:00Z"}]}'),
        ("available[1].state", of(state="present")),
        ("available[1].start_date", of(start_date=EARLY)),
        ("available[1].end_date", of(end_date=LATE)),
        ("available[1].end_date", of(end_date="2020-01-01T00:00:00Z")),
        ("available[1].end_date", of(end_date="2031-01-02T00:00:00")),
        ("available", json.dumps({"available": [PERIOD] * 100_001})),
    ):
        problem = caller.problem("POST", f"/datasets/{dataset.id}/missing", body)
        assert (problem.status, place in problem.fields) == (422, True), problem


def test_candidates_with_other_zones_are_the_same_moments(caller: Caller, dataset: Dataset) -> None:
    of_perth = {"start_date": "2031-01-01T08:00:00+08:00", "end_date": "2031-01-02T08:00:00+08:00"}
    body = json.dumps({"available": [PERIOD, of_perth]})
    [missing] = caller.send("POST", f"/datasets/{dataset.id}/missing", body).json()

    assert {field: missing[field] for field in PERIOD} == PERIOD
