"""What Airflow loads of this package in each of its processes: links, and where it is asked for, the service.

The API server mounts the service at /observatory. The room of the server and this one do not know each other:
only this file names it, and only where the service is switched on. It is started by the first request, so
that the other processes of Airflow, which load this too, read nothing of it.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk.plugins_manager import AirflowPlugin
from msgspec.structs import replace

from ..settings import Settings, read
from .links import DatasetLink, ReleasesLink

if TYPE_CHECKING:
    from fastapi import FastAPI

PATH = "/observatory"
SECTION = "observatory"


class ObservatoryPlugin(AirflowPlugin):
    """The plugin of this package."""

    name = "observatory"
    global_operator_extra_links: list[Any] = [DatasetLink(), ReleasesLink()]  # noqa: RUF012 # as Airflow types it

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Offers the service to the API server, where Airflow's settings switch it on; logs no request."""
        from airflow.configuration import conf

        # As Airflow does with httpx: else the log of each task has a line for every request.
        if (requests := logging.getLogger("httpx2")).level == logging.NOTSET:
            requests.setLevel(logging.WARNING)
        if conf.getboolean(SECTION, "serve", fallback=False):
            app = mountable(settings_of(conf), [f"{url.rstrip('/')}{PATH}" for url in _urls(conf)])
            cls.fastapi_apps = [{"name": "Observatory", "app": app, "url_prefix": PATH}]


def settings_of(conf: Any) -> Settings:
    """Returns the settings of the service: where the book is by Airflow's, all else by the environment."""
    # Here, as processes that serve nothing need none of what it reads.
    from .parsing import home

    told = conf.get(SECTION, "database_url", fallback="")
    scheme, found, rest = (told or f"sqlite:///{home()}/observatory.db").partition("://")
    # As Airflow's own connection is written, which names the driver too.
    url = f"{scheme.partition('+')[0]}{found}{rest}"
    if url.startswith("postgres"):
        in_schema = import_module("observatory.ledger.schemas").in_schema
        url = in_schema(url, conf.get(SECTION, "schema", fallback="observatory"))
    return replace(read(os.environ), database_url=url)


def mountable(settings: Settings, urls: list[str]) -> "FastAPI":
    """Returns the service as Airflow mounts it: only a FastAPI is told when the API server ends."""
    from fastapi import FastAPI

    book = import_module("observatory.server.embedded").Embedded(settings, urls)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await book.stop()

    outer = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    outer.mount("/", book)
    return outer


def _urls(conf: Any) -> list[str]:
    """Returns the address at which users find Airflow, if it is set."""
    url = conf.get("api", "base_url", fallback="")
    return [url] if url else []
