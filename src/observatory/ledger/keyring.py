"""Where the key ring comes from: the environment, a file, or one that is made beside the database file."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from ..errors import Invalid
from ..settings import Settings
from .sealing import NEW, PREFIX, KeyRing, new_line, ring_of

TEXT, FILE = "OBSERVATORY_KEY_RING", "OBSERVATORY_KEY_RING_FILE"
HEAD = "# The key ring of {}. Without it no address in it can be read.\n# Keep a copy, but not beside it.\n"
LOCAL = "sqlite:///"


def open_ring(settings: Settings) -> KeyRing:
    """Returns the key ring that the settings name; a SQLite book that has none gets one beside its file.

    Raises Invalid, with the cure, where there is none or it cannot be used.
    """
    if settings.key_ring is not None and settings.key_ring_file is not None:
        raise Invalid("there are two key rings", {TEXT: f"give it or {FILE}, not both"})
    if settings.key_ring is not None:
        return ring_of(settings.key_ring, TEXT)
    if settings.key_ring_file is not None:
        return _read(Path(settings.key_ring_file))
    if not settings.database_url.startswith(LOCAL):
        cure = f"(umask 077; {NEW} > observatory.keys) && export {FILE}=$PWD/observatory.keys"
        raise Invalid("a book in PostgreSQL needs a key ring, which is kept apart from it", {FILE: cure})
    book = Path(settings.database_url.removeprefix(LOCAL))
    ring = beside(book)
    if not ring.exists():
        _make(ring, book)
    return _read(ring)


def beside(book: Path) -> Path:
    """Returns the file of the ring that is made for a book in a file."""
    return book.with_name(f"{book.name}.keys")


def _read(path: Path) -> KeyRing:
    """Returns the ring in a file, which others must not be able to read."""
    try:
        with path.open(encoding="utf-8") as file:
            if _is_open_to_others(os.fstat(file.fileno())):
                raise Invalid(f"others can read the key ring {path}", {FILE: f"run: chmod 600 {path}"})
            return ring_of(file.read(), str(path))
    except OSError as error:
        cure = f"must be a file that this process can read: {error.strerror}"
        raise Invalid(f"the key ring {path} cannot be read", {FILE: cure}) from error
    except UnicodeDecodeError:
        raise Invalid(f"the key ring {path} cannot be read", {FILE: "must be a file of text"}) from None


def _is_open_to_others(file: os.stat_result) -> bool:
    """Tells whether others than the owner can use a file; root may let a group read one, as containers do."""
    others = 0o037 if file.st_uid == 0 else 0o077
    return os.name == "posix" and bool(file.st_mode & others)


def _make(ring: Path, book: Path) -> None:
    """Makes a ring of one key, whole or not at all; if another process was faster, that one's ring stays."""
    if _has_sealed(book) and not ring.exists():
        cure = f"put {ring} back from its copy; if it is lost, (umask 077; {NEW} > {ring}) makes another one"
        raise Invalid(
            f"the key ring of {book} is gone", {FILE: f"{cure}, and each address must be told anew"}
        )
    try:
        handle, made = tempfile.mkstemp(prefix=f"{ring.name}.", dir=ring.parent)  # for its owner only
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(f"{HEAD.format(book.name)}{new_line()}\n")
                file.flush()
                os.fsync(handle)
            _name(made, ring)
        finally:
            os.unlink(made)
    except OSError as error:
        cure = f"make the folder writable, or set {FILE}: {error.strerror}"
        raise Invalid(f"no key ring can be made at {ring}", {FILE: cure}) from error


def _name(made: str, ring: Path) -> None:
    """Gives a file its name, unless another one has it; returns when that is on the disk."""
    try:
        # Unlike a renamed file, a linked one never takes the place of another.
        os.link(made, ring)
    except FileExistsError:
        return
    folder = os.open(ring.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _has_sealed(book: Path) -> bool:
    """Tells whether a book has addresses that were sealed with a ring."""
    if not book.exists():
        return False
    with closing(sqlite3.connect(book)) as connection:
        try:
            sealed = "SELECT 1 FROM datasets WHERE address LIKE ? LIMIT 1"
            return connection.execute(sealed, [f"{PREFIX}%"]).fetchone() is not None
        except sqlite3.DatabaseError:  # it has no tables yet
            return False
