"""`observatory serve`: what answers for the book, and does not ask it."""

import asyncio
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

LAST_PORT = 65535


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
    _check_host(settings.host)
    _check_numbers(settings)
    _prepare(settings)
    # Each worker process reads these again.
    os.environ["OBSERVATORY_DATABASE_URL"] = settings.database_url
    listener = _listen(settings)
    threading.Thread(target=_announce, args=[listener], daemon=True).start()
    _run(settings.workers, listener)


def _check_host(host: str) -> None:
    """Raises Invalid for an address that others can reach: nobody is asked for a key yet."""
    try:
        if host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback:
            return
    except ValueError:
        pass
    cure = (
        "listen on 127.0.0.1; the server has no access keys yet, and whoever reached it could change the book"
    )
    raise Invalid(f"{host} is not an address of this machine alone", {"host": cure})


def _check_numbers(settings: Settings) -> None:
    """Raises Invalid for numbers of the environment that the options would not take."""
    if not 0 <= settings.port <= LAST_PORT:
        cure = f"must be 0 to {LAST_PORT}; 0 takes a free one"
        raise Invalid(f"{settings.port} is no port", {"OBSERVATORY_PORT": cure})
    if settings.workers < 1:
        raise Invalid(
            f"{settings.workers} processes answer nobody", {"OBSERVATORY_WORKERS": "must be 1 or more"}
        )


def _prepare(settings: Settings) -> None:
    from ..ledger import open_database, upgrade
    from ..ledger.upgrade import check_version

    if settings.database_url.startswith("sqlite"):
        open_database(settings.database_url)  # names a wrong URL before anything is made of it
        upgrade(settings.database_url)
        return

    # It tells of every attempt, where one error is enough.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

    async def check() -> None:
        book = open_database(settings.database_url)
        async with book.running():
            await check_version(book)

    asyncio.run(check())


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


def _announce(listener: socket.socket) -> None:
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
            typer.echo(f"listening on {url}")
            return


def _run(workers: int, listener: socket.socket) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    factory = "observatory.server.app:from_environment"
    config = uvicorn.Config(factory, factory=True, workers=workers, log_level="warning", access_log=False)
    try:
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            Multiprocess(config, sockets=[listener]).run()
    except KeyboardInterrupt:
        pass  # uvicorn finished what ran, and then passes the signal on
    finally:
        listener.close()
