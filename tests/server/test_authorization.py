"""Who may ask what: every operation of the document, for every role, of every object, with every key.

What an operation takes is in one table. One that is in the document and not in the table fails, and so does a
row of what is no operation.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from http.client import HTTPConnection
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from observatory.access import ROLES, Right
from observatory.records import Role

from .conftest import admin_key
from .operations import DAY, HIDDEN, NEXT_DAY, NOBODY, OPERATIONS, Row, Whose

CALLERS: dict[str, tuple[Role, ...]] = {role: (role,) for role in ROLES} | {
    "keeper": ("maintainer", "address:read", "address:write"),
    "nobody": (),
}
KEYS = ("valid", "expired", "revoked", "malformed", "unknown", "missing")


class Somebody(NamedTuple):
    """An account: in which organisations it has its roles, and its keys by what is wrong with them."""

    roles: tuple[Role, ...]
    is_everywhere: bool
    keys: dict[str, str | None]

    @property
    def rights(self) -> set[Right]:
        return {right for role in self.roles for right in ROLES[role]}


def expected(row: Row, who: Somebody, whose: Whose) -> int:
    """Returns what a caller with a valid key is answered."""
    if row.right == "public":
        return row.done
    if row.right not in who.rights:
        return 403
    if not who.is_everywhere:
        if whose in ("other", "wider"):
            return 404
        if whose == "shared" and row.right != "read":
            return 403
    return row.done if row.also is None or row.also in who.rights else 403


class Told(NamedTuple):
    """What was answered."""

    status: int
    text: str
    headers: dict[str, str]


class World:
    """A book of two organisations, with everything in both, and those who ask about the first of them."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._admin = admin_key(url)
        self._numbers = count()
        self.ids: dict[str, dict[str, int]] = {}
        kinds = {"workflow_type": self.made("workflow-types", type_id="t", name="t")}
        kinds["dataset_type"] = self.made("dataset-types", type_id="t", name="t", table_type={"id": 1})
        self.ids["shared"] = {**kinds, "table_type": 1}
        self.ids["own"], self.ids["other"] = self._organised("ours"), self._organised(HIDDEN)
        wider = self.made("accounts", name=f"wider than {HIDDEN}", grants=[{"role": "reader"}])
        self.ids["wider"] = {"account": wider, "key": self.key(wider)[0]}
        kinds_of_all = [*self.ids["own"], *self.ids["shared"]]
        self.ids["nobody"] = {kind: NOBODY + number for number, kind in enumerate(kinds_of_all)}

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, key: str | None, body: Any = None, **headers: str) -> Told:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        told = None if body is None else json.dumps(body)
        self._connection.request(method, path, body=told, headers=sent)
        answer = self._connection.getresponse()
        answered = {name.lower(): value for name, value in answer.getheaders()}
        return Told(answer.status, answer.read().decode(), answered)

    def made(self, path: str, **fields: Any) -> int:
        """Creates something as an administrator, and returns its id."""
        told = self.ask("POST", f"/v1/{path}", self._admin, fields)
        assert told.status == 201, told
        id: int = json.loads(told.text)["id"]
        return id

    def key(self, account: int, **fields: Any) -> tuple[int, str]:
        told = self.ask("POST", "/v1/keys", self._admin, {"account": {"id": account}, **fields})
        assert told.status == 201, told
        made = json.loads(told.text)
        return made["key"]["id"], made["secret"]

    def somebody(self, roles: tuple[Role, ...], is_everywhere: bool) -> Somebody:
        where = {} if is_everywhere else {"organisation_id": self.ids["own"]["organisation"]}
        grants = [{"role": role, **where} for role in roles]
        account = self.made("accounts", name=f"ours {next(self._numbers)}", grants=grants)
        revoked, was = self.key(account)
        assert self.ask("DELETE", f"/v1/keys/{revoked}", self._admin).status == 204
        _, valid = self.key(account)
        soon = datetime.now(UTC) + timedelta(milliseconds=300)
        _, expired = self.key(account, expires=soon.isoformat())
        keys = {"valid": valid, "revoked": was, "expired": expired, "missing": None}
        keys["malformed"] = valid[:-1] + ("0" if valid[-1] != "0" else "1")
        keys["unknown"] = unknown(valid)
        return Somebody(roles, is_everywhere, keys)

    def send(self, operation: str, whose: str, key: str | None) -> Told:
        """Asks for an operation on an object, so that nothing is another afterwards."""
        method, path = places()[operation]
        body: Any = None
        ids = self.ids["nobody" if whose == "any" else whose]
        if "{id}" in path:
            kind = path.removeprefix("/v1/").partition("/")[0].removesuffix("s").replace("-", "_")
            path = path.replace("{id}", str(ids[{"dataset_release": "release"}.get(kind, kind)]))
        if method == "get" and whose != "any" and operation in FILTERS:
            field, what = FILTERS[operation]
            path += f"?{field}={ids[what]}"
        if method == "patch":
            body = {}
        if method == "post":
            body = BODIES[operation](ids, next(self._numbers))
        headers = {"if_match": '"99"'} if method == "delete" else {}
        return self.ask(method.upper(), path, key, body, **headers)

    def _organised(self, name: str) -> dict[str, int]:
        organisation = self.made("organisations", name=name, extras={"note": name})
        workflow = self.made(
            "workflows",
            name=name,
            organisation={"id": organisation},
            workflow_type={"id": self.ids["shared"]["workflow_type"]},
        )
        dataset = self.made(
            "datasets",
            name=name,
            service=name,
            address=f"address of {name}",
            workflow={"id": workflow},
            dataset_type={"id": self.ids["shared"]["dataset_type"]},
        )
        release = self.made("dataset-releases", dataset={"id": dataset}, **DAY, version_label=name)
        grants = [{"role": "reader", "organisation_id": organisation}]
        account = self.made("accounts", name=f"reader of {name}", grants=grants)
        claim = self._claimed(name, dataset)
        made = {"organisation": organisation, "workflow": workflow, "dataset": dataset, "release": release}
        return made | {"claim": claim, "account": account, "key": self.key(account)[0]}

    def _claimed(self, name: str, dataset: int) -> int:
        """Claims a period that is missing because it was withdrawn, and returns the id of the claim."""
        bad = self.made("dataset-releases", dataset={"id": dataset}, **NEXT_DAY)
        withdrawn = {"state": "withdrawn", "reason": name}
        assert self.ask("PATCH", f"/v1/dataset-releases/{bad}", self._admin, withdrawn).status == 200
        told = self.ask("POST", "/v1/claims", self._admin, {"dataset": {"id": dataset}, "holder": name})
        assert told.status == 201, told
        id: int = json.loads(told.text)["claim"]["id"]
        return id


