"""What every call of the client has in common: the connection it goes over, and the five verbs."""

import ipaddress
import os
import warnings
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from ..errors import Invalid, NotFound
from ..intervals import moment
from ..records import (
    PAGE,
    Dataset,
    DatasetType,
    Organisation,
    R,
    Record,
    TableType,
    Workflow,
    WorkflowType,
    is_given,
    kind_of,
    unset,
)
from ..rules import normal
from ..settings import read
from .saved import HERE, key_for

if TYPE_CHECKING:
    from .nested import Nested
    from .snapshot import Reading
    from .transport import Transport


T = TypeVar("T")
# What DAG files are made of.
CATALOGUE = (Organisation, WorkflowType, Workflow, TableType, DatasetType, Dataset)


class ListWasCut(UserWarning):
    """There is more than the limit that was asked for: what is not in the list may exist nevertheless."""


class KeyIsSentInTheOpen(UserWarning):
    """A key goes over HTTP without TLS to another machine: whoever is on the way can read and use it."""


class Connection:
    """A server that is asked, with the key it asks for and the seconds its answer is waited for."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout: float = 30,
        purpose: str | None = None,
        reading: "Reading | None" = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise Invalid(f"{url!r} is no address of a server", {"url": "write it as http://host:port"})
        self._server = (url, api_key, timeout, purpose)
        self._reading = reading

    @property
    def url(self) -> str:
        """The address of the server, with no slash at its end."""
        return self._server[0].rstrip("/")

    @cached_property
    def _transport(self) -> "Transport":
        # Imported and made for the first call: to read HTTP's library takes longer than all of ours, and a
        # DAG file that is read again every half a minute may not call at all.
        from .transport import Transport

        url, api_key, timeout, purpose = self._server
        if api_key is None:
            api_key = key_for(read(os.environ), url)
        if api_key and not is_safe(url):
            said = f"the key is sent to {url} unencrypted, and others on the way can read it: use https"
            warnings.warn(said, KeyIsSentInTheOpen, stacklevel=2)
        return Transport(url, api_key=api_key, timeout=timeout, purpose=purpose, reading=self._reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        if "_transport" in self.__dict__:
            self._transport.close()

    def _get(self, kind: type[R], id: int, as_of: date | None = None) -> R:
        asked = {"as_of": time_text("as_of", as_of)}
        if as_of is None and (catalogue := self._catalogue(kind)):
            return catalogue.one(kind, number(id))
        return self._transport.call("GET", f"{kind.path}/{number(id)}", kind, asked=asked)

    def _get_typed(self, kind: type[R], id: int | None, type_id: str | None) -> R:
        if id is not None:
            return self._get(kind, id)
        if type_id is None:
            raise TypeError(f"a {kind.__name__} is asked for by its id or its type_id")
        found = self._list(kind, None, type_id=type_id)
        if not found:
            raise NotFound(f"{kind.__name__} {type_id!r} does not exist")
        return found[0]

    def _list(self, kind: type[R], limit: int | None, **asked: Any) -> list[R]:
        only_book_knows = asked.get("as_of") is not None or asked.get("address") is not None
        if not only_book_knows and (catalogue := self._catalogue(kind)):
            return _cut(catalogue.all(kind, asked), limit, kind.path)
        return self._pages(kind.path, kind, limit, **asked)

    def _catalogue(self, kind: type[Record]) -> "Nested | None":
        """Returns the catalogue that a DAG file is answered from, if one is being read now."""
        if self._reading is None or kind not in CATALOGUE or not self._reading.is_now():
            return None
        return self._reading.catalogue(
            lambda *asked: self._transport.catalogue(*asked), with_addresses=kind is Dataset
        )

    def _pages(self, path: str, kind: type[T], limit: int | None, **asked: Any) -> list[T]:
        """Returns a list, however many pages it has."""
        _check_limit(limit)
        found: list[T] = []
        after: str | None = None
        while True:
            # One more than asked for tells whether there is more.
            size = PAGE if limit is None else min(PAGE, limit + 1 - len(found))
            place = {"limit": size, "after": after}
            page, after = self._transport.page(path, kind, asked | place)
            found += page
            if after is None or (limit is not None and len(found) > limit):
                break
        return _cut(found, limit, path, stacklevel=5)

    def _post(self, record: R) -> R:
        # Named, so that it can be repeated: else the repetition would find its own record in the way.
        return self._transport.call(
            "POST", record.path, kind_of(record), body=normal(record), token=str(uuid4())
        )

    def _put(self, record: R) -> R:
        if not is_given(record.id):
            return self._post(record)
        body = normal(record)
        version, body.version = body.version, unset
        path = f"{record.path}/{number(record.id)}"
        return self._transport.call(
            "PATCH", path, kind_of(record), body=body, version=version if is_given(version) else None
        )

    def _delete(self, kind: type[Record], id: int) -> None:
        self._transport.call("DELETE", f"{kind.path}/{number(id)}", type(None), repeatable=False)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise ValueError("a limit is the most to answer: it must not be below 0")


def _cut(found: list[T], limit: int | None, path: str, stacklevel: int = 4) -> list[T]:
    """Returns no more than was asked for, and warns where there is more."""
    _check_limit(limit)
    if limit is not None and len(found) > limit:
        what = path.rpartition("/")[2]
        said = f"there are more {what} than the limit of {limit}: leave it out for all of them"
        warnings.warn(said, ListWasCut, stacklevel=stacklevel)
    return found[:limit]


def is_safe(url: str) -> bool:
    """Tells whether nobody on the way can read what is sent: it is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname in HERE:
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name, which may be anybody's
        return False


def number(id: object) -> int:
    """Returns an id; raises Invalid for what is none, such as the None of a look-up that found nothing."""
    if not isinstance(id, int) or isinstance(id, bool):
        raise Invalid(f"{id!r} is no id", {"id": "give the number of the record"})
    return id


def time_text(name: str, value: date | None) -> str | None:
    """Returns a time as it is asked for; raises Invalid for one without a zone."""
    if value is None:
        return None
    try:
        return moment(value).isoformat()
    except ValueError as error:
        raise Invalid("a wrong time was asked for", {name: str(error)}) from None
