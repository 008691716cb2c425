"""`observatory releases missing`: what a source offers and the book does not have."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..records import Dataset
from .book import opened
from .candidates import candidates
from .keys import WrongUsage, id_of
from .releases import Which
from .tables import Output, write_records

SOMETHING_IS_MISSING = 3


def missing(
    context: typer.Context,
    dataset: Which,
    file: Annotated[
        Path | None,
        typer.Option(help="The periods that the source offers; without it, standard input.", metavar="FILE"),
    ] = None,
    output: Output = "table",
) -> None:
    """Compares the periods that a source offers with the book, and lists those that are missing.

    The periods are lines of START END, CSV with the header start_date,end_date, or a JSON list of objects
    with start_date and end_date. Ends with 3 when something is missing, with 0 when nothing is.
    """
    offered = list(candidates(_text(file)))
    with opened(context) as api:
        found = api.get_missing_releases(id_of(api, Dataset, dataset), offered)
    write_records(found, ["start_date", "end_date"], output)
    print(f"{len(found)} of {len(set(offered))} periods are missing", file=sys.stderr)
    if found:
        raise typer.Exit(SOMETHING_IS_MISSING)


def _text(file: Path | None) -> str:
    if file is None and sys.stdin.isatty():
        print("type the periods, START END on each line, and end with Ctrl-D", file=sys.stderr)
    try:
        return sys.stdin.read() if file is None else file.read_text("utf-8-sig")
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongUsage(f"{file or 'standard input'} is not UTF-8") from None
