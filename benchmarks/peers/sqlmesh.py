"""SQLMesh: an hourly model with a snapshot that has intervals, asked as its plans and its scheduler ask.

That is `missing_intervals` over snapshots, which comes to `compute_missing_intervals`. A plan shows the
intervals merged. The model and its intervals are in memory; reading them from its state is not timed.
"""

import sqlglot  # type: ignore[import-not-found]
from sqlmesh.core.model import IncrementalByTimeRangeKind, SqlModel  # type: ignore[import-not-found]
from sqlmesh.core.snapshot import Snapshot, SnapshotChangeCategory  # type: ignore[import-not-found]
from sqlmesh.core.snapshot.definition import (  # type: ignore[import-not-found]
    compute_missing_intervals,
    merge_intervals,
    missing_intervals,
)

from .turns import FIRST, Case, Questions, serve


def make(case: Case) -> Questions:
    """Makes a snapshot that has what is settled."""
    model = SqlModel(
        name="book.hourly",
        kind=IncrementalByTimeRangeKind(time_column="hour"),
        cron="@hourly",
        start=FIRST.date().isoformat(),
        query=sqlglot.parse_one("SELECT 1 AS value, hour"),
    )
    snapshot = Snapshot.from_node(model, nodes={})
    snapshot.categorize_as(SnapshotChangeCategory.BREAKING)
    snapshot.intervals = [
        (int(start.timestamp() * 1000), int(end.timestamp() * 1000)) for start, end in case.settled()
    ]

    def missing() -> list[tuple[int, int]]:
        # It remembers answers by all its intervals, so it helps only where nothing was loaded in between.
        # What it remembers of the ticks of the schedule stays, as it would.
        compute_missing_intervals.cache_clear()
        found: list[tuple[int, int]]
        [found] = missing_intervals([snapshot], FIRST, case.end, execution_time=case.end).values()
        return found

    return {"runs": lambda: len(merge_intervals(missing())), "periods": lambda: len(missing())}


if __name__ == "__main__":
    serve(make)
