"""The service inside another application, which does not start it, and whose pages stay its own."""

import asyncio
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psycopg
import pytest

from observatory import Invalid, ObservatoryApi, Organisation, Unauthorized, Unavailable
from observatory.client.saved import load, normal
from observatory.ledger import upgrade
from observatory.ledger.dump import dump
from observatory.ledger.load import load as load_book
from observatory.ledger.schemas import in_schema
from observatory.ledger.upgrade import downgrade

# Some of the client's own tests; all of them are run by the long ones.
from ..client.test_catalogue import test_lists_are_whole_however_many_pages_they_take  # noqa: F401
from ..client.test_releases import test_many_are_recorded_all_or_none  # noqa: F401
from ..conftest import CREDENTIALS
from .mounted import *  # noqa: F403
from .mounted import Mounts, settings


def test_many_first_requests_start_it_once_and_all_are_answered(
    mounted: Mounts, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    # Two processes in truth: each server has a loop and a pool of its own, and neither knows the other.
    both = [mounted(settings(database_url)) for _ in range(2)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: both[n % 2].get("/readyz").status_code, range(16)))
    assert set(answers) == {200}
    assert capfd.readouterr().err.count("the first key of this book") == 1
    assert stat.S_IMODE(CREDENTIALS.stat().st_mode) == 0o600
    for one in both:
        with ObservatoryApi(one.url) as api:
            assert api.whoami().account.name == "admin"


