"""How long is waited in all: a limit that nothing outlasts, be it a look-up of a name or a body in drops."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import Unavailable

T = TypeVar("T")
WINDOW = 30.0  # seconds after which a process that lives on may wait again
_OF_PROCESS: dict[int, "Patience"] = {}


class OutOfTime(Unavailable):
    """No answer came in the time there was."""


class Patience:
    """So many seconds of waiting, for all that is waited for together."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._began = clock()
        self._used = 0.0

    def left(self) -> float:
        """Returns how many seconds may still be waited."""
        if self._clock() - self._began > WINDOW:
            self._began, self._used = self._clock(), 0.0
        return max(0.0, self.seconds - self._used)

    def wait(self, work: Callable[[float], T], share: float = 1.0) -> T:
        """Returns what the work answers, which is told when it should end, in seconds of `time.monotonic`.

        `share` is the part of the time that it may have. Raises OutOfTime when the time is over: the work
        then goes on in a thread that nobody waits for, since nothing can end a look-up of a name.
        """
        seconds = self.left() * share
        if seconds <= 0:
            raise OutOfTime(f"the {self.seconds:g} s of waiting while a DAG file is read are over")
        done: list[Any] = []
        began = self._clock()

        def do() -> None:
            try:
                done.append((work(time.monotonic() + seconds), None))
            except BaseException as error:  # it is raised again by whoever waits
                done.append((None, error))

        thread = threading.Thread(target=do, daemon=True, name="observatory-asking")
        thread.start()
        thread.join(seconds)
        self._used += self._clock() - began
        if not done:
            raise OutOfTime(f"no answer came in {seconds:.1f} s, while a DAG file is read")
        answer, error = done[0]
        if error is not None:
            raise error
        told: T = answer
        return told


def of_process(seconds: float) -> Patience:
    """Returns the patience that this process has for all services; one that was forked has its own."""
    return _OF_PROCESS.setdefault(os.getpid(), Patience(seconds))
