"""The book that a command asks: the one that its options name, or the environment."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from ..client import KeyIsSentInTheOpen, ObservatoryApi
from ..client.saved import url_for
from ..settings import read


@contextmanager
def opened(context: typer.Context) -> Iterator[ObservatoryApi]:
    """Opens the book for a command; the options of the whole command come before the environment."""
    api_key: str | None = context.find_root().params["api_key"]
    with opened_at(url_of(context), api_key) as api:
        yield api


def url_of(context: typer.Context) -> str:
    """Returns the address of the server that a command asks."""
    return context.find_root().params["url"] or url_for(read(os.environ))


@contextmanager
def opened_at(url: str, api_key: str | None) -> Iterator[ObservatoryApi]:
    """Opens the book at an address, with a key or the one that is known for it; warnings are a line."""

    def tell(message: object, *_: Any) -> None:
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings(), ObservatoryApi(url, api_key, read(os.environ).timeout) as api:
        warnings.simplefilter("always", KeyIsSentInTheOpen)
        warnings.showwarning = tell  # type: ignore[assignment] # it is called with more, which nobody needs
        yield api
