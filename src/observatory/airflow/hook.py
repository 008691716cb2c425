"""The Airflow connection that says where the book is, which key opens it, and how long that may take."""

import os
import sys
from typing import Any, NamedTuple

from airflow.sdk import BaseHook, Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection, GetVariable

from ..client import ObservatoryApi
from ..client.connection import is_safe
from ..errors import Forbidden, Invalid, ObservatoryError, Refused, Unauthorized, Unavailable
from ..records import Key
from ..settings import read

CONNECTION = "observatory_api"
PARSE_TIMEOUT = 3.0  # seconds, where the connection says nothing else
NOT_FOUND = (ErrorType.CONNECTION_NOT_FOUND, ErrorType.VARIABLE_NOT_FOUND)
PATIENCE = 5.0  # seconds for each answer while somebody looks at the form and waits


class Server(NamedTuple):
    """What a connection says.

    `timeout` is for each call, and what OBSERVATORY_TIMEOUT says where the connection says nothing;
    `parse_timeout` for all that one reading of a DAG file asks.
    """

    url: str
    api_key: str | None
    timeout: float | None = None
    parse_timeout: float = PARSE_TIMEOUT


class ObservatoryHook(BaseHook):
    """Opens the book of an Airflow connection.

    In a DAG file, outside of tasks, take `make_observatory_api()`: it answers also while the book is away.
    """

    conn_name_attr = "observatory_conn_id"
    default_conn_name = CONNECTION
    conn_type = "observatory"
    hook_name = "Observatory"

    def __init__(self, observatory_conn_id: str = CONNECTION) -> None:
        super().__init__()
        self.observatory_conn_id = observatory_conn_id

    def get_conn(self) -> ObservatoryApi:
        """Returns the book, to be closed or used in a `with` statement.

        Raises AirflowNotFoundException where there is no such connection, Invalid where it is a wrong one.
        """
        server = settings_of(self.get_connection(self.observatory_conn_id))
        return ObservatoryApi(server.url, server.api_key, server.timeout or read(os.environ).timeout)

    def test_connection(self) -> tuple[bool, str]:
        """Returns whether the book answers and lets the key in, and which book it is, or what to mend."""
        try:
            server = settings_of(self.get_connection(self.observatory_conn_id))
            with ObservatoryApi(server.url, server.api_key, min(server.timeout or PATIENCE, PATIENCE)) as api:
                key = api.whoami()
        except ObservatoryError as error:
            return False, _cure(error)
        seen = "" if is_safe(server.url) else "; the key goes there unencrypted: use https"
        return True, f"the book at {server.url}, {_as_whom(key)}{seen}"


def connection_settings(conn_id: str = CONNECTION) -> Server | None:
    """Returns what a connection says, or None where there is no such connection; it may be of any type."""
    connection = connection_called(conn_id)
    return None if connection is None else settings_of(connection)


def connection_called(conn_id: str) -> Connection | None:
    """Returns a connection of Airflow, or None where there is none; raises Unavailable if nobody can tell."""
    try:
        connection: Connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        # To take a failure for none would lead to another book.
        _require_answer(GetConnection(conn_id=conn_id), f"connection {conn_id}")
        return None
    return connection


def has_variable(name: str) -> bool:
    """Tells whether Airflow has a variable, whatever it says; raises Unavailable if nobody can tell."""
    if Variable.get(name, None) is not None:
        return True
    _require_answer(GetVariable(key=name), f"variable {name}")
    return False


def _require_answer(asked: GetConnection | GetVariable, what: str) -> None:
    """Asks Airflow's API once more for what it is said not to have, as that is said of its failures too.

    Raises Unavailable unless it answers that it has none.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if (comms := getattr(runner, "SUPERVISOR_COMMS", None)) is None:
        return
    try:
        told: Any = comms.send(asked)
    except Exception:  # each way to fail has an error of its own
        told = None
    if not (isinstance(told, ErrorResponse) and told.error in NOT_FOUND):
        raise Unavailable(f"Airflow cannot tell whether it has the {what}; try again")


def settings_of(connection: Any) -> Server:
    """Returns what a connection says, be it one of Airflow's task SDK or of its API server.

    The host may be a whole URL; otherwise host and port are one, with https where type or schema say so, and
    any other schema is the path: `http://host:8080/observatory` is read by Airflow so. The password is the
    key. Raises Invalid for a connection without host, or with a wrong time-out.
    """
    host, port, schema = (connection.host or "").rstrip("/"), connection.port, connection.schema or ""
    if not host:
        name = connection.conn_id
        raise Invalid(f"the Airflow connection {name} does not say where the book is", {"host": "give it"})
    if "://" not in host:
        secure = "https" in (connection.conn_type, schema)
        host = f"{'https' if secure else 'http'}://{host}"
    path = "" if schema in ("", "http", "https") else f"/{schema.strip('/')}"
    extra = connection.extra_dejson
    return Server(
        f"{host}:{port}{path}" if port else f"{host}{path}",
        connection.password or None,
        _seconds(extra, "timeout"),
        _seconds(extra, "parse_timeout") or PARSE_TIMEOUT,
    )


def _seconds(extra: dict[str, Any], name: str) -> float | None:
    told = extra.get(name)
    if told in (None, ""):
        return None
    try:
        seconds = float(told)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise Invalid("the Airflow connection says something wrong", {name: "give seconds, above 0"})
    return seconds


def _as_whom(key: Key) -> str:
    """Returns who a key lets in, for how long, and with which rights."""
    grants = [
        one.role + ("" if one.organisation_id is None else f" in organisation {one.organisation_id}")
        for one in key.account.grants
    ]
    return f"as {key.account.name!r}, until {key.expires:%Y-%m-%d}: {', '.join(grants)}"


def _cure(error: ObservatoryError) -> str:
    """Returns what went wrong, and what to change in the connection."""
    if isinstance(error, Unauthorized):
        return f"{error}; the API key belongs into the field of that name"
    if isinstance(error, Forbidden):
        return f"{error}: an administrator must grant it a role"
    if "CERTIFICATE_VERIFY" in str(error):
        return f"{error}; the certificate must be of this name, by an authority that SSL_CERT_FILE names"
    if "SSL" in str(error):
        return f"{error}; if the server speaks no TLS, write the host as http://…"
    if isinstance(error, Unavailable | Refused):
        return f"{error}; is the host its address, as in https://book.example.org:5002?"
    return str(error)
