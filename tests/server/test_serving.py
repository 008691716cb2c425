"""`observatory serve` as an operator has it: where proxies are set, and when its first process is killed."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from observatory import ObservatoryApi, Organisation, Unavailable

from .conftest import Served

ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database has no part in it
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose proxy does not answer, for every host."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, NOBODY)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@ONE
def test_no_proxy_is_asked_for_this_machine(
    proxied: None, served: Callable[..., Served], database_url: str
) -> None:
    server = served(database_url)
    for host in ("127.0.0.1", "localhost"):
        with ObservatoryApi(server.url.replace("127.0.0.1", host)) as api:
            assert len(api.get_table_types()) == 3


def test_the_proxy_is_asked_for_other_machines(proxied: None) -> None:
    with ObservatoryApi("http://observatory.invalid") as api, pytest.raises(Unavailable, match="refused"):
        api.get_table_types()


@ONE
def test_workers_end_with_the_process_that_started_them_even_if_it_is_killed(
    served: Callable[..., Served], database_url: str
) -> None:
    server = served(database_url, workers=2)
    with ObservatoryApi(server.url) as api:
        api.post_organisation(Organisation(name="kept"))
        server.kill(first_only=True)
        assert taken_for_long(server.port) is False
    server.start()
    with ObservatoryApi(server.url) as api:
        assert [found.name for found in api.get_organisations()] == ["kept"]


def taken_for_long(port: int) -> bool:
    """Whether a port is taken for five seconds more."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return False
        time.sleep(0.05)
    return True


@ONE
@pytest.mark.parametrize("behind_tls", ["true", "false"])
def test_a_server_that_others_can_reach_warns_unless_a_proxy_with_tls_is_before_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch, behind_tls: str
) -> None:
    monkeypatch.setenv("OBSERVATORY_BEHIND_TLS", behind_tls)
    command = [sys.executable, "-c", "from observatory.cli import main; main()", "serve"]
    command += ["--host=0.0.0.0", "--port=0", f"--database-url={database_url}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stderr
        assert server.stdout.readline().startswith("listening on http://0.0.0.0:")
        server.terminate()
        warned = "warning: 0.0.0.0 can be reached by others, and keys are sent to it unencrypted"
        assert (warned in server.stderr.read()) == (behind_tls == "false")
