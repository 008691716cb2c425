"""The asset events that an Airflow keeps, read by its REST API (of Airflow 3.3)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from ..errors import NotFound, Refused, Unavailable

PAGE = 100  # the most that Airflow answers at a time unless it is told otherwise
T = TypeVar("T")


class Asset(msgspec.Struct):
    """An asset of Airflow."""

    id: int
    name: str
    uri: str


class AssetEvent(msgspec.Struct):
    """Something was written to an asset: by which task of which run, and what that said of it."""

    id: int
    timestamp: datetime
    extra: dict[str, Any] | None = None
    source_dag_id: str | None = None
    source_run_id: str | None = None
    source_task_id: str | None = None
    source_map_index: int = -1
    partition_key: str | None = None


class Interval(msgspec.Struct):
    """For which time a DAG run was scheduled."""

    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None


class Assets(msgspec.Struct):
    """A page of assets."""

    assets: list[Asset]
    total_entries: int


class AssetEvents(msgspec.Struct):
    """A page of asset events."""

    asset_events: list[AssetEvent]
    total_entries: int


class AirflowEvents:
    """An Airflow at an address, asked with a token; use it in a `with` statement."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx2.Client(base_url=f"{url.rstrip('/')}/api/v2/", headers=headers, timeout=30)

    def __enter__(self) -> "AirflowEvents":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def asset(self, said: str) -> Asset:
        """Returns the asset of a URI or a name; raises NotFound where there is none."""
        for by, field in (("uri_pattern", "uri"), ("name_pattern", "name")):
            at = 0
            while True:
                asked = {by: said, "only_active": "false", "order_by": "id", "limit": PAGE, "offset": at}
                page = self._get("assets", Assets, asked)
                for one in page.assets:
                    if getattr(one, field) == said:
                        return one
                at += len(page.assets)
                if not page.assets or at >= page.total_entries:
                    break
        raise NotFound(f"Airflow knows no asset {said!r} that this token may read")

    def events(self, asset_id: int) -> Iterator[AssetEvent]:
        """Yields the events of an asset, earliest first."""
        at = 0
        while True:
            asked = {"asset_id": asset_id, "order_by": "timestamp", "limit": PAGE, "offset": at}
            page = self._get("assets/events", AssetEvents, asked)
            yield from page.asset_events
            at += len(page.asset_events)
            if not page.asset_events or at >= page.total_entries:
                return

    def interval(self, dag_id: str, run_id: str) -> Interval | None:
        """Returns for which time a DAG run was scheduled; None where the run is not kept any more."""
        try:
            # The id of a run holds characters that a path must not.
            path = "dags/{}/dagRuns/{}".format(*(_quoted(part) for part in (dag_id, run_id)))
            return self._get(path, Interval, {})
        except NotFound:
            return None

    def _get(self, path: str, answer: type[T], asked: dict[str, Any]) -> T:
        try:
            response = self._http.get(path, params=asked)
        except httpx2.TransportError as error:
            raise Unavailable(f"Airflow did not answer: {error or type(error).__name__}") from error
        if response.status_code == 404:
            raise NotFound(f"Airflow has no {path}")
        if not response.is_success:
            raise Refused(f"Airflow answered {response.status_code} to {path}", status=response.status_code)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{path} is not answered as Airflow 3.3 does: {error}") from error


def _quoted(part: str) -> str:
    return quote(part, safe="")
