"""Datasets of the book as Airflow's assets: `observatory://<organisation>/<workflow>/<dataset>`.

Names are percent-encoded, so that a slash in one separates nothing. OpenLineage knows the dataset by the same
text: the organisation is its namespace, and the rest its name.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow.sdk import Asset, Context

from ..errors import Invalid
from ..records import Dataset, DatasetRelease, is_given
from .partitions import partition_key

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset as LineageDataset

SCHEME = "observatory"
FORM = f"write it as {SCHEME}://<organisation>/<workflow>/<dataset>, each name percent-encoded"


def dataset_asset(dataset: Dataset) -> Asset:
    """Returns the asset of a dataset as the book answers it; its address is not told.

    Raises Invalid where only a part of the record is there.
    """
    if not (is_given(dataset.workflow) and is_given(dataset.workflow.organisation)):
        raise Invalid("the dataset does not say whose it is", {"dataset": "read it by api.get_dataset(id)"})
    workflow = dataset.workflow
    extra = {"dataset_id": dataset.id, "service": dataset.service}
    return make_asset(workflow.organisation.name, workflow.name, dataset.name, extra)


def make_asset(organisation: str, workflow: str, dataset: str, extra: dict[str, Any] | None = None) -> Asset:
    """Returns the asset of a dataset by its three names, as hooks that collect lineage ask for one too."""
    return Asset(uri=_uri([organisation, workflow, dataset]).geturl(), extra=extra)


def normal_uri(parts: SplitResult) -> SplitResult:
    """Returns the one spelling of a URI that was written by hand. Airflow asks it for each of this scheme.

    Raises ValueError for what names no dataset.
    """
    try:
        names = [unquote(name, errors="strict") for name in (parts.netloc, *parts.path[1:].split("/"))]
    except UnicodeDecodeError:
        names = []
    if len(names) != 3 or not all(map(str.strip, names)) or parts.query or parts.fragment:
        raise ValueError(f"{parts.geturl()!r} names no dataset of the book: {FORM}")
    return _uri(names)


def mark_assets(context: Context, releases: Sequence[DatasetRelease]) -> None:
    """Notes which releases a task reads or records with its inlets and outlets of their datasets.

    What a lineage service is told of them then has a version. The datasets must be whole records. The events
    of outlets get the same facts; which partition they are of is left to whoever records.
    """
    told = {dataset_asset(one.dataset).uri: facts_of(one) for one in releases}
    task, events = context["task"], context["outlet_events"]
    for asset in [*task.inlets, *task.outlets]:
        if isinstance(asset, Asset) and asset.uri in told:
            # In place, because these very assets are what is told of when the task has ended.
            asset.extra.update(told[asset.uri])
    for asset in task.outlets:
        if isinstance(asset, Asset) and asset.uri in told:
            events[asset].extra.update(told[asset.uri])


def facts_of(release: DatasetRelease) -> dict[str, Any]:
    """Returns what is told of a release with its asset: which it is, and what became of the data."""
    facts: dict[str, Any] = {
        "release_id": release.id,
        "partition_key": partition_key(release.period),
        "revision": release.revision,
        "state": release.state,
        "lifecycle": _lifecycle(release),
    }
    return facts | ({"version_label": release.version_label} if release.version_label else {})


def to_openlineage(asset: Asset, lineage_context: object) -> "LineageDataset":
    """Returns what a lineage service is told of an asset; it has a version where a release was noted."""
    # Here, because it is a provider of its own, and only who has it calls this.
    from openlineage.client.event_v2 import Dataset as LineageDataset
    from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset
    from openlineage.client.facet_v2 import lifecycle_state_change_dataset as life

    parts, extra = urlsplit(asset.uri), asset.extra
    facets: dict[str, DatasetFacet] = {}
    if version := _version(extra):
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(version)
    if lifecycle := extra.get("lifecycle"):
        change = life.LifecycleStateChange(lifecycle)
        facets["lifecycleStateChange"] = life.LifecycleStateChangeDatasetFacet(change)
    return LineageDataset(namespace=f"{SCHEME}://{parts.netloc}", name=parts.path.lstrip("/"), facets=facets)


def _uri(names: Sequence[str]) -> SplitResult:
    organisation, *path = [quote(name, safe="") for name in names]
    return SplitResult(SCHEME, organisation, f"/{'/'.join(path)}", "", "")


def _version(extra: dict[str, Any]) -> str | None:
    """Returns the version as the source calls it, which is how the book reads it too, else the period."""
    if (label := extra.get("version_label")) or not (key := extra.get("partition_key")):
        return label
    revision = extra.get("revision") or 1
    return str(key) if revision == 1 else f"{key} revision {revision}"


def _lifecycle(release: DatasetRelease) -> str | None:
    """Returns what recording a release says of the dataset: data that came, was replaced, or went away."""
    if release.state in ("expired", "withdrawn"):
        return "DROP"
    if release.state != "present":
        return None
    if release.revision > 1:
        return "OVERWRITE"
    kind = release.dataset.dataset_type.table_type.type_id
    return "CREATE" if kind.partition("_")[0] == "sharded" else "ALTER"