def unknown(key: str) -> str:
    """Returns a key of the same id and form that was never given out, whose checksum is right."""
    import observatory.credentials as credentials

    return credentials.text_of(int(key.split("_")[1]), credentials.new_secret())


FILTERS = {
    "listWorkflows": ("organisation_id", "organisation"),
    "listDatasets": ("workflow_id", "workflow"),
    "listDatasetReleases": ("dataset_id", "dataset"),
    "listStaleReleases": ("dataset_id", "dataset"),
    "listClaims": ("dataset_id", "dataset"),
    "getMissing": ("dataset_id", "dataset"),
    "listStatuses": ("workflow_id", "workflow"),
    "listKeys": ("account_id", "account"),
}
Body = Callable[[dict[str, int], int], dict[str, Any]]
BODIES: dict[str, Body] = {
    "createOrganisation": lambda ids, n: {"name": f"ours {n}"},
    "createWorkflowType": lambda ids, n: {"type_id": f"t{n}", "name": "t"},
    "createTableType": lambda ids, n: {"type_id": f"t{n}", "name": "t"},
    "createDatasetType": lambda ids, n: {
        "type_id": f"t{n}",
        "name": "t",
        "table_type": {"id": ids["table_type"]},
    },
    "createWorkflow": lambda ids, n: {
        "name": f"w{n}",
        "organisation": {"id": ids["organisation"]},
        "workflow_type": {"id": 1},
    },
    "createDataset": lambda ids, n: {
        "name": f"d{n}",
        "service": "s",
        "address": "a",
        "workflow": {"id": ids["workflow"]},
        "dataset_type": {"id": 1},
    },
    "listMissing": lambda ids, n: {"available": [DAY]},
    "recordDatasetRelease": lambda ids, n: {"dataset": {"id": ids["dataset"]}, **DAY},
    "recordDatasetReleases": lambda ids, n: {"releases": [{"dataset": {"id": ids["dataset"]}, **DAY}]},
    "receiveLineage": lambda ids, n: {"eventTime": DAY["start_date"], "eventType": "START"},
    "probeDataset": lambda ids, n: {"outcome": "partial", "offers": [DAY]},
    "withdrawReleases": lambda ids, n: {
        "start_date": "1999-01-01T00:00:00Z",
        "end_date": "1999-01-02T00:00:00Z",
        "reason": "r",
    },
    "adoptReleases": lambda ids, n: {"periods": [DAY], "evidence": {"rows": 1}, "reason": "r"},
    # Of reasons for which nothing is missing, so that nothing is taken.
    "claimReleases": lambda ids, n: {"dataset": {"id": ids["dataset"]}, "reasons": ["late"]},
    "renewClaim": lambda ids, n: {},
    "giveBackClaim": lambda ids, n: {},
    "createAccount": lambda ids, n: {
        "name": f"ours {n}",
        "grants": [{"role": "reader"} | ({"organisation_id": o} if (o := ids.get("organisation")) else {})],
    },
    "createKey": lambda ids, n: {"account": {"id": ids["account"]}, "expires": "2020-01-01T00:00:00Z"},
}


