"""Answers that are kept in files which only their owner can read, whole or not at all.

A file is one line about the answer, and the answer as it came. Its time is when that was last confirmed.
"""

import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2s
from pathlib import Path
from typing import NamedTuple

import msgspec

MOST = 200  # answers to single questions; the oldest are dropped
WHOLE = ".catalogue"


class Answer(NamedTuple):
    """What came over the wire; without a body where what is kept holds still."""

    body: bytes | None
    etag: str | None
    headers: dict[str, str]


class Kept(msgspec.Struct):
    """An answer as it came, to what it was asked of which server, and when it was last confirmed."""

    asked: str
    etag: str | None
    headers: dict[str, str]
    confirmed: float
    digest: str
    body: msgspec.Raw


class Spoilt(ValueError):
    """What is kept is not what was kept."""


def kept_now(asked: str, etag: str | None, headers: dict[str, str], body: bytes) -> Kept:
    """Returns an answer that has just come."""
    return Kept(asked, etag, headers, time.time(), _digest(body), msgspec.Raw(body))


def packed(kept: Kept) -> bytes:
    """Returns an answer as it is kept."""
    head = msgspec.structs.replace(kept, body=msgspec.Raw(b"null"))
    return msgspec.json.encode(head) + b"\n" + bytes(kept.body)


def unpacked(data: bytes) -> Kept:
    """Returns an answer that was kept; raises Spoilt where it is not whole."""
    head, _, body = data.partition(b"\n")
    try:
        kept = msgspec.json.decode(head, type=Kept)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Spoilt(str(error)) from None
    if kept.digest != _digest(body):
        raise Spoilt("it was cut or changed")
    kept.body = msgspec.Raw(body)
    return kept


class Folder:
    """A folder of answers. Where it cannot be used it is warned of once, and nothing is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._has_warned = False

    def load(self, name: str) -> Kept | None:
        """Returns what is kept under a name, if it is whole."""
        file = self.path / name
        with self._warning():
            self._check()
            try:
                with file.open("rb") as opened:
                    kept = unpacked(opened.read())
                    kept.confirmed = os.fstat(opened.fileno()).st_mtime
                    return kept
            except FileNotFoundError:
                return None
            except Spoilt as error:
                _say("%s is not used: %s", file, error)
        return None

    def keep(self, name: str, kept: Kept) -> None:
        """Keeps an answer under a name."""
        with self._warning():
            self._check()
            number, written = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")  # of its owner only
            try:
                with os.fdopen(number, "wb") as opened:
                    opened.write(packed(kept))
                    opened.flush()
                    os.fsync(opened.fileno())
                os.utime(written, (kept.confirmed, kept.confirmed))
                Path(written).replace(self.path / name)
            except BaseException:
                Path(written).unlink(missing_ok=True)
                raise
            self._drop_old()

    def confirm(self, name: str, now: float) -> None:
        """Notes that what is kept under a name is still so."""
        with self._warning():
            os.utime(self.path / name, (now, now))

    def _check(self) -> None:
        """Makes the folder; raises PermissionError where others can see or change what is in it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.stat()
        if os.name == "posix" and (stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid()):
            cure = "its owner must be who reads DAG files, and its mode 0700"
            raise PermissionError(f"others can read or change what is in it; {cure}")

    def _drop_old(self) -> None:
        files = [file for file in self.path.iterdir() if file.suffix == ".answer"]
        if len(files) > MOST:
            with_time = sorted((_time(file), file) for file in files)
            for _, file in with_time[: len(files) - MOST]:
                file.unlink(missing_ok=True)

    @contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                cure = "name another one by OBSERVATORY_SNAPSHOTS"
                _say("no snapshot of the book is kept in %s: %s; %s", self.path, error, cure)


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # somebody else dropped it
        return time.time()


def _digest(body: bytes) -> str:
    return blake2s(body, digest_size=16).hexdigest()


def _say(message: str, *args: object) -> None:
    logging.getLogger("observatory.snapshot").warning(message, *args)
