"""Whether a DAG file is being read now, and what is around it: Airflow's folders and its metrics.

A file is read every half a minute by the DAG processor, and once more at the start of each task; also
`python dag_file.py` and a DagBag read one. While a task runs, nothing is read, and neither is it in its
call-backs, in the triggerer or in other parts of Airflow.
"""

import logging
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import main_thread
from types import FrameType

from airflow.sdk import get_current_context, get_parsing_context
from airflow.sdk._shared.observability.metrics import stats
from airflow.sdk.configuration import conf
from airflow.sdk.observability.metrics import stats_utils


def is_reading() -> bool:
    """Tells whether a DAG file is being read now, by this thread or for it.

    Reading a file is running it as a module: a module is being run somewhere below the caller. Airflow itself
    tells only that no task is running, which is so in call-backs and triggers too.
    """
    try:
        get_current_context()
    except RuntimeError:
        return any(map(_is_of_file, _modules(sys._getframe(1)))) or any(map(_is_of_file, _modules(_main())))
    return False


def starts_task() -> bool:
    """Tells whether the file is read for a task that is about to start."""
    return get_parsing_context().dag_id is not None


def home() -> Path:
    """Returns where Airflow keeps its own files on this machine."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()


def folders() -> list[Path]:
    """Returns where DAG files may be: the folder of Airflow's settings, and that of the file's bundle."""
    return [Path(conf.get("core", "dags_folder", fallback=".")), *(Path(one or ".") for one in sys.path)]


def tell(age: float) -> None:
    """Tells Airflow's metrics that a snapshot stands in for the book, and how many seconds old it is."""
    try:
        if stats._factory is None:  # the DAG processor begins only the copy that Airflow's core has
            names = conf.getboolean("metrics", "legacy_names_on", fallback=True)
            stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=names)
        stats.gauge("observatory.snapshot_age", age)
        stats.incr("observatory.snapshot_fallbacks")
    except Exception as error:  # no metric is worth a DAG
        logging.getLogger("observatory.snapshot").warning(
            "no metric tells that a snapshot is used: %s", error
        )


def _main() -> FrameType | None:
    """Returns what the main thread does: a file may ask in threads of its own."""
    return sys._current_frames().get(main_thread().ident or 0)


def _modules(frame: FrameType | None) -> Iterator[FrameType]:
    """Yields the frames of modules that are being run."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            yield frame
        frame = frame.f_back


def _is_of_file(module: FrameType) -> bool:
    # Every program is a module that is being run: only one that is a DAG file is meant. Some are run under
    # another name, as those of execnet are, but are not imported.
    if module.f_globals.get("__name__") != "__main__":
        return module.f_globals.get("__spec__") is not None
    return not _is_supervised() and _holds_dags(module.f_code.co_filename)


def _is_supervised() -> bool:
    """Tells whether Airflow runs a task here, as it does for `dag.test()` also in a file that is run."""
    return (
        getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)
        is not None
    )


@cache
def _holds_dags(file: str) -> bool:
    """Tells whether Airflow would take a file for one with DAGs: by the same two words."""
    try:
        text = Path(file).read_bytes().lower()
    except OSError:
        return False
    return b"dag" in text and b"airflow" in text
