"""Asking the person at the terminal; where there is none, nothing is asked and nothing hangs."""

import sys

import typer

from .keys import WrongUsage


def agreed(question: str, yes: bool, cure: str) -> bool:
    """Returns whether it may be done: because --yes says so, or the answer does.

    Raises WrongUsage where nobody can answer.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise WrongUsage(f"nobody is there to be asked: {cure}")
    return typer.confirm(question, err=True)
