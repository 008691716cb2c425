"""Workflows on Apache Airflow that keep the book: `Workflow`, its releases, and telescopes."""

from .claims import Empty, Unobtainable
from .partitions import partition_key, period_of
from .releases import PartitionRelease, Release, SnapshotRelease, StreamRelease
from .telescopes import PartitionTelescope, SnapshotTelescope, StreamTelescope, Telescope
from .workflow import Workflow

__all__ = [
    "Empty",
    "PartitionRelease",
    "PartitionTelescope",
    "Release",
    "SnapshotRelease",
    "SnapshotTelescope",
    "StreamRelease",
    "StreamTelescope",
    "Telescope",
    "Unobtainable",
    "Workflow",
    "partition_key",
    "period_of",
]
