"""What Airflow loads of this package in each of its processes: links, and where it is asked for, the service.

The API server mounts the service at /observatory. Its room and this one do not know each other: it is found
by name, and read for the first request that comes, so that it costs nothing where nobody asks.
"""

from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from .links import DatasetLink, ReleasesLink


class ObservatoryPlugin(AirflowPlugin):
    """The plugin that the provider brings."""

    name = "observatory"
    global_operator_extra_links: list[Any] = [DatasetLink(), ReleasesLink()]  # noqa: RUF012 # as Airflow types it
