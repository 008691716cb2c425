"""The Airflow connection that says where the book is and with which key it is opened."""

from airflow.sdk import Connection, get_current_context
from airflow.sdk.exceptions import AirflowNotFoundException

from ..errors import Invalid

CONNECTION = "observatory_api"


def purpose() -> str | None:
    """Returns what a call is for: outside of tasks, to make DAGs, which a busy server serves after tasks."""
    try:
        get_current_context()
    except RuntimeError:
        return "parsing"
    return None


def connection_settings(conn_id: str = CONNECTION) -> tuple[str, str | None] | None:
    """Returns the URL and the API key of a connection, or None where there is no such connection.

    The host may be a whole URL; otherwise host and port are one, with https where type or schema say so.
    The password is the key. Raises Invalid for a connection without host.
    """
    try:
        connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        return None
    host, port = (connection.host or "").rstrip("/"), connection.port
    if not host:
        raise Invalid(f"the Airflow connection {conn_id} does not say where the book is", {"host": "give it"})
    if "://" not in host:
        secure = "https" in (connection.conn_type, connection.schema)
        host = f"{'https' if secure else 'http'}://{host}"
    return f"{host}:{port}" if port else host, connection.password or None
