"""A snapshot that workers without a common disk share: a file in an object store, by a URL of fsspec."""

import importlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import Unavailable
from .kept import Kept, Spoilt, packed, unpacked

RENEWED = 600.0  # seconds after which it is written again though nothing changed, so that its age is told


class Shared:
    """A folder of fsspec, as `s3://bucket/prefix`, beside a file here that says what was written there."""

    def __init__(self, url: str, note: Path) -> None:
        self.url = url.rstrip("/")
        self._note = note

    def load(self, name: str) -> Kept | None:
        """Returns what is kept there under a name, if it is whole; raises Unavailable if nobody can tell."""
        try:
            system, path = self._system()
            return unpacked(system.cat_file(f"{path}/{name}"))
        except (FileNotFoundError, Spoilt):
            return None
        except Unavailable:
            raise
        except Exception as error:  # each service has errors of its own
            raise Unavailable(f"{self.url} cannot be read: {error or type(error).__name__}") from error

    def keep(self, name: str, kept: Kept) -> None:
        """Keeps an answer there, if it is another than this machine wrote last, or that is long ago."""
        if not self._is_due(kept):
            return
        try:
            system, path = self._system()
            if "file" in system.protocol:
                # What stores objects replaces them whole; a disk does not.
                system.makedirs(path, exist_ok=True)
                beside = f"{path}/.{name}.{uuid4().hex}"  # machines that share it count alike
                system.pipe_file(beside, packed(kept))
                system.mv(beside, f"{path}/{name}")
            else:
                system.pipe_file(f"{path}/{name}", packed(kept))
        except Unavailable:
            raise
        except Exception as error:
            raise Unavailable(f"{self.url} cannot be written: {error or type(error).__name__}") from error
        # Without a note it is written again the next time, which does no harm.
        with suppress(OSError):
            self._note.write_text(kept.digest)

    def _is_due(self, kept: Kept) -> bool:
        try:
            written = self._note.stat().st_mtime
            return self._note.read_text() != kept.digest or time.time() - written > RENEWED
        except (OSError, ValueError):
            return True

    def _system(self) -> tuple[Any, str]:
        try:
            core = importlib.import_module("fsspec.core")
            system, path = core.url_to_fs(self.url)
        except ImportError as error:
            cure = f"pip install fsspec and its part for {self.url.partition(':')[0]}"
            raise Unavailable(f"{self.url} needs fsspec: {error}; {cure}") from error
        except ValueError as error:
            raise Unavailable(f"{self.url} is no address of fsspec: {error}") from error
        return system, path.rstrip("/")
