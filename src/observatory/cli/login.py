"""`observatory login`, `logout` and `whoami`: which server is asked, and with whose key."""

import getpass
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from .. import credentials
from ..client.saved import changing, load, normal, place
from ..errors import Invalid, Unauthorized
from ..records import Key
from ..settings import Settings, read
from .access import organisation_names, roles_text
from .book import opened, opened_at, url_of
from .show import moment_text, write
from .tables import Output, write_fields, write_json

SOON = timedelta(days=14)

Url = Annotated[
    str | None,
    typer.Argument(metavar="URL", help="Where the book is served, such as https://book.example.org."),
]


def login(context: typer.Context, url: Url = None) -> None:
    """Keeps a key for a server, which commands and Python then ask, unless OBSERVATORY_URL says another one.

    The key is asked for and not shown, or read from standard input: `observatory login URL < key`. It is kept
    in a file that only its owner can read, and sent to no other server.
    """
    settings, url = read(os.environ), url or url_of(context)
    key = context.find_root().params["api_key"] or _asked(url)
    credentials.shown(key)  # tells a slip of the hand without asking anybody
    with opened_at(url, key) as api:
        own = api.whoami()
        roles = roles_text(own.account.grants, organisation_names(api, own.account.grants))
    file = place(settings)
    try:
        with changing(file) as saved:
            saved.servers[normal(url)] = key
            saved.url = url.rstrip("/")
    except OSError as error:
        cure = "name one by OBSERVATORY_CREDENTIALS that can be"
        raise Invalid(f"{file} cannot be written: {error.strerror}", {"credentials": cure}) from None
    write(f"logged in to {url} as {own.account.name!r} ({roles}), with a key in {file}\n")
    _warn_of_end(own)
    _note_the_environment(settings, url)


def logout(context: typer.Context, url: Url = None) -> None:
    """Forgets the key that is kept for a server. To the server, the key is as good as before."""
    url = url or url_of(context)
    file = place(read(os.environ))
    saved = load(file)
    if (key := saved.servers.get(normal(url))) is None:
        known = ", ".join(saved.servers)
        raise Invalid(f"no key is kept for {url}", {"url": f"is one of {known}"} if known else None)
    with changing(file) as saved:
        saved.servers.pop(normal(url), None)
        if saved.url and normal(saved.url) == normal(url):
            saved.url = None
    write(f"logged out of {url}\n")
    try:
        id = credentials.shown(key).id
    except Unauthorized:
        return
    print(f"note: `observatory keys revoke {id}` ends the key itself", file=sys.stderr)


def whoami(context: typer.Context, output: Output = "table") -> None:
    """Shows which server is asked, as which account, with what roles, and until when the key is good."""
    with opened(context) as api:
        own = api.whoami()
        roles = roles_text(own.account.grants, organisation_names(api, own.account.grants))
    if output == "json":
        write_json(own)
    else:
        until = own.expires.replace(microsecond=0)
        shown = {"url": url_of(context), "account": own.account.name, "roles": roles}
        write_fields({**shown, "key": own.id, "expires": until})
    _warn_of_end(own)


def _asked(url: str) -> str:
    """Returns the key that is typed, without showing it, or that comes from a pipe or a file."""
    said = getpass.getpass(f"key for {url}: ") if sys.stdin.isatty() else sys.stdin.readline()
    return said.strip()


def _warn_of_end(key: Key) -> None:
    if key.expires - datetime.now(UTC) < SOON:
        cure = f"`observatory keys rotate {key.id}` makes the next one, or ask an administrator for it"
        print(f"warning: this key ends on {moment_text(key.expires)[:10]}: {cure}", file=sys.stderr)


def _note_the_environment(settings: Settings, url: str) -> None:
    if settings.url and normal(settings.url) != normal(url):
        print(f"note: OBSERVATORY_URL comes before this: {settings.url} is asked", file=sys.stderr)
    if settings.api_key and (settings.url is None or normal(settings.url) == normal(url)):
        print("note: OBSERVATORY_API_KEY comes before this key", file=sys.stderr)
