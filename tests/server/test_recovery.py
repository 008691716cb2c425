"""What a caller sees when PostgreSQL was restarted, or when others are at the same records."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi, ObservatoryError, Organisation, Unavailable
from observatory.ledger import upgrade
from observatory.settings import Settings

DAY = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 2, tzinfo=UTC))
OTHERS = (
    b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    b"WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    url = new_database()
    upgrade(url)
    return url


def test_connections_that_broke_while_nobody_used_them_are_no_error(
    api: ObservatoryApi, database_url: str
) -> None:
    api.get_table_types()  # the server has begun
    api._transport._attempts = 1  # so that a refusal is seen, and not repeated
    for number in range(5):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(OTHERS)
        assert len(api.get_table_types()) == 3
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(OTHERS)
        api.post_organisation(Organisation(name=f"after {number}"))


def test_who_deletes_a_dataset_and_who_records_into_it_never_wait_crosswise(
    api: ObservatoryApi, server_url: str, dataset: Dataset
) -> None:
    def record(into: Dataset) -> object:
        with ObservatoryApi(server_url) as mine:
            mine._transport._attempts = 1
            try:
                start, end = DAY
                return mine.post_dataset_release(DatasetRelease(dataset=into, start_date=start, end_date=end))
            except ObservatoryError as error:
                return error

    def delete(of: Dataset) -> object:
        with ObservatoryApi(server_url) as mine:
            try:
                mine.delete_dataset(of.id)
            except ObservatoryError as error:
                return error
        return None

    for number in range(30):
        other = api.post_dataset(
            Dataset(
                name=f"other {number}",
                service="file",
                address="/data",
                workflow=dataset.workflow,
                dataset_type=dataset.dataset_type,
            )
        )
        first = record(other)
        assert isinstance(first, DatasetRelease)
        api.delete_dataset_release(first.id)
        with ThreadPoolExecutor(2) as racers:
            outcomes = [racers.submit(record, other), racers.submit(delete, other)]
        assert not any(isinstance(outcome.result(), Unavailable) for outcome in outcomes)


def test_a_lock_that_is_not_had_soon_is_given_up(
    api: ObservatoryApi, database_url: str, dataset: Dataset
) -> None:
    start, end = DAY
    release = DatasetRelease(dataset=dataset, start_date=start, end_date=end)
    api.post_dataset_release(release)
    api._transport._attempts = 1
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT * FROM holdings FOR UPDATE")
        with pytest.raises(Unavailable, match="others are changing the same"):
            api.put_dataset_release(DatasetRelease(id=1, row_count=7))
        assert len(api.get_dataset_releases(dataset_id=dataset.id)) == 1
    assert api.put_dataset_release(DatasetRelease(id=1, row_count=7)).row_count == 7


ONCE = b"""
CREATE SEQUENCE cuts;
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER cut AFTER UPDATE ON book FOR EACH STATEMENT EXECUTE FUNCTION cut();
"""


def test_a_server_whose_first_commit_is_cut_off_begins_again(
    database_url: str, serve: Callable[[Settings], str]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(ONCE)
    with ObservatoryApi(serve(Settings(database_url=database_url)), timeout=10) as api:
        assert len(api.get_table_types()) == 3
    with psycopg.connect(database_url) as connection:
        assert connection.execute(b"SELECT last_value FROM cuts").fetchone() == (2,)
