"""Files that only their owner reads, and that appear under their name once they are whole and on the disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Unavailable

BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file


@contextmanager
def aside(file: Path) -> Iterator[Path]:
    """Gives a file beside another, which only its owner can read, and which is gone at the end."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
    os.close(number)
    try:
        yield Path(name)
    finally:
        for end in ("", *BESIDE):
            Path(name + end).unlink(missing_ok=True)


def put(whole: Path, file: Path) -> None:
    """Gives a file that is whole another name, in place of what has it."""
    try:
        sync(whole)
        os.replace(whole, file)
        sync(file.parent)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}") from error


def sync(path: Path) -> None:
    """Waits until a file, or what is in a folder, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
