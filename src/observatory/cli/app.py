"""The commands, put together; and how they end."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import ObservatoryError, Unauthorized
from .access import accounts, keys
from .adopting import adopt
from .catalogue import apply, export
from .catalogue.entries import KINDS
from .claims import claim, claims, give_back
from .database import database, load_all
from .derived import derived, stale
from .importing import adopt_from
from .journal import journal
from .login import login, logout, whoami
from .marking import mark
from .missing import compared, missing
from .recording import add, revise
from .releases import coverage, releases
from .resources import resource
from .ring import reencrypt, ring
from .serve import serve
from .snapshot import snapshot
from .wanted import offers, probe, status
from .withdrawing import withdraw

HELP = """The book that knows which data exists, which is missing, and why.

Ends with 0 when it is done, 1 when the book refused or was not reached, 2 when the command or a file is
wrong, 3 when something is missing, late or stale.
"""

NO_KEY = "`observatory login` keeps another key; `observatory database key` makes one where the database is"
INTERRUPTED = 130  # as shells count it: 128 and the number of the signal

# Plain help: with rich's, 80 columns are half frames, and a default in brackets is taken for markup.
app = typer.Typer(
    no_args_is_help=True,
    help=HELP,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"observatory {version('observatory-ledger')}")
        raise typer.Exit


@app.callback()
def observatory(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the book is served; OBSERVATORY_URL.  [default: the server that was logged in to, or http://127.0.0.1:5002]",
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Better given as OBSERVATORY_API_KEY: other users of a machine see options."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Takes the options that all commands share."""


for kind in KINDS:
    app.add_typer(resource(kind), name=kind.path)
releases.command("add")(add)
releases.command("revise")(revise)
releases.command()(withdraw)
releases.command()(mark)
releases.command("missing")(compared)
releases.command()(derived)
app.add_typer(releases, name="releases")
app.command()(coverage)
app.command()(missing)
app.command()(status)
app.command()(probe)
app.command()(offers)
app.command()(stale)
app.command()(adopt)
app.command()(claim)
app.command()(withdraw)
app.command("revise")(revise)
app.command()(give_back)
app.add_typer(claims, name="claims")
app.add_typer(adopt_from, name="adopt-from")
app.command()(apply)
app.command()(export)
app.command()(snapshot)
app.command(name="import")(load_all)
app.command()(login)
app.command()(logout)
app.command()(whoami)
app.add_typer(accounts, name="accounts")
keys.command()(ring)
keys.command()(reencrypt)
app.add_typer(keys, name="keys")
app.add_typer(journal, name="journal")
app.command(short_help="Serves the book.")(serve)
app.add_typer(database, name="database")


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that was typed and returns its exit code; what went wrong is told in a line."""
    try:
        ended = app(arguments, prog_name="observatory", standalone_mode=False)
    except ObservatoryError as error:
        _tell(str(error))
        if isinstance(error, Unauthorized):
            print(f"help: {NO_KEY}", file=sys.stderr)
        return 1
    except typer.TyperException as error:
        _tell_usage(error)
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    return ended if isinstance(ended, int) else 0


def _tell_usage(error: typer.TyperException) -> None:
    said, context = error.format_message(), getattr(error, "ctx", None)
    if said.startswith("Usage: "):  # the help, where a group of commands is typed without one
        print(said, file=sys.stderr)
    elif context is None:
        _tell(said)
    else:
        # Not all of its messages end as sentences do, and some tell what kind of error Python had.
        why = " ".join(said.split()).replace(" Value error, ", " ")
        stop = "" if why.endswith((".", "?")) else "."
        _tell(f"{why}{stop} See `{context.command_path} --help`.")


def _tell(why: str) -> None:
    for line in why.splitlines():
        print(f"error: {line}", file=sys.stderr)