def test_a_start_that_fails_logs_why_and_is_made_again(
    mounted: Mounts, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = mounted(settings(f"sqlite:///{tmp_path}/later/book.db"))
    answer = one.get("/v1/me")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/problem+json"
    # Who asks has shown no key: where the database is, only the log says.
    assert answer.json()["detail"].endswith("its database does not answer; its log says more")
    assert "later/book.db" in capfd.readouterr().err
    (tmp_path / "later").mkdir()
    with (
        ObservatoryApi(one.url, "obs_1_none") as api,
        pytest.raises(Unauthorized),
    ):
        api.whoami()


def test_neither_user_nor_password_of_the_database_is_told(mounted: Mounts, postgresql: str) -> None:
    url = in_schema(f"postgresql://nobody:secret@/postgres?{postgresql.partition('?')[2]}", "observatory")
    answer = mounted(settings(url)).get("/readyz")
    assert answer.status_code == 503
    assert "nobody" not in answer.text
    assert "secret" not in answer.text


def test_all_links_stay_below_the_path(mounted: Mounts, tmp_path: Path) -> None:
    one = mounted(settings(f"sqlite:///{tmp_path}/book.db"))
    assert httpx2.get(f"{one.url}/", follow_redirects=True).url == f"{one.url}/docs"
    assert one.get("/docs/swagger-ui.css").status_code == 200
    assert one.get("/v1/openapi.json").json()["servers"] == [{"url": "/observatory"}]
    nowhere = one.get("/v1/nowhere/observatory/v1/me")
    assert (nowhere.status_code, nowhere.headers["Content-Type"]) == (404, "application/problem+json")
    assert httpx2.get(f"{one.outer}/v1/me").json() == {"detail": "Not Found"}


def test_what_is_turned_away_here_is_answered_by_the_pages_around_it(mounted: Mounts, tmp_path: Path) -> None:
    one = mounted(settings(f"sqlite:///{tmp_path}/book.db", rate=1))
    statuses = [one.get("/v1/me").status_code for _ in range(8)]
    assert 429 in statuses
    assert all(httpx2.get(f"{one.outer}/health").status_code == 200 for _ in range(8))


def test_who_waits_for_news_goes_when_it_stops(mounted: Mounts, tmp_path: Path) -> None:
    one = mounted(settings(f"sqlite:///{tmp_path}/book.db"))
    one.get("/readyz")
    answers: list[int] = []
    key = load(CREDENTIALS).servers[normal(one.url)]

    def wait() -> None:
        asked = {"after": "now", "wait": "30"}
        told = {"Authorization": f"Bearer {key}"}
        url = f"{one.url}/v1/journal"
        answers.append(httpx2.get(url, params=asked, headers=told, timeout=40).status_code)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    began = time.monotonic()
    one.loop.call_soon_threadsafe(one.book.leave)
    waiting.join(10)
    assert answers == [200]
    asyncio.run_coroutine_threadsafe(one.book.stop(), one.loop).result(10)
    assert time.monotonic() - began < 5


def test_two_books_are_kept_beside_the_tables_of_others(
    mounted: Mounts, new_database: Callable[[], str]
) -> None:
    url = new_database()
    with psycopg.connect(url) as connection:
        # As Airflow has them, one of them called as one of ours.
        connection.execute(b"CREATE TABLE alembic_version AS SELECT 'theirs' AS version_num")
        connection.execute(b"CREATE TABLE journal AS SELECT 1 AS entry")
    for schema in ("one", "two"):
        with ObservatoryApi(_ready(mounted, in_schema(url, schema))) as api:
            api.post_organisation(Organisation(name=schema))
            assert [found.name for found in api.get_organisations()] == [schema]
    with psycopg.connect(url) as connection:
        assert connection.execute(b"TABLE alembic_version").fetchall() == [("theirs",)]
        assert connection.execute(b"TABLE journal").fetchall() == [(1,)]
        asked = b"SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert connection.execute(asked).fetchall() == [(2,)]
    with pytest.raises(Unavailable, match=r"does not know.*theirs"):
        upgrade(in_schema(url, "public"))


def test_an_older_book_is_brought_up_to_date_by_the_first_request(mounted: Mounts, database_url: str) -> None:
    before = mounted(settings(database_url))
    before.get("/readyz")
    with ObservatoryApi(before.url) as api:
        kept = api.post_organisation(Organisation(name="Curtin Press"))
    before.stop()
    mounted.started.clear()
    downgrade(database_url, "-1")
    with ObservatoryApi(_ready(mounted, database_url)) as api:
        assert api.get_organisation(kept.id).name == "Curtin Press"


def test_a_server_of_its_own_takes_over_by_the_same_url(
    mounted: Mounts, database_url: str, serve: Callable[..., str], let_in: Callable[[str, str], None]
) -> None:
    with ObservatoryApi(_ready(mounted, database_url)) as api:
        kept = api.post_organisation(Organisation(name="Curtin Press"))
    with ObservatoryApi(serve(settings(database_url))) as api:
        assert api.get_organisation(kept.id) == kept


def test_a_whole_book_moves_out_of_its_schema(
    mounted: Mounts, new_database: Callable[[], str], tmp_path: Path
) -> None:
    inside, own = in_schema(new_database(), "observatory"), f"sqlite:///{tmp_path}/own.db"
    with ObservatoryApi(_ready(mounted, inside)) as api:
        kept = api.post_organisation(Organisation(name="Curtin Press"))
    written = dump(inside, tmp_path / "book.dump", datetime.now(UTC))
    assert load_book(own, tmp_path / "book.dump") == written
    with ObservatoryApi(_ready(mounted, own)) as api:
        assert api.get_organisation(kept.id) == kept


@pytest.mark.parametrize("name", ["", "Sales", "a;b", "pg_own", "a b", "ä"])
def test_what_is_no_name_of_a_schema_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="schema"):
        in_schema("postgresql://localhost/airflow", name)


def test_a_schema_is_one_more_option_of_the_url() -> None:
    told = in_schema("postgresql://a@/b?host=/run/x&options=-c%20work_mem%3D8MB", "book")
    assert told == "postgresql://a@/b?host=/run/x&options=-c%20work_mem%3D8MB%20-csearch_path%3Dbook"


def _ready(mounted: Mounts, database_url: str) -> str:
    one = mounted(settings(database_url))
    assert one.get("/readyz").status_code == 200
    return one.url
