"""What Airflow finds of this package: a provider with a connection, its form, settings and a plugin."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped] # Airflow's own
import pytest

from observatory import Account, Grant, Invalid, Key, ObservatoryApi, make_observatory_api
from observatory.airflow.hook import ObservatoryHook, connection_settings
from observatory.airflow.plugin import settings_of
from observatory.airflow.provider import get_provider_info

CONNECTION = "AIRFLOW_CONN_OBSERVATORY_API"
Connect = Callable[..., ObservatoryHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Makes the connection, and the hook that opens it."""

    def connected(**told: Any) -> ObservatoryHook:
        monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "observatory"} | told))
        return ObservatoryHook()

    return connected


def test_what_is_told_is_what_airflow_asks_a_provider() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    # The form has a schema of its own, which is checked where Airflow's providers are built.
    build = json.loads(files("airflow").joinpath("provider.yaml.schema.json").read_text())
    jsonschema.validate(get_provider_info()["connection-types"], build["properties"]["connection-types"])


def test_airflow_finds_the_connection_the_assets_and_the_links() -> None:
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    found = ProvidersManager()  # type: ignore[no-untyped-call] # untyped in Airflow
    assert found.providers["observatory-ledger"].data["name"] == "Observatory"
    assert "observatory.airflow.links.ReleasesLink" in found.extra_links_class_names
    tasks = ProvidersManagerTaskRuntime()  # type: ignore[no-untyped-call] # untyped in Airflow
    hook = tasks.hooks["observatory"]
    assert hook
    assert (hook.hook_name, hook.connection_id_attribute_name) == ("Observatory", "observatory_conn_id")
    assert "observatory" in tasks.asset_uri_handlers
    assert "observatory" in tasks.asset_factories


def test_the_form_asks_for_address_key_and_time_outs() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    [form] = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "observatory"]
    assert form.standard_fields
    fields = form.standard_fields.model_dump()
    assert fields["host"]["title"] == "Address"
    assert fields["password"]["title"] == "API key"
    assert {name for name, told in fields.items() if told and told["hidden"]} == {
        "port",
        "login",
        "url_schema",
    }
    assert form.extra_fields
    assert form.extra_fields.keys() == {"timeout", "parse_timeout"}


def test_the_plugin_serves_nothing_and_reads_nothing_unless_it_is_asked_to() -> None:
    code = """
import logging, os, sys
from airflow.plugins_manager import get_fastapi_plugins, get_global_operator_extra_links
from observatory.airflow.plugin import ObservatoryPlugin

links = [link.name for link in get_global_operator_extra_links()]
assert links == ["Dataset in the book", "Releases in the book"], links
assert get_fastapi_plugins()[0] == []
assert not logging.getLogger("httpx2").isEnabledFor(logging.INFO)  # a line for each request
assert "observatory.server" not in sys.modules
os.environ["AIRFLOW__OBSERVATORY__SERVE"] = "True"
ObservatoryPlugin.on_load()
assert [app["url_prefix"] for app in ObservatoryPlugin.fastapi_apps] == ["/observatory"]
assert "observatory.server" in sys.modules
assert "litestar" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_book_is_in_a_schema_of_airflows_own_postgresql() -> None:
    told = {"database_url": "postgresql+psycopg2://airflow@db/airflow", "schema": "book"}
    found = settings_of(_Conf(told))
    assert found.database_url == "postgresql://airflow@db/airflow?options=-csearch_path%3Dbook"
    assert settings_of(_Conf({})).database_url == f"sqlite:///{os.environ['AIRFLOW_HOME']}/observatory.db"
    with pytest.raises(Invalid, match="schema"):
        settings_of(_Conf(told | {"schema": "Book"}))


def test_the_hook_opens_the_book_and_says_as_whom(
    connect: Connect, api: ObservatoryApi, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = api.post_account(Account(name="airflow", grants=[Grant("writer"), Grant("address:read")]))
    key = api.post_key(Key(account=account)).secret
    hook = connect(host=server_url, password=key)
    with hook.get_conn() as opened:
        assert opened.whoami().account.name == "airflow"
    is_good, said = hook.test_connection()
    assert is_good
    assert said.startswith(f"the book at {server_url}, as 'airflow', until ")
    assert said.endswith(": writer, address:read")
    assert key not in said
    monkeypatch.delenv("OBSERVATORY_URL")
    with make_observatory_api() as found:
        assert found.whoami().account.name == "airflow"


def test_a_connection_that_does_not_work_says_what_to_mend(
    connect: Connect, api: ObservatoryApi, server_url: str
) -> None:
    no_rights = api.post_key(Key(account=api.post_account(Account(name="nobody", grants=[])))).secret
    cases: list[tuple[dict[str, Any], str]] = [
        ({"host": ""}, "does not say where the book is"),
        ({"host": server_url, "password": "obs_1_wrong"}, "the API key belongs into the field"),
        ({"host": server_url, "password": no_rights}, "an administrator must grant it a role"),
        ({"host": "http://127.0.0.1:1"}, "is the host its address"),
        ({"host": server_url, "extra": {"timeout": "soon"}}, "timeout: give seconds, above 0"),
        ({"host": server_url.replace("http:", "https:"), "password": "x"}, "write the host as http://"),
    ]
    for told, expected in cases:
        is_good, said = connect(**told).test_connection()
        assert not is_good
        assert expected in said


def test_a_page_that_is_no_book_is_told_from_one(connect: Connect, page: str) -> None:
    is_good, said = connect(host=page, password="obs_1_x").test_connection()
    assert not is_good
    assert "does not answer as an Observatory server does" in said


def test_time_outs_of_the_form_are_kept(connect: Connect, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    connect(host=page, extra={"timeout": 7, "parse_timeout": "1.5"})
    server = connection_settings()
    assert server
    assert (server.timeout, server.parse_timeout) == (7, 1.5)
    connect(host=page)
    server = connection_settings()
    assert server
    assert (server.timeout, server.parse_timeout) == (None, 3)


@pytest.fixture
def page() -> Iterator[str]:
    """A web page that is something else."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # so called by http.server
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html></html>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Conf:
    """Airflow's settings, as far as they are asked for."""

    def __init__(self, told: dict[str, str]) -> None:
        self._told = told

    def get(self, _: str, name: str, fallback: str) -> str:
        return self._told.get(name, fallback)
