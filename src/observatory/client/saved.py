"""The keys that this user has for servers, in a file that nobody else can read.

`observatory login` writes it, and `observatory serve` for the first key of a new book; the client and the
command line find theirs in it by the address of the server.
"""

import os
import stat
import tempfile
from pathlib import Path

import msgspec

from ..errors import Invalid
from ..settings import Settings


class Saved(msgspec.Struct):
    """The keys by the addresses of servers and by the ids of books, and the server that was logged in to."""

    url: str | None = None
    servers: dict[str, str] = {}
    books: dict[str, str] = {}


def place(settings: Settings) -> Path:
    """Returns where the file is: OBSERVATORY_CREDENTIALS, or in the folder for users' settings."""
    if settings.credentials:
        return Path(settings.credentials)
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder, "observatory", "credentials.json")


def load(file: Path) -> Saved:
    """Returns what is in the file, or nothing where there is none.

    Raises Invalid where others can read it, or it was spoilt.
    """
    try:
        with file.open("rb") as opened:
            if os.name == "posix" and stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise Invalid(f"others can read the keys in {file}", {"credentials": f"chmod 600 {file}"})
            return msgspec.json.decode(opened.read(), type=Saved)
    except (FileNotFoundError, NotADirectoryError):
        return Saved()
    except (msgspec.DecodeError, OSError) as error:
        cure = "remove it, and log in again with `observatory login`"
        raise Invalid(f"the keys in {file} cannot be read: {error}", {"credentials": cure}) from None


def store(file: Path, saved: Saved) -> None:
    """Writes the file, whole or not at all, so that only its owner can read it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)  # readable by its owner only
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(msgspec.json.format(msgspec.json.encode(saved)) + b"\n")
            os.fsync(opened.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def normal(url: str) -> str:
    """Returns the address of a server as the file has it."""
    return url.rstrip("/").replace("://localhost", "://127.0.0.1")
