"""The book that a command asks: the one that its options name, or the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..client import ObservatoryApi
from ..client.api import DEFAULT_URL
from ..settings import read


@contextmanager
def opened(context: typer.Context) -> Iterator[ObservatoryApi]:
    """Opens the book for a command; the options of the whole command come before the environment."""
    settings, said = read(os.environ), context.find_root().params
    url, api_key = said["url"] or settings.url or DEFAULT_URL, said["api_key"] or settings.api_key
    with ObservatoryApi(url, api_key, settings.timeout) as api:
        yield api
