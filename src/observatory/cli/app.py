"""The commands, put together; and how they end."""

import sys

import typer

from ..errors import ObservatoryError
from .serve import database, serve

app = typer.Typer(
    no_args_is_help=True,
    help="The book that knows which data exists, which is missing, and why.",
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.add_typer(database, name="database")


def run() -> None:
    """Runs the command that was typed."""
    try:
        app()
    except ObservatoryError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
