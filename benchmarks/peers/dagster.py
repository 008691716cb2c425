"""Dagster: hourly partitions less the subset that is materialized, as its view of assets finds the missing.

What is left are windows of time, and their keys where partitions are wanted. Both subsets are in memory, the
materialized one as windows; reading it from the cache of its instance is not timed.
"""

from dagster import HourlyPartitionsDefinition, TimeWindow  # type: ignore[import-not-found]
from dagster._core.definitions.partitions.subset import (  # type: ignore[import-not-found]
    TimeWindowPartitionsSubset,
)

from .turns import FIRST, Case, Questions, serve


def make(case: Case) -> Questions:
    """Makes the partitions and the subset of those that are settled."""
    partitions = HourlyPartitionsDefinition(start_date=FIRST, end_date=case.end, timezone="UTC")
    windows = [TimeWindow(start, end) for start, end in case.settled()]
    materialized = TimeWindowPartitionsSubset(partitions, None, windows)

    def runs() -> int:
        return len((partitions.subset_with_all_partitions() - materialized).included_time_windows)

    def periods() -> int:
        # It remembers the keys of the last few windows, which helps only where nothing has changed.
        HourlyPartitionsDefinition.get_partition_keys_in_time_window.cache_clear()
        return len([*(partitions.subset_with_all_partitions() - materialized).get_partition_keys()])

    return {"runs": runs, "periods": periods}


if __name__ == "__main__":
    serve(make)
