"""Asking the person at the terminal; where there is none, nothing is asked and nothing hangs."""

import sys

from .keys import WrongUsage


def agreed(question: str, yes: bool, cure: str) -> bool:
    """Returns whether it may be done: because --yes says so, or the answer does.

    Raises WrongUsage where nobody can answer.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise WrongUsage(f"nobody is there to be asked: {cure}")
    # On standard error, since standard output may go into a file.
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
