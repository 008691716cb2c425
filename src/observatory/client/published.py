"""A catalogue that is published with the DAG files: where a worker begins that has no snapshot of its own."""

import os
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import msgspec

from ..errors import Invalid
from ..records import Contents
from .saved import normal


class Published(msgspec.Struct):
    """What the book at an address said, and when."""

    FILE: ClassVar[str] = "observatory-catalogue.json"

    url: str
    written: datetime
    contents: Contents


def load(file: Path) -> Published | None:
    """Returns what is published in a file, or None where there is none; raises Invalid for a spoilt one."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Published)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        cure = "write it again with `observatory snapshot`"
        raise Invalid(f"{file} cannot be read: {error}", {"file": cure}) from None


def found_in(folders: Iterable[Path], url: str) -> Published | None:
    """Returns what is published in one of some folders for the book at an address."""
    for folder in dict.fromkeys(folders):
        try:
            published = load(folder / Published.FILE)
            if published and normal(published.url) == normal(url):
                return published
        except Invalid:
            continue
    return None


def publish(folder: Path, published: Published) -> Path:
    """Writes the file, whole and for all to read; raises Invalid where it cannot be written."""
    file = folder / Published.FILE
    text = msgspec.json.format(msgspec.json.encode(published), indent=1) + b"\n"
    try:
        number, name = tempfile.mkstemp(dir=folder, prefix=f".{file.name}.")
        try:
            with os.fdopen(number, "wb") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Invalid(
            f"{file} cannot be written: {error.strerror}", {"dag_folder": "name a folder"}
        ) from None
    return file
