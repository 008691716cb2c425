"""Catching up without Airflow's catchup: 500 days of a weather station, of which each run loads some.

A run loads at most `per_run` of the days that are missing, four at a time, the newest first, since those are
asked for most. Whatever interrupts it, the next run goes on with what is missing then, and no day is loaded
twice. The station is a formula here, so that nothing needs to be downloaded.

    OBSERVATORY_PER_RUN, OBSERVATORY_ORDER (newest or oldest)
"""

import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from observatory.airflow import PartitionRelease, PartitionTelescope

DAY = timedelta(days=1)
OPENED, DAYS = datetime(2025, 1, 1, tzinfo=UTC), 500


class WeatherStation(PartitionTelescope):
    """Loads the hourly temperatures of each day."""

    def offered(self) -> list[PartitionRelease]:
        """Returns the days since the station was opened, until it was closed."""
        return [PartitionRelease(OPENED + n * DAY, OPENED + (n + 1) * DAY) for n in range(DAYS)]

    def fetch(self, release: PartitionRelease, folder: Path) -> Path:
        """Reads off the thermometer."""
        file = folder / "day.json"
        file.write_text(json.dumps([self.at_hour(release.start_date, hour) for hour in range(24)]))
        return file

    def at_hour(self, day: datetime, hour: int) -> dict[str, Any]:
        """Returns the temperature in degrees Celsius at an hour of UTC: warmest in July, and after noon."""
        season, sun = day.timetuple().tm_yday / 365, (hour - 9) / 24
        celsius = 10 - 9 * math.cos(2 * math.pi * season) + 4 * math.sin(2 * math.pi * sun)
        return {"time": (day + timedelta(hours=hour)).isoformat(), "celsius": round(celsius, 1)}


telescope = WeatherStation(
    "catching_up",
    dataset_name="temperatures",
    folder=Path(os.environ.get("OBSERVATORY_DATA", "data")),
    per_run=int(os.environ.get("OBSERVATORY_PER_RUN", "100")),
    order="oldest" if os.environ.get("OBSERVATORY_ORDER") == "oldest" else "newest",
    at_once=4,
    schedule="@daily",
    doc_md=__doc__,
)
globals()[telescope.dag_id] = telescope.make_dag()
