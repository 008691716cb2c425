"""Over HTTP an address is answered to those who may read it, and what is said of it to nobody else."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from observatory import Dataset, ObservatoryApi

from .conftest import Caller, Contents

SECRET = "bigquery.partner.hidden"

As = Callable[..., Caller]


@pytest.fixture
def as_account(caller: Caller, server_url: str) -> Iterator[As]:
    """Makes accounts with roles in all organisations, and returns callers that show their keys."""
    made: list[Caller] = []

    def make(*roles: str) -> Caller:
        told = {"name": f"account {len(made)}", "grants": [{"role": role} for role in roles]}
        account = caller.send("POST", "accounts", json.dumps(told)).json()
        key = caller.send("POST", "keys", json.dumps({"account": {"id": account["id"]}})).json()
        made.append(Caller(server_url, key["secret"]))
        return made[-1]

    yield make
    for one in made:
        one.http.close()


def said(by: Caller, method: str, path: str, **body: Any) -> str:
    """Returns all that is answered, with its headers."""
    answer = by.send(method, path, json.dumps(body) if body else None)
    return f"{answer.status_code} {answer.headers} {answer.text}"


def test_who_may_not_read_an_address_meets_it_nowhere(
    api: ObservatoryApi, dataset: Dataset, as_account: As
) -> None:
    api.put_dataset(Dataset(id=dataset.id, address=SECRET))
    one = f"datasets/{dataset.id}"
    for roles in ("maintainer",), ("maintainer", "address:write"), ("admin", "auditor"):
        by = as_account(*roles)
        answers = [
            said(by, "GET", one),
            said(by, "GET", "datasets?limit=10"),
            said(by, "GET", f"datasets?address={SECRET[:-1]}"),
            said(by, "PATCH", one, name=f"of {roles}"),
            said(by, "PATCH", one, version=1, name="late"),
            said(by, "POST", "datasets", name="books", service="s", address=SECRET[:-1], workflow={"id": 1}),
            said(by, "DELETE", "datasets/77"),
        ]
        assert [SECRET in answer or '"address":' in answer for answer in answers] == [False] * len(answers)
    with as_account("reader", "address:read").http as reader:
        assert reader.get(one).json()["address"] == SECRET


@pytest.mark.parametrize("wrong", [SECRET + "\n", SECRET * 100, [SECRET], {SECRET: 1}, None, 7])
def test_what_is_wrong_with_an_address_is_said_without_it(
    caller: Caller, dataset: Dataset, wrong: object
) -> None:
    for method, path in (("PATCH", f"datasets/{dataset.id}"), ("POST", "datasets")):
        problem = caller.problem(method, path, json.dumps({"address": wrong}))

        assert problem.status == 422
        assert problem.fields == {"address"}
        assert "partner" not in problem.text


def test_what_is_wrong_with_a_filter_by_address_is_said_without_it(caller: Caller, as_account: As) -> None:
    blind = as_account("maintainer", "address:write")
    for by, status, address in ((caller, 422, SECRET * 100), (blind, 403, SECRET)):
        problem = by.problem("GET", f"datasets?address={address}")

        assert problem.status == status
        assert "partner" not in problem.text


def test_no_table_has_an_address_in_clear(
    api: ObservatoryApi, caller: Caller, dataset: Dataset, contents: Callable[[], Contents]
) -> None:
    told = {"name": "b", "service": "s", "address": SECRET, "workflow": {"id": 1}, "dataset_type": {"id": 1}}
    for _ in range(2):
        answer = caller.send("POST", "datasets", json.dumps(told), idempotency_key="once")
        assert answer.json()["address"] == SECRET
    api.put_dataset(Dataset(id=dataset.id, address=SECRET))
    assert [one.name for one in api.get_datasets(address=SECRET)] == ["books", "b"]

    tables = contents()
    assert [
        name for name, rows in tables.items() if SECRET in str(rows) or dataset.address in str(rows)
    ] == []
    read = [row for row in tables["journal"] if "read" in row]
    assert len(read) == 2  # of each once, though both were answered several times
