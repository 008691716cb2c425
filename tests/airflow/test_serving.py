"""A real API server of Airflow, in two processes, that serves the book beside its own pages."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psycopg
import pytest

from observatory import ObservatoryApi, Organisation
from observatory.client.saved import load, normal
from observatory.ledger import upgrade
from observatory.ledger.upgrade import downgrade

from ..conftest import CREDENTIALS
from ..server.conftest import free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
AIRFLOW = [sys.executable, "-m", "airflow"]
ROUNDS = 60


class ApiServer:
    """`airflow api-server` in two processes."""

    def __init__(self, home: Path, **told: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        # Each call on a connection of its own, as both processes take them in turn.
        self._http = httpx2.Client(base_url=self.url, timeout=30, headers={"Connection": "close"})
        self._log = (home / f"api-{port}.log").open("w")
        command = [*AIRFLOW, "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
        self._process = subprocess.Popen(
            command,
            env=environment(home) | told,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Waits until it answers, which takes it long on a machine that has much else to do."""
        deadline = time.monotonic() + 240
        while self.seconds("/api/v2/monitor/health") is None:
            assert time.monotonic() < deadline, Path(self._log.name).read_text()[-3000:]
            time.sleep(0.5)

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def seconds(self, path: str, **headers: str) -> float | None:
        """Returns how long a page takes, or None where nobody answers."""
        began = time.perf_counter()
        try:
            answer = self._http.get(path, headers=headers)
        except httpx2.TransportError:
            return None
        assert answer.status_code == 200, answer.text
        return time.perf_counter() - began

    def stop(self) -> float:
        """Stops it as an operator does, and returns how long that took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._log.close()
            self._http.close()
        return time.monotonic() - began


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-this-test-that-is-long-enough-for-it",
        "AIRFLOW__API__SECRET_KEY": "another-secret-of-this-test",
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    subprocess.run([*AIRFLOW, "db", "migrate"], env=environment(tmp_path), check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def api_server(home: Path) -> Iterator[Callable[..., ApiServer]]:
    started: list[ApiServer] = []

    def start(**told: str) -> ApiServer:
        started.append(ApiServer(home, **told))
        started[-1].wait()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_the_book_is_served_beside_airflows_pages_which_are_no_slower(
    home: Path, api_server: Callable[..., ApiServer], capsys: pytest.CaptureFixture[str]
) -> None:
    book = f"sqlite:///{home}/observatory.db"
    upgrade(book)
    downgrade(book, "-1")
    without, serving = api_server(), api_server(AIRFLOW__OBSERVATORY__SERVE="True")
    url = f"{serving.url}/observatory"
    # Airflow runs, and the book is of an earlier version until somebody asks for it.
    assert httpx2.get(f"{url}/readyz", timeout=60).json() == {"status": "ready"}
    with ObservatoryApi(url) as api:
        kept = api.post_organisation(Organisation(name="Curtin Press"))
        assert all(api.get_organisation(kept.id) == kept for _ in range(20))
    assert "the first key of this book" in serving.log()
    assert load(CREDENTIALS).servers[normal(url)] not in serving.log()
    token = httpx2.get(f"{serving.url}/auth/token").json()["access_token"]
    for path in ("/api/v2/monitor/health", "/api/v2/dags"):
        _compare(path, {"Authorization": f"Bearer {token}"}, without, serving, capsys)
    _stops_at_once(serving, url)


def test_its_tables_are_in_a_schema_of_a_postgresql_that_is_there(
    api_server: Callable[..., ApiServer], new_database: Callable[[], str]
) -> None:
    url = new_database()
    told = {"AIRFLOW__OBSERVATORY__SERVE": "True", "AIRFLOW__OBSERVATORY__SCHEMA": "book"}
    serving = api_server(**told, AIRFLOW__OBSERVATORY__DATABASE_URL=url)
    served = f"{serving.url}/observatory"
    # Both processes make the schema, its tables and the first key at the same moment.
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx2.get(f"{served}/readyz", timeout=120), range(8)))
    assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
    with ObservatoryApi(served) as api:
        kept = api.post_organisation(Organisation(name="Curtin Press"))
        assert all(api.get_organisation(kept.id) == kept for _ in range(20))
    assert serving.log().count("the first key of this book") == 1
    with psycopg.connect(url) as connection:
        asked = b"SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^(pg_|information_)'"
        assert connection.execute(asked).fetchall() == [("book",)]


def _compare(
    path: str,
    headers: dict[str, str],
    without: ApiServer,
    serving: ApiServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Tells how long a page takes with and without the service, asked in turn."""
    pairs = [
        (without.seconds(path, **headers) or 0, serving.seconds(path, **headers) or 0) for _ in range(ROUNDS)
    ]
    alone, beside = (statistics.median(times) * 1000 for times in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\n{path}: {alone:.1f} ms without, {beside:.1f} ms with, ratio {beside / alone:.2f}")
    # Not told exactly: the machine is shared.
    assert beside < 2 * alone + 5


def _stops_at_once(serving: ApiServer, url: str) -> None:
    """Stops it while somebody waits for news for half a minute."""
    key = load(CREDENTIALS).servers[normal(url)]
    answers: list[int] = []

    def wait() -> None:
        told = {"Authorization": f"Bearer {key}"}
        answers.append(
            httpx2.get(f"{url}/v1/journal?after=now&wait=30", headers=told, timeout=60).status_code
        )

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(1)
    assert serving.stop() < 15
    waiting.join()
    assert answers == [200]
