"""The keys that this user has for servers, in a file that nobody else can read.

`observatory login` writes it, and `observatory serve` for the first key of a new book; the client and the
command line find theirs in it by the address of the server.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ..errors import Invalid
from ..settings import Settings

DEFAULT_URL = "http://127.0.0.1:5002"
HERE = ("localhost", "0.0.0.0", "::")
PORTS = {"http": 80, "https": 443}


class Saved(msgspec.Struct):
    """The keys by the addresses of servers and by the ids of books, and the server that was logged in to."""

    url: str | None = None
    servers: dict[str, str] = {}
    books: dict[str, str] = {}


def url_for(settings: Settings) -> str:
    """Returns which server is asked: that of the environment, else the one that was logged in to."""
    return settings.url or load(place(settings)).url or DEFAULT_URL


def key_for(settings: Settings, url: str) -> str | None:
    """Returns the key for a server: that of the environment, else what is saved for it.

    An environment that names another server says the key of that one, which no other is to see.
    """
    if settings.api_key and (settings.url is None or normal(settings.url) == normal(url)):
        return settings.api_key
    return load(place(settings)).servers.get(normal(url))


def place(settings: Settings) -> Path:
    """Returns where the file is: OBSERVATORY_CREDENTIALS, or in the folder for users' settings."""
    if settings.credentials:
        return Path(settings.credentials)
    try:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:
        # A user without a home, as in some containers: nothing is there, and nothing can be put there.
        folder = os.devnull
    return Path(folder, "observatory", "credentials.json")


def load(file: Path) -> Saved:
    """Returns what is in the file, or nothing where there is none.

    Raises Invalid where others can read it, or it was spoilt.
    """
    try:
        with file.open("rb") as opened:
            # Windows has no such modes: there, what is in a user's folder is the user's.
            if os.name == "posix" and stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise Invalid(
                    f"others can read the keys in {file}", {"credentials": f"run: chmod 600 {file}"}
                )
            return msgspec.json.decode(opened.read(), type=Saved)
    except (FileNotFoundError, NotADirectoryError):
        return Saved()
    except OSError as error:
        cure = "name a file that you can read by OBSERVATORY_CREDENTIALS"
        raise Invalid(f"{file} cannot be read: {error.strerror}", {"credentials": cure}) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cure = "remove it, and log in again with `observatory login`"
        raise Invalid(f"the keys in {file} cannot be read: {error}", {"credentials": cure}) from None


@contextmanager
def changing(file: Path) -> Iterator[Saved]:
    """Yields what is in the file, to be changed, and writes it; nobody else changes it meanwhile.

    Raises OSError where it cannot be written.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(file.with_name(f"{file.name}.lock")):
        saved = load(file)
        yield saved
        store(file, saved)


def store(file: Path, saved: Saved) -> None:
    """Writes the file, whole or not at all, so that only its owner can read it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)  # readable by its owner only
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(msgspec.json.format(msgspec.json.encode(saved)) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def normal(url: str) -> str:
    """Returns the address of a server in one spelling; raises Invalid for what is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Invalid(f"{url!r} is no address of a server", {"url": str(error)}) from None
    # A server that listens on all addresses of this machine says 0.0.0.0.
    host = "127.0.0.1" if host in HERE else f"[{host}]" if ":" in host else host
    behind = "" if port in (None, PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{behind}{parts.path.rstrip('/')}"


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Waits for whoever else holds the lock, which ends with its process."""
    if sys.platform == "win32":
        yield
        return
    from fcntl import LOCK_EX, flock

    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "rb") as held:
        flock(held, LOCK_EX)
        yield
