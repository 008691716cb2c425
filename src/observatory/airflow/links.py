"""Links on the page of a task: to the dataset and to the releases that it recorded.

The plugin shows them on tasks of every operator, as soon as these have noted what they recorded.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from airflow.sdk import BaseOperator, BaseOperatorLink, Context

from ..client import ObservatoryApi
from ..records import DatasetRelease


class NotedLink(BaseOperatorLink):
    """A link that the task noted when it ran; without one, Airflow shows none."""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Returns the link; the API server asks for it, and where an operator names it, the worker too."""
        if pull := getattr(ti_key, "xcom_pull", None):
            return pull(task_ids=ti_key.task_id, key=self.xcom_key, map_indexes=ti_key.map_index) or ""
        # Here, because a worker has no database to look into.
        from airflow.serialization.definitions.operatorlink import XComOperatorLink

        return XComOperatorLink(self.name, self.xcom_key).get_link(operator, ti_key=ti_key)  # type: ignore[arg-type] # passed over there


class DatasetLink(NotedLink):
    """The dataset of which a task recorded something."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Dataset in the book"

    @property
    def xcom_key(self) -> str:
        """Where the link is noted."""
        return "observatory_dataset_link"


class ReleasesLink(NotedLink):
    """The releases that a task recorded."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Releases in the book"

    @property
    def xcom_key(self) -> str:
        """Where the link is noted."""
        return "observatory_releases_link"


def remember_links(context: Context, api: ObservatoryApi, releases: Sequence[DatasetRelease]) -> None:
    """Notes what a task recorded, for the links on its page. Of several datasets, the first one is linked."""
    if not releases:
        return
    ids = sorted({one.dataset.id for one in releases})
    asked: dict[str, Any] = {"dataset_id": ids[0]} if len(ids) == 1 else {}
    asked["start_date"] = min(one.start_date for one in releases).isoformat()
    asked["end_date"] = max(one.end_date for one in releases).isoformat()
    base, task = f"{api.url}/v1", context["ti"]
    task.xcom_push(key=DatasetLink().xcom_key, value=f"{base}/datasets/{ids[0]}")
    task.xcom_push(key=ReleasesLink().xcom_key, value=f"{base}/dataset-releases?{urlencode(asked)}")
