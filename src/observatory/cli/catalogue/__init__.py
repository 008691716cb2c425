"""`observatory apply` and `observatory export`: what is in a book before any release, kept in a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...client import ObservatoryApi
from ...errors import ObservatoryError
from ..asking import agreed
from ..book import opened
from ..database import DatabaseUrl, dump_all
from ..keys import WrongUsage
from ..show import write
from .entries import entries
from .export import dump
from .mistakes import Mistake, WrongFile
from .plan import Book, Change, carry_out, plan, read_book
from .source import LARGEST, load
from .telling import summary, told


def apply(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - is standard input.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is changed.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
) -> None:
    """Puts the catalogue in a file into the book.

    A catalogue lists organisations, types, workflows and datasets. What is to be created and changed is shown
    first, and nothing is done without a yes. Records that are not in the file stay, and so do fields that it
    does not give; applying a file twice changes nothing more.
    """
    with opened(context) as api:
        changes, book = _planned(api, file)
        write(told(changes))
        due = [change for change in changes if change.differences or change.current is None]
        if (
            due
            and not dry_run
            and agreed("Apply this?", yes, "say --yes to apply it, or --dry-run only to look")
        ):
            _carry_out(api, due, book)


def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Written anew; without it, standard output.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="The whole book instead, from its database, as a file for `import`."),
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Writes the catalogue of the book, as a file for `apply`; or all of it, as a file for `import`."""
    if everything:
        dump_all(file, database_url)
        return
    if database_url:
        raise WrongUsage("--database-url goes with --all: the catalogue is asked of a server, at --url")
    with opened(context) as api:
        text = dump(read_book(api))
    if file is None:
        write(text)
    else:
        _replace(file, text)


def _planned(api: ObservatoryApi, file: str) -> tuple[list[Change], Book]:
    name = "standard input" if file == "-" else file
    try:
        source = load(_text(file))
        described = entries(source)
        book = read_book(api)
        return plan(source, described, book), book
    except WrongFile as error:
        raise WrongFile(error.mistakes, name) from None


def _text(file: str) -> str:
    try:
        # One byte more than is accepted shows that there is more.
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(LARGEST + 1)
        if len(data) <= LARGEST:
            return data.decode("utf-8-sig")
        why = f"is larger than {LARGEST // 2**20} MiB: split it"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        why = f"is not UTF-8: look at byte {error.start}"
    raise WrongFile([Mistake(None, why)])


def _carry_out(api: ObservatoryApi, changes: list[Change], book: Book) -> None:
    for done, change in enumerate(changes):
        try:
            carry_out(api, change, book)
        except ObservatoryError:
            print(f"{done} of {len(changes)} done; apply the file again to go on from there", file=sys.stderr)
            raise
    write(summary(changes) + "\n")


def _replace(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"{file} cannot be written: {error.strerror}") from None