@cache
def places() -> dict[str, tuple[str, str]]:
    """Returns the method and the path of each operation of the document."""
    import tempfile

    from observatory.server.app import create_app
    from observatory.server.openapi import exact
    from observatory.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(database_url=f"sqlite:///{folder}/a.db"))
    document = exact(app.openapi_schema.to_schema(), app.routes)
    return {
        operation["operationId"]: (method, path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.fixture
def world(server_url: str) -> Iterator[World]:
    world = World(server_url)
    yield world
    world.close()


def test_every_operation_has_its_row_and_every_row_its_operation() -> None:
    assert places().keys() == OPERATIONS.keys()


def test_everybody_is_answered_what_their_rights_say_and_nobody_without_a_key(world: World) -> None:
    callers = {
        (name, is_everywhere): world.somebody(roles, is_everywhere)
        for name, roles in CALLERS.items()
        for is_everywhere in (False, True)
    }
    time.sleep(0.35)  # until those keys have expired that soon do
    wrong: list[tuple[object, ...]] = []
    for operation, row in OPERATIONS.items():
        for (name, is_everywhere), who in callers.items():
            for whose in row.whose:
                told = world.send(operation, whose, who.keys["valid"])
                if told.status != expected(row, who, whose):
                    wrong.append((operation, name, is_everywhere, whose, told))
                if not is_everywhere and HIDDEN in told.text + str(told.headers):
                    wrong.append((operation, name, "sees what it must not", whose, told))
            for kind in KEYS[1:] if not is_everywhere else ():
                for whose in row.whose:
                    told = world.send(operation, whose, who.keys[kind])
                    if told.status != (row.done if row.right == "public" else 401):
                        wrong.append((operation, name, kind, whose, told))
    assert wrong == []


def forms(operation: str, row: Row) -> bool:
    """Tells whether an operation can be asked about somebody else's object."""
    return "other" in row.whose and row.right != "public"


@pytest.fixture
def restricted(world: World) -> str:
    """The key of somebody who may do everything, but in one organisation."""
    roles: tuple[Role, ...] = ("admin", "address:read", "address:write")
    return world.somebody(roles, is_everywhere=False).keys["valid"] or ""


def said(told: Told, ids: dict[str, int]) -> tuple[int, str, set[str]]:
    """Returns an answer as it would be to these ids in the place of those that are none."""
    text = told.text
    for number, id in enumerate(ids.values()):
        text = text.replace(str(NOBODY + number), str(id))
    return told.status, text, told.headers.keys() - {"x-request-id", "date"}


def test_what_is_another_organisations_is_answered_as_what_does_not_exist(
    world: World, restricted: str
) -> None:
    for operation, row in OPERATIONS.items():
        if not forms(operation, row):
            continue
        none = world.send(operation, "nobody", restricted)
        for whose in ("other", "wider"):
            if whose in row.whose:
                told = world.send(operation, whose, restricted)
                ids = {kind: world.ids[whose].get(kind, 0) for kind in world.ids["nobody"]}
                assert said(told, {}) == said(none, ids), operation
                assert told.status == 404


def references(ids: dict[str, int], own: dict[str, int]) -> Iterator[tuple[str, str, Any]]:
    """Yields requests that name objects in bodies, filters, cursors, batch items and relations."""
    for path, field, kind in (
        ("workflows", "organisation_id", "organisation"),
        ("datasets", "organisation_id", "organisation"),
        ("datasets", "workflow_id", "workflow"),
        ("dataset-releases", "dataset_id", "dataset"),
        ("stale", "dataset_id", "dataset"),
        ("stale", "workflow_id", "workflow"),
        ("stale", "organisation_id", "organisation"),
        ("claims", "dataset_id", "dataset"),
        ("keys", "account_id", "account"),
        ("journal", "organisation_id", "organisation"),
        ("journal", "dataset_id", "dataset"),
        ("journal", "kind=Workflow&record_id", "workflow"),
        ("journal", "kind=Account&record_id", "account"),
    ):
        yield "GET", f"/v1/{path}?{field}={ids[kind]}", None
        yield "GET", f"/v1/{path}?{field}={ids[kind]}&limit=1", None
    place = f"{ids['dataset']}~2025-01-01T00%3A00%3A00%2B00%3A00~2025-01-02T00%3A00%3A00%2B00%3A00~1"
    yield "GET", f"/v1/dataset-releases?dataset_id={ids['dataset']}&after={place}", None
    yield "PATCH", f"/v1/workflows/{own['workflow']}", {"organisation": {"id": ids["organisation"]}}
    yield "PATCH", f"/v1/datasets/{own['dataset']}", {"workflow": {"id": ids["workflow"]}}
    yield "PATCH", f"/v1/dataset-releases/{own['release']}", {"dataset": {"id": ids["dataset"]}}
    yield "PATCH", f"/v1/dataset-releases/{own['release']}", {"made_from": [ids["release"]]}
    yield "PATCH", f"/v1/datasets/{own['dataset']}", {"inputs": [own["dataset"], ids["dataset"]]}
    grants = [{"role": "reader", "organisation_id": ids["organisation"]}]
    yield "PATCH", f"/v1/accounts/{own['account']}", {"grants": grants}
    yield "PATCH", f"/v1/keys/{own['key']}", {"account": {"id": ids["account"]}}
    theirs, mine = ({"dataset": {"id": found["dataset"]}, **DAY} for found in (ids, own))
    yield "POST", "/v1/claims", {"dataset": {"id": ids["dataset"]}}
    for is_atomic in (True, False):
        body = {"releases": [mine, theirs, mine], "atomic": is_atomic}
        yield "POST", "/v1/dataset-releases/batch", body


def test_whoever_names_it_in_a_body_a_filter_a_cursor_or_a_batch_learns_nothing(
    world: World, restricted: str
) -> None:
    own, other, nobody = world.ids["own"], world.ids["other"], world.ids["nobody"]
    for (method, path, body), (_, nowhere, none) in zip(
        references(other, own), references(nobody, own), strict=True
    ):
        told = world.ask(method, path, restricted, body)
        as_if = world.ask(method, nowhere, restricted, none)
        assert said(told, {}) == said(as_if, other), (method, path, body)
        assert HIDDEN not in told.text


def test_no_list_goes_through_what_is_another_organisations(world: World, restricted: str) -> None:
    for path in (
        "organisations",
        "workflows",
        "datasets",
        "dataset-releases",
        "claims",
        "accounts",
        "keys",
        "journal",
    ):
        seen, asked = "", "limit=1"
        for _ in range(60):
            told = world.ask("GET", f"/v1/{path}?{asked}", restricted)
            assert told.status == 200
            seen += told.text
            if "link" not in told.headers:
                break
            asked = told.headers["link"].partition("<?")[2].partition(">")[0]
        else:
            pytest.fail(f"the list of {path} has no end")
        assert HIDDEN not in seen
        assert "ours" in seen, path


def forged(world: World, path: str, version: int, account: int) -> list[str]:
    """Returns the tags that an answer may have, as somebody works them out who has read this code."""
    from hashlib import blake2s

    return [
        f'"{version}-{blake2s(said.encode(), digest_size=8).hexdigest()}"'
        for catalogue in range(100)
        for said in (f"{path}?|{catalogue}|{account}.1",)
    ]


def test_no_tag_that_is_guessed_tells_whether_something_is_there(world: World, restricted: str) -> None:
    account = json.loads(world.ask("GET", "/v1/keys", restricted).text)
    mine = max(key["account"]["id"] for key in account)

    def is_known(whose: str) -> bool:
        path = f"/v1/dataset-releases/{world.ids[whose]['release']}"
        tags = ", ".join(forged(world, path, 1, mine))
        return world.ask("GET", path, restricted, if_none_match=tags).status == 304

    assert is_known("own"), "the tags are made otherwise now: this test must be, too"
    assert not is_known("other")


def test_a_revoked_key_opens_nothing_from_the_next_request_on(world: World) -> None:
    account = world.made("accounts", name="ours", grants=[{"role": "reader"}])
    id, secret = world.key(account)
    assert world.ask("GET", "/v1/organisations", secret).status == 200
    assert world.ask("DELETE", f"/v1/keys/{id}", world._admin).status == 204
    assert world.ask("GET", "/v1/organisations", secret).status == 401


def test_a_slip_of_the_hand_is_told_from_a_wrong_key(world: World) -> None:
    slipped = list(world._admin)
    at = next(i for i in range(10, 40) if slipped[i] != slipped[i + 1])
    slipped[at], slipped[at + 1] = slipped[at + 1], slipped[at]
    told = world.ask("GET", "/v1/organisations", "".join(slipped))
    assert (told.status, "checksum" in told.text) == (401, True)
    head = world._admin.rpartition("_")[0]
    assert zlib.crc32(head.encode()) != zlib.crc32("".join(slipped).rpartition("_")[0].encode())
    told = world.ask("GET", "/v1/organisations", unknown(world._admin))
    assert (told.status, "opens nothing" in told.text) == (401, True)
