"""An answer that a caller has already is not sent again; one that is another now always is."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from observatory import Dataset, ObservatoryApi
from observatory.server.auth import LEASE

from .conftest import Caller

DAY = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}
# Every path that answers with a tag, of a book in which each record has the id 1.
PATHS = [
    "/catalogue",
    "/catalogue?addresses=true",
    "/organisations",
    "/organisations?name=Curtin Press",
    "/organisations/1",
    "/workflow-types",
    "/workflow-types/1",
    "/table-types",
    "/table-types/2",
    "/dataset-types",
    "/dataset-types?table_type_id=2",
    "/dataset-types/1",
    "/workflows",
    "/workflows?organisation_id=1",
    "/workflows?tag=sales_partner",
    "/workflows/1",
    "/datasets",
    "/datasets?limit=1",
    "/datasets?workflow_id=1",
    "/datasets?service=bigquery",
    "/datasets/1",
    "/datasets/2",
    "/datasets/1/offers",
    "/claims",
    "/claims/1",
    "/stale",
    "/dataset-releases/1/derived",
    "/datasets/1/coverage",
    "/datasets/1/coverage?start_date=2026-01-01T00:00:00Z&end_date=2026-03-01T00:00:00Z",
    "/dataset-releases",
    "/dataset-releases?limit=1",
    "/dataset-releases?history=true",
    "/dataset-releases?dataset_id=1",
    "/dataset-releases?dataset_id=1&history=true",
    "/dataset-releases?dataset_id=1&state=withdrawn",
    "/dataset-releases?dataset_id=1&start_date=2026-01-01T12:00:00Z",
    "/dataset-releases/1",
    "/dataset-releases/2",
    "/accounts",
    "/accounts/2",
    "/keys",
    "/keys?account_id=2",
    "/keys/2",
    "/me",
]
SECOND = ("/accounts", "/accounts/2", "/keys", "/keys?account_id=2", "/me")
# What may be changed of it, one after another: method, path and body.
CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PATCH", "/organisations/1", {"name": "Curtin University Press"}),
    ("PATCH", "/organisations/1", {"extras": {"country": "AU"}}),
    ("PATCH", "/workflow-types/1", {"name": "Sales"}),
    ("PATCH", "/table-types/2", {"name": "In shards"}),
    ("PATCH", "/dataset-types/1", {"name": "Sold books"}),
    ("PATCH", "/dataset-types/1", {"table_type": {"id": 1}}),
    ("PATCH", "/workflows/1", {"tags": '["other"]'}),
    ("PATCH", "/datasets/1", {"address": "x.y.z"}),
    ("PATCH", "/datasets/1", {"name": "more books"}),
    ("POST", "/organisations", {"name": "another"}),
    ("PATCH", "/workflows/1", {"organisation": {"id": 2}}),
    ("PATCH", "/workflows/1", {"organisation": {"id": 1}}),
    (
        "POST",
        "/datasets",
        {"name": "d", "service": "s", "address": "a", "workflow": {"id": 1}, "dataset_type": {"id": 1}},
    ),
    ("POST", "/dataset-releases", {"dataset": {"id": 1}, **DAY}),
    ("PATCH", "/dataset-releases/1", {"row_count": 7}),
    ("PATCH", "/dataset-releases/1", {"state": "withdrawn", "reason": "bad"}),
    ("POST", "/dataset-releases", {"dataset": {"id": 1}, **DAY}),
    ("POST", "/dataset-releases/batch", {"releases": [{"dataset": {"id": 2}, **DAY}]}),
    ("PATCH", "/dataset-releases/{releases[2]}", {"state": "withdrawn", "reason": "bad"}),
    ("PATCH", "/dataset-releases/{releases[2]}", {"state": "present", "reason": "good after all"}),
    ("DELETE", "/dataset-releases/{releases[2]}", None),
    ("DELETE", "/dataset-releases/{releases[1]}", None),
    ("DELETE", "/dataset-releases/1", None),
    ("DELETE", "/datasets/2", None),
    ("PATCH", "/accounts/2", {"name": "renamed"}),
    ("PATCH", "/accounts/2", {"grants": [{"role": "reader"}, {"role": "address:read"}]}),
    ("PATCH", "/accounts/2", {"grants": [{"role": "reader", "organisation_id": 2}]}),
    ("PATCH", "/accounts/2", {"grants": [{"role": "auditor", "organisation_id": 1}]}),
    ("POST", "/accounts", {"name": "more", "grants": [{"role": "reader", "organisation_id": 1}]}),
    ("POST", "/keys", {"account": {"id": 5}}),
    ("PATCH", "/keys/5", {"expires": "2027-01-02T00:00:00Z"}),
    ("DELETE", "/keys/5", None),
    ("DELETE", "/accounts/5", None),
]


@pytest.fixture
def callers(caller: Caller, server_url: str, dataset: Dataset) -> Iterator[dict[str, Caller]]:
    """Callers of each kind: who may do all, who reads all but addresses, who is of one organisation."""
    made = {"admin": caller}
    for name, grants in {
        "reader": [{"role": "reader"}],
        "of one": [
            {"role": "reader", "organisation_id": 1},
            {"role": "address:read", "organisation_id": 1},
        ],
        "auditor": [{"role": "auditor"}],
    }.items():
        account = caller.send("POST", "/accounts", json.dumps({"name": name, "grants": grants})).json()
        key = caller.send("POST", "/keys", json.dumps({"account": {"id": account["id"]}})).json()
        made[name] = Caller(server_url, key["secret"])
    yield made
    for one in made.values():
        one.http.close()


def test_every_operation_that_declares_a_tag_is_looked_at(caller: Caller) -> None:
    document = caller.send("GET", "/openapi.json").json()
    declared = {
        path.removeprefix("/v1")
        for path, methods in document["paths"].items()
        if "ETag" in methods.get("get", {}).get("responses", {}).get("200", {}).get("headers", {})
    }
    numbered = {path.replace("/1", "/{id}").replace("/2", "/{id}").partition("?")[0] for path in PATHS}
    assert declared == numbered


def test_what_a_caller_has_is_not_sent_again(callers: dict[str, Caller]) -> None:
    body = json.dumps({"dataset": {"id": 1}, **DAY})
    assert callers["admin"].send("POST", "/dataset-releases", body).status_code == 201
    # What was known of the catalogue a moment ago is good enough for an answer, and its tag is then stale.
    time.sleep(2 * LEASE)
    for by in callers.values():
        for path in PATHS:
            first = by.send("GET", path)
            if first.status_code != 200:
                assert "ETag" not in first.headers
                continue
            tag = first.headers["ETag"]
            again = by.send("GET", path, if_none_match=tag)
            assert (again.status_code, again.content) == (304, b""), path
            assert again.headers["ETag"] == tag
            for others in (f'"other", W/{tag}', f'{tag}, "1-0"'):
                assert by.send("GET", path, if_none_match=others).status_code == 304
            for other in ('"other"', '"1-0"', "*", "", tag.replace("-", "0")):
                if other != tag:
                    assert by.send("GET", path, if_none_match=other).status_code == 200, (path, other)


def test_what_is_another_now_is_always_sent(callers: dict[str, Caller]) -> None:
    # What each has of each path: the body and its tag. The auditor sees what others do not, of accounts.
    cells = [(name, path) for name in callers for path in PATHS if name != "auditor" or path in SECOND]
    had = dict.fromkeys(cells, ("", '"none"'))
    releases: list[int] = []
    for method, path, body in [("GET", "/me", None), *CHANGES]:
        place = path.format(releases=releases)
        done = callers["admin"].send(method, place, json.dumps(body) if body else None)
        assert done.status_code in (200, 201, 204), (method, path, body, done.text)
        if method == "POST" and "releases" in path:
            told = done.json()
            releases.append(told[0]["release"]["id"] if "batch" in path else told["id"])
        changed = 0
        for (name, asked), (was, tag) in had.items():
            answer = callers[name].send("GET", asked, if_none_match=tag)
            if answer.status_code == 304:
                now = callers[name].send("GET", asked)
                assert (now.status_code, now.text) == (200, was), (name, asked, method, path, body)
            else:
                changed += answer.text != was
                had[name, asked] = (answer.text, answer.headers.get("ETag", '"none"'))
        assert changed, f"{method} {path} {body} changes nothing that is looked at"


def test_a_tag_of_one_caller_says_nothing_to_another(callers: dict[str, Caller]) -> None:
    tag = callers["admin"].send("GET", "/datasets/1").headers["ETag"]

    told = callers["reader"].send("GET", "/datasets/1", if_none_match=tag)
    assert told.status_code == 200
    assert "address" not in told.json()


def test_the_tag_of_an_answer_asks_for_its_version(callers: dict[str, Caller], api: ObservatoryApi) -> None:
    by = callers["admin"]
    for path in ("/organisations/1", "/datasets/1", "/accounts/2", "/keys/2"):
        body = '{"expires": "2027-01-02T00:00:00Z"}' if "keys" in path else '{"name": "another name"}'
        tag = by.send("GET", path).headers["ETag"]
        changed = by.send("PATCH", path, body, if_match=tag)
        assert changed.status_code == 200, changed.text
        assert by.send("PATCH", path, body, if_match=tag).status_code == 412
        assert by.send("PATCH", path, body, if_match=changed.headers["ETag"]).status_code == 200
        assert by.send("DELETE", path, if_match=tag).status_code == 412


@pytest.mark.parametrize("told", ['"x"', '""', '"0"', '"-1"', '"1", "2"', "1.5", '"99999999999999999999"'])
def test_what_is_no_version_is_refused(caller: Caller, dataset: Dataset, told: str) -> None:
    for method, body in (("PATCH", "{}"), ("DELETE", None)):
        answer = caller.send(method, f"/datasets/{dataset.id}", body, if_match=told)
        assert answer.status_code == 422, answer.text
        assert answer.json()["fields"].keys() == {"If-Match"}


def test_what_was_read_before_a_change_is_known_when_it_was_not_this_that_changed(
    caller: Caller, dataset: Dataset
) -> None:
    told = {"name": "d", "service": "s", "address": "a", "workflow": {"id": 1}, "dataset_type": {"id": 1}}
    other = caller.send("POST", "/datasets", json.dumps(told)).json()["id"]
    # Who says what it has is answered with a tag of the catalogue as it is at this moment.
    path = "/dataset-releases?dataset_id=1"
    tag = caller.send("GET", path, if_none_match='"none"').headers["ETag"]
    caller.send("POST", "/dataset-releases", json.dumps({"dataset": {"id": other}, **DAY}))

    assert caller.send("GET", path, if_none_match=tag).status_code == 304
