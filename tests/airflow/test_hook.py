import json
import os

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse

from observatory import Invalid, ObservatoryApi, Unavailable, make_observatory_api
from observatory.airflow.hook import connection_settings, has_variable

FIELDS = {
    "conn_type": "http",
    "host": "book.example.org",
    "port": 8443,
    "schema": "https",
    "password": "secret",
}


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("http://book.example.org", ("http://book.example.org", None)),
        ("http://:secret@book.example.org:5002", ("http://book.example.org:5002", "secret")),
        ("https://:secret@book.example.org", ("https://book.example.org", "secret")),
        (json.dumps(FIELDS), ("https://book.example.org:8443", "secret")),
        (
            json.dumps({"conn_type": "generic", "host": "https://example.org/book/"}),
            ("https://example.org/book", None),
        ),
        # What Airflow reads as the schema is the path of a service inside another.
        ("http://:secret@localhost:8080/observatory", ("http://localhost:8080/observatory", "secret")),
        ("observatory://:secret@book.example.org/https", ("https://book.example.org", "secret")),
    ],
)
def test_a_connection_says_where_the_book_is_and_with_which_key(
    monkeypatch: pytest.MonkeyPatch, connection: str, expected: tuple[str, str | None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OBSERVATORY_API", connection)
    server = connection_settings()
    assert server
    assert (server.url, server.api_key) == expected


def test_without_a_connection_there_are_no_settings() -> None:
    assert "AIRFLOW_CONN_OBSERVATORY_API" not in os.environ
    assert connection_settings() is None


@pytest.mark.parametrize("kind", [ErrorType.API_SERVER_ERROR, ErrorType.GENERIC_ERROR, None])
def test_what_airflow_cannot_tell_is_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, kind: ErrorType | None
) -> None:
    class Supervisor:
        """What a task asks Airflow by, whose API fails."""

        def send(self, asked: object) -> ErrorResponse:
            if kind is None:
                raise ConnectionError("the API server does not answer")
            return ErrorResponse(error=kind)

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    with pytest.raises(Unavailable, match="cannot tell whether it has the connection observatory_api"):
        connection_settings()
    with pytest.raises(Unavailable, match="cannot tell whether it has the variable region"):
        has_variable("region")
    kind = ErrorType.CONNECTION_NOT_FOUND
    assert connection_settings() is None
    kind = ErrorType.VARIABLE_NOT_FOUND
    assert not has_variable("region")


def test_a_connection_without_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OBSERVATORY_API", "http://:secret@")
    with pytest.raises(Invalid, match="host: give it"):
        connection_settings()


def test_the_client_finds_the_book_by_the_connection(
    server_url: str, api: ObservatoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBSERVATORY_URL")
    monkeypatch.setenv("AIRFLOW_CONN_OBSERVATORY_API", server_url)
    with make_observatory_api() as found:
        assert found.get_table_types() == api.get_table_types()
