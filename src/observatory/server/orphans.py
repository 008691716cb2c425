"""Worker processes end with the process that started them, however that ends.

Else one that was killed would leave them serving, and its port taken.
"""

import multiprocessing
import signal
from multiprocessing.process import BaseProcess
from threading import Thread


def end_with_parent() -> None:
    """Lets a worker process stop as when it is told to, once its parent is gone; does nothing elsewhere."""
    if parent := multiprocessing.parent_process():
        Thread(target=_stop_after, args=[parent], name="observatory-orphan", daemon=True).start()


def _stop_after(parent: BaseProcess) -> None:
    parent.join()  # waits for the end of a pipe, which the system closes even for a killed process
    signal.raise_signal(signal.SIGTERM)
