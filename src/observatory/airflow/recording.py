"""Recording: the book is told of releases, and Airflow of the assets that they are partitions of."""

from collections.abc import Sequence

from airflow.sdk import Asset, Context

from ..client import ObservatoryApi
from ..client.claims import Claimed
from ..records import DatasetRelease
from .assets import dataset_asset, mark_assets
from .links import remember_links
from .partitions import partition_key
from .releases import run_of, token_of


def record(
    api: ObservatoryApi,
    releases: Sequence[DatasetRelease],
    context: Context,
    claim: Claimed | None = None,
    partitioned: bool = True,
) -> list[DatasetRelease]:
    """Records releases of whole datasets, all or none, and returns them as they are in the book.

    A task that does it again records nothing twice. Those outlets of the task that are the assets of the
    datasets have an event for each release, with its period as the key where they are `partitioned`.
    """
    told = api.post_dataset_releases(releases, token=token_of(run_of(context), claim), claim=claim)
    for one, given in zip(told, releases, strict=True):
        one.dataset = given.dataset
    tell_airflow(api, told, context, partitioned)
    return told


def tell_airflow(
    api: ObservatoryApi, releases: Sequence[DatasetRelease], context: Context, partitioned: bool = True
) -> None:
    """Tells Airflow of releases of whole datasets that a task recorded: by events of assets, and by links."""
    mark_assets(context, releases)
    if partitioned:
        for one in releases:
            _add_partition(context, one)
    remember_links(context, api, releases)


def _add_partition(context: Context, release: DatasetRelease) -> None:
    uri = dataset_asset(release.dataset).uri
    for asset in context["task"].outlets:
        if isinstance(asset, Asset) and asset.uri == uri:
            context["outlet_events"][asset].add_partitions(partition_key(release.period))
