"""`observatory snapshot`: the catalogue, published with the DAG files."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ..client.published import Published, load, publish
from ..client.saved import normal
from ..errors import Conflict
from ..records import Contents, is_given
from .book import opened, url_of

Folder = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, metavar="DAG_FOLDER", help="Where the DAG files are.")
]


def snapshot(
    context: typer.Context,
    dag_folder: Folder,
    addresses: Annotated[
        bool,
        typer.Option("--addresses", help="Write storage addresses too, if the key may read them."),
    ] = False,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="URL", help="The address by which workers know the book, if another."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; end with 1 where the file is not what the book says."),
    ] = False,
) -> None:
    """Writes the catalogue beside the DAG files: a new worker begins with it when the book does not answer.

    The file is observatory-catalogue.json. It has what your key may see, for all who read the DAG files to
    see, and holds for the address of the book that it names. Addresses in it are not encrypted.
    """
    file = dag_folder / Published.FILE
    before = load(file)
    url = normal(for_ or (before.url if check and before else url_of(context)))
    if check:
        addresses = before is not None and any(is_given(one.address) for one in before.contents.datasets)
    with opened(context) as api:
        contents = api.whole_catalogue(addresses)
    if not check:
        if before and before.contents.book != contents.book:
            raise Conflict(f"{file} is of another book: if that is right, remove it first")
        publish(dag_folder, Published(url, datetime.now(UTC), contents))
        print(f"{file}: {_number(contents)}", file=sys.stderr)
    elif before is None or normal(before.url) != url or _said(before.contents) != _said(contents):
        print(f"{file} is not what the book says now: run `observatory snapshot`", file=sys.stderr)
        raise typer.Exit(1)


def _said(contents: Contents) -> Contents:
    """Returns what a catalogue says: others may have made and removed something since."""
    return msgspec.structs.replace(contents, position=0, may_read_addresses=False)


def _number(contents: Contents) -> str:
    kinds = ("organisations", "workflows", "datasets")
    return ", ".join(f"{len(getattr(contents, kind))} {kind}" for kind in kinds)
