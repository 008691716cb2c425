"""Workflows on Apache Airflow that keep the book: `Workflow`, its releases, telescopes, and what they share.

Each name is read when it is first asked for: Airflow asks this package what it provides while it is itself
only half read, and in processes that need none of this.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .assets import dataset_asset
    from .claims import Empty, Unobtainable
    from .hook import ObservatoryHook
    from .partitions import partition_key, period_of
    from .releases import PartitionRelease, Release, SnapshotRelease, StreamRelease
    from .sensors import DagRunSensor, DatasetReleaseSensor
    from .tasks import claimed_release, missing_releases, probe_source, record_release
    from .telescopes import PartitionTelescope, SnapshotTelescope, StreamTelescope, Telescope
    from .watching import ReleaseTrigger
    from .workflow import Workflow

__all__ = [
    "DagRunSensor",
    "DatasetReleaseSensor",
    "Empty",
    "ObservatoryHook",
    "PartitionRelease",
    "PartitionTelescope",
    "Release",
    "ReleaseTrigger",
    "SnapshotRelease",
    "SnapshotTelescope",
    "StreamRelease",
    "StreamTelescope",
    "Telescope",
    "Unobtainable",
    "Workflow",
    "claimed_release",
    "dataset_asset",
    "missing_releases",
    "partition_key",
    "period_of",
    "probe_source",
    "record_release",
]
PLACES = {
    "assets": ["dataset_asset"],
    "claims": ["Empty", "Unobtainable"],
    "hook": ["ObservatoryHook"],
    "partitions": ["partition_key", "period_of"],
    "releases": ["PartitionRelease", "Release", "SnapshotRelease", "StreamRelease"],
    "sensors": ["DagRunSensor", "DatasetReleaseSensor"],
    "tasks": ["claimed_release", "missing_releases", "probe_source", "record_release"],
    "telescopes": ["PartitionTelescope", "SnapshotTelescope", "StreamTelescope", "Telescope"],
    "watching": ["ReleaseTrigger"],
    "workflow": ["Workflow"],
}


def __getattr__(name: str) -> object:
    for module, names in PLACES.items():
        if name in names:
            found: object = getattr(import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
