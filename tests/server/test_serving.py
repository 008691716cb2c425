"""`observatory serve` as an operator has it: where proxies are set, and when its first process is killed."""

from collections.abc import Callable

import pytest

from observatory import ObservatoryApi, Unavailable

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
