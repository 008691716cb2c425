"""`observatory serve`: what answers for the book, and does not ask it."""

import ipaddress
import logging
import os
import socket
import threading
import time
import urllib.request
from typing import Annotated

import typer

from ..errors import Invalid
from ..settings import Settings
from .database import DatabaseUrl, said_settings
from .first_key import be_found, open_book

LAST_PORT = 65535
LEAST = {
    "max_headers": 1024,
    "header_timeout": 0.1,
    "stall_timeout": 0.1,
    "in_flight": 1,
    "rate": 0,
    "drain": 0,
}


def serve(
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The address to listen on.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", help="The port; 0 takes a free one.  [default: 5002]", min=0, max=LAST_PORT
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    workers: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="How many processes answer.  [default: 1]", min=1)
    ] = None,
) -> None:
    """Serves the book, and says `listening on http://…` once it answers.

    Each option may also be given in the environment, as OBSERVATORY_PORT. A new SQLite file is made, and an
    older one brought up to date; for PostgreSQL run `observatory database upgrade` first.
    """
    settings = said_settings(host=host, port=port, database_url=database_url, workers=workers)
    _check_numbers(settings)
    _warn_of_strangers(settings)
    _prepare(settings)
    book_id = open_book(settings)
    # Each worker process reads these again.
    os.environ["OBSERVATORY_DATABASE_URL"] = settings.database_url
    listener = _listen(settings)
    threading.Thread(target=_announce, args=[settings, book_id, listener], daemon=True).start()
    _run(settings, listener)


def _warn_of_strangers(settings: Settings) -> None:
    """Warns where others can reach the server, and could read the keys on their way to it."""
    try:
        here = settings.host == "localhost" or ipaddress.ip_address(settings.host.strip("[]")).is_loopback
    except ValueError:
        here = False
    if not (here or settings.behind_tls):
        said = f"warning: {settings.host} can be reached by others, and keys are sent to it unencrypted"
        cure = "put a proxy with TLS before the server, and say so by OBSERVATORY_BEHIND_TLS=true"
        typer.echo(f"{said}: {cure}", err=True)


def _check_numbers(settings: Settings) -> None:
    """Raises Invalid for numbers of the environment that the options would not take."""
    if not 0 <= settings.port <= LAST_PORT:
        cure = f"must be 0 to {LAST_PORT}; 0 takes a free one"
        raise Invalid(f"{settings.port} is no port", {"OBSERVATORY_PORT": cure})
    if settings.workers < 1:
        raise Invalid(
            f"{settings.workers} processes answer nobody", {"OBSERVATORY_WORKERS": "must be 1 or more"}
        )
    for name, least in LEAST.items():
        value = getattr(settings, name)
        if value is not None and value < least:
            raise Invalid(
                "the environment says something wrong",
                {f"OBSERVATORY_{name.upper()}": f"must be {least} or more"},
            )


def _prepare(settings: Settings) -> None:
    from ..ledger import open_database, upgrade
    from ..ledger.keyring import open_ring

    open_database(settings.database_url)  # names a wrong URL before anything is made of it
    if settings.database_url.startswith("sqlite"):
        upgrade(settings.database_url)
    open_ring(settings)
    # It tells of every attempt to connect, where one error is enough.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


def _listen(settings: Settings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio turns Nagle's algorithm off: else each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, settings.port))
    except OSError as error:
        cure = "choose another one with --port, or 0 for a free one"
        raise Invalid(f"cannot listen on {host}:{settings.port}: {error.strerror}", {"port": cure}) from error
    listener.set_inheritable(True)
    return listener


def _announce(settings: Settings, book_id: str, listener: socket.socket) -> None:
    """Says where the server listens, once it answers there."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    # Not through the proxy that the environment may name: it does not know this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            direct.open(f"{url}/livez", timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            be_found(settings, book_id, url)
            typer.echo(f"listening on {url}")
            return


def _run(settings: Settings, listener: socket.socket) -> None:
    from ..server.running import run

    try:
        run(settings, listener)
    except KeyboardInterrupt:
        pass  # what ran is finished, and then the signal passed on
    finally:
        listener.close()
