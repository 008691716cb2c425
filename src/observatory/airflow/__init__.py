"""Workflows on Apache Airflow that keep the book: `Workflow`, its releases, and telescopes."""

from .releases import Release, SnapshotRelease, StreamRelease
from .telescopes import SnapshotTelescope
from .workflow import Workflow

__all__ = [
    "Release",
    "SnapshotRelease",
    "SnapshotTelescope",
    "StreamRelease",
    "Workflow",
]
