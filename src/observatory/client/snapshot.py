"""What a DAG file is answered: by the book within a time limit, else from what the book said last.

The catalogue is asked for once a file, as a whole, and mostly has not changed. Tasks do not come here.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path
from threading import RLock
from typing import Any, Protocol, TypeVar

import msgspec

from ..credentials import FORM
from ..errors import Conflict, Gone, Invalid, NotFound, ObservatoryError, Refused, Unavailable
from ..records import Contents
from .kept import WHOLE, Answer, Folder, Kept, kept_now
from .nested import Nested
from .patience import Patience, of_process
from .published import Published, found_in
from .saved import normal
from .shared import Shared

T = TypeVar("T")
FRESH = 3.0  # seconds in which a file is not made of two states of the book
RECENT = 60.0  # seconds in which a task starts with what another reading confirmed
# What the book says of the question itself; everything else is no answer.
SAID = (NotFound, Invalid, Gone, Conflict)


class Surroundings(Protocol):
    """What is around a DAG file: airflow/parsing.py."""

    def is_reading(self) -> bool:
        """Tells whether a file is being read now."""

    def starts_task(self) -> bool:
        """Tells whether it is read for a task that is about to start."""

    def home(self) -> Path:
        """Returns where files of this machine are kept."""

    def folders(self) -> list[Path]:
        """Returns where DAG files may be."""

    def tell(self, age: float) -> None:
        """Tells how old a snapshot is that stands in for the book."""


# Asks for the catalogue: with which parameters, with which tag, how often at most, and until when.
Ask = Callable[[Mapping[str, Any], str | None, int | None, float], Answer]


class Reading:
    """How the questions of DAG files to one book with one key are answered, in one process."""

    def __init__(
        self,
        around: Surroundings,
        url: str,
        api_key: str | None,
        seconds: float = 3,
        snapshots: str | None = None,
        addresses: bool = False,
    ) -> None:
        self.patience: Patience = of_process(seconds)
        self._around, self._url, self._addresses = around, normal(url), addresses
        is_far = snapshots is not None and "://" in snapshots
        here = around.home() / "observatory" if snapshots is None or is_far else Path(snapshots)
        self._folder = Folder(here)
        self._name = name_of(self._url, api_key)
        self._file = f"{self._name}{WHOLE}"
        self._shared = Shared(snapshots, here / f"{self._name}.shared") if snapshots and is_far else None
        self._lock = RLock()
        self._nested: Nested | None = None
        self._kept: Kept | None = None
        self._until = 0.0
        self._is_stale, self._has_addresses, self._warned = False, addresses, set[str]()

    def is_now(self) -> bool:
        """Tells whether a DAG file is being read now."""
        return self._around.is_reading()

    def forget(self) -> None:
        """Asks the book anew the next time: somebody changes it."""
        self._until = 0.0

    def catalogue(self, ask: Ask, with_addresses: bool = False) -> Nested:
        """Returns the catalogue; raises Unavailable where neither the book nor a snapshot tells it."""
        with self._lock:
            if self._nested is None or time.monotonic() >= self._until:
                nested = self._found(ask)
                if nested is not self._nested:
                    self._nested, self._has_addresses = nested, self._addresses
                self._until = time.monotonic() + FRESH
            assert self._nested is not None
            if with_addresses and not self._has_addresses and self._nested.contents.may_read_addresses:
                self._has_addresses = True  # or not: it is not tried again
                self._add_addresses(ask, self._nested)
            return self._nested

    # The catalogue, from the book or from what was kept of it.

    def _found(self, ask: Ask) -> Nested:
        if (kept := self._load()) and self._around.starts_task() and time.time() - kept[0].confirmed < RECENT:
            return self._take(*kept)
        try:
            nested = self._asked(ask, kept)
        except ObservatoryError as error:
            return self._stand_in(error, kept)
        self._is_stale = False
        return nested

    def _asked(self, ask: Ask, before: tuple[Kept, Nested] | None) -> Nested:
        asked = {"addresses": True} if self._addresses else {}
        known = before[0].etag if before and before[0].asked == self._asked_as else None
        attempts = 1 if before else None
        # Where there is nothing else, a shared snapshot must still find some time.
        share = 0.7 if self._shared and not before else 1.0
        told = self.patience.wait(lambda until: ask(asked, known, attempts, until), share)
        if told.body is None:
            assert before is not None
            self._folder.confirm(self._file, time.time())
            before[0].confirmed = time.time()
            self._share(before[0])
            return self._take(*before)
        nested = read(told.body)
        if base := before or self._load_shared():
            self._check(base[1], nested, lambda: self._once_more(ask, asked))
        kept = kept_now(self._asked_as, told.etag, {}, told.body)
        self._folder.keep(self._file, kept)
        self._share(kept)
        return self._take(kept, nested)

    def _once_more(self, ask: Ask, asked: Mapping[str, Any]) -> Nested:
        told = self.patience.wait(lambda until: ask(asked, None, 1, until))
        return read(told.body or b"")

    def _check(self, before: Nested, now: Nested, again: Callable[[], Nested]) -> None:
        """Raises Refused for what is not to replace what is kept: then the book may be a wrong one."""
        was, said = before.contents, now.contents
        if before.is_empty:
            return
        cure = f"if that is right, remove {self._where()}"
        if said.book != was.book:
            raise Refused(f"{self._url} serves another book ({said.book}) than before ({was.book}); {cure}")
        if said.position < was.position:
            raise Refused(
                f"the book at {self._url} is older than the snapshot of it: was it restored? {cure}"
            )
        if now.is_empty:
            # One that was emptied says so twice, and counted the changes.
            once_more = again()
            is_later = was.position < said.position <= once_more.contents.position
            if not (once_more.is_empty and once_more.contents.book == was.book and is_later):
                raise Refused(
                    f"the book at {self._url} says that it is empty, and does not confirm it; {cure}"
                )

    def _stand_in(self, error: ObservatoryError, kept: tuple[Kept, Nested] | None) -> Nested:
        """Returns what was said last, and says so."""
        self._is_stale = True
        if self._nested is not None and self._kept is not None:
            kept = kept or (self._kept, self._nested)
        kept = kept or self._load_shared()
        if kept is None and (published := found_in(self._around.folders(), self._url)):
            with suppress(Refused):  # one that is not whole is none
                return self._from_published(published, error)
        if kept is None:
            raise Unavailable(
                f"the catalogue of {self._url}, of which DAGs are made, is not known: {error}. "
                f"There is no snapshot of it in {self._where()}, and no {Published.FILE} beside DAG files. "
                "Mend the service or its address; to begin without it, run `observatory snapshot DAG_FOLDER`"
            ) from error
        self._tell(time.time() - kept[0].confirmed, error)
        return self._take(*kept)

    def _from_published(self, published: Published, error: ObservatoryError) -> Nested:
        nested = Nested(published.contents)
        self._tell(time.time() - published.written.timestamp(), error)
        return nested

    def _take(self, kept: Kept, nested: Nested) -> Nested:
        # The same answer again is the same records, with the indexes and addresses they have got.
        if self._kept is not None and self._nested is not None and self._kept.digest == kept.digest:
            self._kept.confirmed = kept.confirmed
            return self._nested
        self._kept = kept
        return nested

    def _load(self) -> tuple[Kept, Nested] | None:
        return _whole(self._folder.load(self._file))

    def _load_shared(self) -> tuple[Kept, Nested] | None:
        if (shared := self._shared) is None:
            return None
        try:
            return _whole(self.patience.wait(lambda _: shared.load(self._file)))
        except Unavailable as error:
            self._warn("shared", "the shared snapshot is not used: %s", error)
            return None

    def _share(self, kept: Kept) -> None:
        if shared := self._shared:
            try:
                self.patience.wait(lambda _: shared.keep(self._file, kept))
            except Unavailable as error:
                self._warn("shared", "the snapshot is not shared: %s", error)

    # Addresses, which are not kept unless that is asked for.

    def _add_addresses(self, ask: Ask, nested: Nested) -> None:
        cure = "addresses are left out; to keep them on disk too, set OBSERVATORY_SNAPSHOT_ADDRESSES=true"
        if self._is_stale:
            self._warn("addresses", "the snapshot has no addresses: %s", cure)
            return
        try:
            told = self.patience.wait(lambda until: ask({"addresses": True}, None, 1, until))
            found = read(told.body or b"").contents
        except ObservatoryError as error:
            self._warn("addresses", "no addresses were told: %s; %s", error, cure)
            return
        if found.book == nested.contents.book:
            for one in found.datasets:
                if (dataset := nested.by_id[type(one)].get(one.id)) is not None:
                    dataset.address = one.address

    # Other questions, each by its URL.

    def answer(
        self,
        asked: str,
        ask: Callable[[str | None, int | None, float], Answer],
        use: Callable[[Answer], T],
        keeps: bool,
    ) -> T:
        """Returns what is made of the answer to a question; of the last good one where none comes."""
        file = f"{self._name}.{blake2s(asked.encode(), digest_size=12).hexdigest()}.answer"
        kept = self._folder.load(file) if keeps else None
        etag, attempts = (kept.etag, 1) if kept else (None, None)
        try:
            told = self.patience.wait(lambda until: ask(etag, attempts, until))
            made = use(told if told.body is not None or kept is None else _answer(kept))
        except SAID:
            raise
        except ObservatoryError as error:
            if kept is None:
                raise
            self._tell(time.time() - kept.confirmed, error)
            return use(_answer(kept))
        if told.body is None:
            self._folder.confirm(file, time.time())
        elif keeps:
            self._folder.keep(file, kept_now(asked, told.etag, told.headers, told.body))
        return made

    def keeps(self, path: str) -> bool:
        """Tells whether an answer may be kept: one with addresses only where that is asked for."""
        kind, _, rest = path.partition("?")[0].partition("/")
        return self._addresses or not (kind in ("datasets", "catalogue") and "/" not in rest)

    # What is said of it.

    @property
    def _asked_as(self) -> str:
        return "catalogue?addresses=true" if self._addresses else "catalogue"

    def _where(self) -> str:
        here = str(self._folder.path / self._file)
        return f"{here} and {self._shared.url}/{self._file}" if self._shared else here

    def _tell(self, age: float, error: ObservatoryError) -> None:
        self._around.tell(age)
        said = "a snapshot of %.0f s ago stands in for the book at %s: %s"
        self._warn("stands in", said, age, self._url, error)

    def _warn(self, what: str, message: str, *args: object) -> None:
        """Says it once a process."""
        if what not in self._warned:
            self._warned.add(what)
            logging.getLogger("observatory.snapshot").warning(message, *args)


_OF_PROCESS: dict[tuple[object, ...], Reading] = {}


def reading_of(
    around: Surroundings,
    url: str,
    api_key: str | None,
    seconds: float,
    snapshots: str | None,
    addresses: bool,
) -> Reading:
    """Returns how this process reads DAG files of a book: the same for all that ask it with one key."""
    key = (os.getpid(), normal(url), api_key, seconds, snapshots, addresses, around.home())
    if key not in _OF_PROCESS:
        _OF_PROCESS[key] = Reading(around, url, api_key, seconds, snapshots, addresses)
    return _OF_PROCESS[key]


def name_of(url: str, api_key: str | None) -> str:
    """Returns the name of the snapshot of a book and a key, which tells nobody the secret of the key."""
    found = FORM.fullmatch(api_key or "")
    return blake2s(f"{url} {found[2] if found else ''}".encode(), digest_size=12).hexdigest()


def read(body: bytes) -> Nested:
    """Returns a catalogue that was answered; raises Refused for what is none, or is not whole."""
    try:
        return Nested(msgspec.json.decode(body, type=Contents))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the catalogue was not answered as an Observatory server does: {error}") from error


def _whole(kept: Kept | None) -> tuple[Kept, Nested] | None:
    try:
        return (kept, read(bytes(kept.body))) if kept else None
    except Refused:  # of another version, perhaps: the next good answer replaces it
        return None


def _answer(kept: Kept) -> Answer:
    return Answer(bytes(kept.body), kept.etag, kept.headers)
