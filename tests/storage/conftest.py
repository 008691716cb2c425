from collections.abc import Callable
from pathlib import Path

import pytest

from observatory.storage import Storage, open_storage

# The name of each service, and an address in it. One line makes another service pass all of the tests.
SERVICES = {"duckdb": "data/warehouse.duckdb:mpc.codes"}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def address(service: str) -> str:
    return SERVICES[service]


@pytest.fixture
def storage(service: str, tmp_path: Path) -> Storage:
    return open_storage(service, tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
