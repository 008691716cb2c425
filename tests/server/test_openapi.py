"""The OpenAPI document: valid, whole, and true of the server that serves it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from litestar.routes import HTTPRoute
from schemathesis.openapi import from_dict

from observatory import Dataset, ObservatoryApi
from observatory.access import RIGHTS
from observatory.records import ACCESS, KINDS
from observatory.server.app import create_app
from observatory.settings import Settings

from .conftest import Caller, admin_key

# Of schemathesis' checks, two do not hold for us: fields that a record needs are not required of a change,
# so that what is valid may be refused, and Litestar tells OPTIONS of one handler of each path only.
NOT_OURS = "positive_data_acceptance,allow_header_conformance"


@pytest.fixture
def document(caller: Caller) -> dict[str, Any]:
    answered = caller.send("GET", "/openapi.json")
    assert answered.headers["Content-Type"].startswith("application/json")
    found: dict[str, Any] = answered.json()
    return found


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    # Validates it against the meta-schema of OpenAPI 3.1, and resolves what it refers to.
    from_dict(document).validate()
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert referred <= document["components"]["schemas"].keys()


def test_every_route_is_in_the_document(document: dict[str, Any], tmp_path: Path) -> None:
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path}/a.db"))
    hidden = {"/", "/docs", "/docs/{name}", "/v1/openapi.json"}
    served = {
        (route.path_format, method.lower())
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method not in ("OPTIONS", "HEAD")
    }

    told = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert {(path, method) for path, method in served if path not in hidden} == told


def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    found = operations(document)
    ids = [operation["operationId"] for operation in found]

    assert len(ids) == len(set(ids)) >= 40
    for operation in found:
        assert operation["summary"]
        assert operation["tags"]
        assert {"404", "422", "503"} <= operation["responses"].keys(), operation["operationId"]
        for parameter in operation.get("parameters", []):
            assert parameter["schema"]
    assert {kind.__name__ for kind in KINDS} <= {tag for operation in found for tag in operation["tags"]}


def test_every_operation_says_who_may_ask_for_it(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    open_to_all = {one["operationId"] for one in operations(document) if one["security"] == []}
    assert open_to_all == {"isAlive", "isReady"}
    for operation in operations(document):
        if operation["operationId"] in open_to_all:
            assert not {"401", "403"} & operation["responses"].keys()
            continue
        assert operation["security"] == [{"key": []}]
        assert operation["x-right"] in RIGHTS
        assert {"401", "403", "429"} <= operation["responses"].keys()


def test_what_can_be_asked_by_headers_is_told(document: dict[str, Any]) -> None:
    read: dict[str, set[str]] = {}
    for methods in document["paths"].values():
        for method, operation in methods.items():
            headers = {one["name"] for one in operation.get("parameters", []) if one["in"] == "header"}
            if operation["security"] and operation["x-right"] != "read":
                read.setdefault(method, set()).update(headers or {"none"})
            if method == "patch":
                media = operation["requestBody"]["content"]
                assert media.keys() == {"application/json", "application/merge-patch+json"}
    assert read["patch"] == read["delete"] == {"If-Match"}
    assert read["post"] == {"Idempotency-Key"}


def test_every_list_says_how_its_next_page_is_told(document: dict[str, Any]) -> None:
    told = {
        operation["operationId"]: operation["responses"].get("200", {}).get("headers", {}).get("Link")
        for operation in operations(document)
    }
    linked = {id: link for id, link in told.items() if link}

    assert linked.keys() == {id for id in told if id.startswith("list") and id != "listMissing"} | {
        "getMissing"
    }
    assert len(linked) >= len(KINDS) + len(ACCESS)
    assert all('rel="next"' in link["example"] for link in linked.values())


def test_every_body_has_a_schema_with_its_limits(document: dict[str, Any]) -> None:
    told = ("create", "update", "record")
    with_body = [one for one in operations(document) if one["operationId"].startswith(told)]
    for operation in with_body:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    schemas = document["components"]["schemas"]
    name = schemas["Organisation"]["properties"]["name"]
    assert (name["minLength"], name["maxLength"]) == (1, 250)
    assert schemas["Batch"]["properties"]["releases"]["maxItems"] == 10_000
    assert schemas["Available"]["properties"]["available"]["maxItems"] == 100_000


def test_the_examples_are_true_to_their_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema_rs.meta.validate(schema)
        rooted = {**schema, "components": document["components"]}
        validator = jsonschema_rs.Draft202012Validator(rooted, validate_formats=True)
        assert schema["examples"], name
        for example in schema["examples"]:
            assert [error.message for error in validator.iter_errors(example)] == [], name


def test_the_examples_are_accepted_by_the_server(caller: Caller, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for kind in ("Organisation", "WorkflowType", "Workflow", "DatasetType", "Dataset", "DatasetRelease"):
        example = schemas[kind]["examples"][0]
        path = next(known.path for known in KINDS if known.__name__ == kind)
        created = caller.send("POST", f"/{path}", httpx2.Request("POST", "http://a", json=example).content)
        assert created.status_code == 201, created.text


def test_the_page_needs_nothing_from_elsewhere(server_url: str) -> None:
    page = httpx2.get(f"{server_url}/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href|url)(?:=|: )"([^"]+)"', page.text)
    assert "v1/openapi.json" in loaded
    for asset in loaded:
        assert not re.match(r"(https?:)?//", asset)
        if not asset.startswith("data:"):
            found = httpx2.get(f"{server_url}/{asset}")
            assert found.status_code == 200
            assert found.content
    assert not re.search(r"url\(\s*['\"]?https?:", httpx2.get(f"{server_url}/docs/swagger-ui.css").text)


def test_the_page_is_found_from_the_root_and_with_a_slash_wherever_all_is_served(server_url: str) -> None:
    for path, place in (("/", "docs"), ("/docs/", "../docs")):
        answered = httpx2.get(f"{server_url}{path}")
        assert (answered.status_code, answered.headers["Location"]) == (302, place)
        page = httpx2.get(f"{server_url}{path}", follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/docs")


def test_no_other_file_is_served_beside_the_page(server_url: str) -> None:
    for path in ("nothing.js", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "index.html"):
        assert httpx2.get(f"{server_url}/docs/{path}").status_code == 404


def withstands(url: str, key: str, folder: Path, *options: str) -> None:
    """Runs schemathesis over the document of a server; raises what it says where it finds something."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/v1/openapi.json", "--no-color"]
    command += ["--request-timeout=60", f"--header=Authorization: Bearer {key}"]
    command += ["--checks=all", f"--exclude-checks={NOT_OURS}", "--continue-on-failure", "--warnings=off"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# What a caller with all rights would take away its own rights with, by chance.
OWN = ("deleteAccount", "updateAccount", "revokeKey", "updateKey")


@pytest.fixture
def lesser(api: ObservatoryApi, dataset: Dataset, caller: Caller) -> str:
    """The key of somebody who sees all accounts, but administers one organisation only."""
    one = dataset.workflow.organisation.id
    grants = [{"role": "auditor"}, {"role": "admin", "organisation_id": one}]
    account = caller.send("POST", "/accounts", json.dumps({"name": "lesser", "grants": grants})).json()
    made = caller.send("POST", "/keys", json.dumps({"account": {"id": account["id"]}})).json()
    found: str = made["secret"]
    return found


def test_the_server_does_what_the_document_says(
    server_url: str, dataset: Dataset, lesser: str, tmp_path: Path
) -> None:
    all_rights = admin_key(server_url)
    # The journal is waited for up to half a minute.
    others = [f"--exclude-operation-id={operation}" for operation in (*OWN, "listEntries")]
    withstands(server_url, all_rights, tmp_path, "--seed=1", "--max-time=20", "--no-shrink", *others)
    own = [f"--include-operation-id={operation}" for operation in OWN]
    withstands(server_url, lesser, tmp_path, "--seed=1", "--max-time=5", "--no-shrink", *own)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_server_does_what_the_document_says_for_long(
    server_url: str, dataset: Dataset, lesser: str, tmp_path: Path
) -> None:
    others = [f"--exclude-operation-id={operation}" for operation in OWN]
    withstands(server_url, admin_key(server_url), tmp_path, "--max-time=240", "--workers=2", *others)
    withstands(server_url, lesser, tmp_path, "--max-time=60", "--workers=2")
