"""`observatory database`: what is done to the database that keeps the book, and not through its HTTP API."""

import os
from typing import Annotated

import msgspec
import typer

from ..settings import Settings, read

database = typer.Typer(no_args_is_help=True, help="The database that keeps the book.")

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="sqlite:///file.db or postgresql://user@host/name.  [default: sqlite:///observatory.db]",
    ),
]


def said_settings(**said: object) -> Settings:
    """Returns what the environment says, and above it what the command line says."""
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(read(os.environ), **given)


@database.command()
def upgrade(database_url: DatabaseUrl = None) -> None:
    """Brings the database to the schema of this version; what is in it is kept."""
    from ..ledger.upgrade import head, upgrade

    settings = said_settings(database_url=database_url)
    upgrade(settings.database_url)
    typer.echo(f"the database is at version {head()}")
