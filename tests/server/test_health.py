"""A server knows where it stands: whether it lives, can serve, and fits the database it is given."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2
import psycopg

from observatory import ObservatoryApi
from observatory.ledger import upgrade
from observatory.ledger.upgrade import head
from observatory.settings import Settings

from .conftest import admin_key

Serve = Callable[[Settings], str]


def execute(url: str, text: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(text)
        connection.commit()
        connection.close()
        return
    with psycopg.connect(url, autocommit=True) as postgresql:
        postgresql.execute(text.encode())


def test_a_server_refuses_a_database_without_a_book_and_says_the_cure(
    new_database: Callable[[], str],
) -> None:
    book = new_database()
    command = [sys.executable, "-c", "from observatory.cli import main; main()", "serve", "--port=0"]
    secret = book.replace("//observatory@", "//observatory:secret@")
    done = subprocess.run(
        [*command, f"--database-url={secret}"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert "the database has no book yet" in done.stderr
    assert "observatory database upgrade" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + done.stdout


def test_a_server_that_is_behind_its_database_is_not_ready_but_alive(database_url: str, serve: Serve) -> None:
    url = serve(Settings(database_url=database_url))
    assert httpx2.get(f"{url}/readyz").json() == {"status": "ready"}
    execute(database_url, "UPDATE alembic_version SET version_num = 'of the future'")
    try:
        refused = httpx2.get(f"{url}/readyz")
        assert refused.status_code == refused.json()["status"] == 503
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert f"this code needs {head()}" in refused.json()["detail"]
        assert "observatory database upgrade" in refused.json()["detail"]
        assert httpx2.get(f"{url}/livez").json() == {"status": "alive"}
    finally:
        execute(database_url, f"UPDATE alembic_version SET version_num = '{head()}'")
    assert httpx2.get(f"{url}/readyz").status_code == 200


def test_a_server_whose_database_is_gone_is_not_ready_but_alive_and_comes_back(
    new_database: Callable[[], str], serve: Serve, postgresql: str
) -> None:
    book = new_database()
    upgrade(book)
    url = serve(Settings(database_url=book, connections=2))
    assert httpx2.get(f"{url}/readyz").status_code == 200
    name = urlsplit(book).path.strip("/")

    def allow(connections: str) -> None:
        execute(postgresql, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {connections}")
        execute(
            postgresql, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    allow("false")
    for path in ("/readyz", "/v1/organisations", "/v1/datasets/1"):
        headers = {"Authorization": f"Bearer {admin_key(url)}"}
        refused = httpx2.get(f"{url}{path}", timeout=20, headers=headers)
        assert refused.status_code == 503, refused.text
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["Retry-After"] == "1"
    assert httpx2.get(f"{url}/livez").status_code == 200

    allow("true")
    with ObservatoryApi(url) as api:
        assert len(api.get_table_types()) == 3
