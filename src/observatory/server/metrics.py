"""What the server counts, for Prometheus at /metrics.

Requests are counted by the operation, never by the path, so that nothing of the book is in a label. Several
processes keep their counts in a folder that `observatory serve` names, and each tells those of all.
"""

import asyncio
import os
from collections import Counter as Counted
from pathlib import Path

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TOGETHER = 256  # answers are written down so many at a time, which takes less than a millisecond
RIGHT = "audit"  # what a caller needs who reads the counts


class Metrics:
    """The counts of this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        by = ["operation", "method"]
        self._requests = Counter(
            "observatory_requests", "Requests that were answered.", [*by, "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "observatory_request_seconds",
            "From a request's headers to its answer.",
            by,
            buckets=SECONDS,
            registry=self._registry,
        )
        self._rejected = Counter(
            "observatory_rejected",
            "Requests that were not looked at.",
            ["reason"],
            registry=self._registry,
        )
        self.in_flight = self._gauge("in_flight", "Requests that are worked on.")
        self.waiting = self._gauge("waiting", "Requests that wait to be worked on.")
        self._connections = self._gauge("pool_connections", "Connections to the database.")
        self._connections_free = self._gauge("pool_available", "Connections to the database that are free.")
        self._connections_awaited = self._gauge("pool_waiting", "Requests that wait for a connection.")
        self.journal_lag = self._gauge("journal_lag_seconds", "How far the seals are behind.", "livemax")
        self._reasons = Counted[str]()
        self._answers: list[tuple[str, str, int, float]] = []
        self._kept: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Counts an answer, together with others: one at a time costs several times as much."""
        self._answers.append((operation, method, status, seconds))
        if len(self._answers) >= TOGETHER:
            self.write()

    def write(self) -> None:
        """Writes down what was counted since the last time."""
        answers, self._answers = self._answers, []
        for operation, method, status, seconds in answers:
            kept = self._kept.get((operation, method, status))
            if kept is None:  # to look up labels costs more than to count
                requests = self._requests.labels(operation, method, str(status))
                kept = requests, self._seconds.labels(operation, method)
                self._kept[operation, method, status] = kept
            kept[0].inc()
            kept[1].observe(seconds)
        reasons, self._reasons = self._reasons, Counted()
        for reason, count in reasons.items():
            self._rejected.labels(reason).inc(count)

    def rejected(self, reason: str) -> None:
        """Counts a request that was turned away."""
        self._reasons[reason] += 1

    def pool(self, size: int, available: int, waiting: int) -> None:
        """Notes how the connections to the database are used."""
        self._connections.set(size)
        self._connections_free.set(available)
        self._connections_awaited.set(waiting)

    def text(self) -> bytes:
        """Returns all counts as Prometheus reads them; those of other processes are up to a second old."""
        # The library itself asks the environment too: it must know when it is imported.
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not folder:
            return generate_latest(self._registry)
        _forget_the_dead(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together, folder)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _gauge(self, name: str, help: str, together: str = "livesum") -> Gauge:
        return Gauge(f"observatory_{name}", help, registry=self._registry, multiprocess_mode=together)  # type: ignore[arg-type] # one of its literals


def route(metrics: Metrics) -> HTTPRouteHandler:
    """Returns the route that tells the counts."""

    @get(
        "/metrics",
        operation_id="getMetrics",
        summary="What the server counts, for Prometheus",
        tags=["Health"],
        media_type=MEDIA,
        opt={"right": RIGHT, "is_tagged": False},
    )
    async def tell() -> Response[bytes]:
        metrics.write()
        # In a thread, because it reads files where there are several processes.
        return Response(await asyncio.to_thread(metrics.text), media_type=MEDIA)

    return tell


def _forget_the_dead(folder: Path) -> None:
    """Removes what processes told of their present that are no more; what they counted stays."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
