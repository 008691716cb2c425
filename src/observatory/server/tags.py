"""Entity tags: what a caller was answered before still holds while its tag is the same.

A tag is `"<version>-<mark>"`. The mark is over everything else that an answer depends on: what was asked,
what the caller may see, and how often the catalogue was changed; so one look-up of the caller, which each
request takes anyway, tells that a record or a list of the catalogue is as it was. For `If-Match`, only the
version counts, and `"3"` alone is as good.
"""

from hashlib import blake2s
from typing import Any

import msgspec
from litestar import Response
from litestar.enums import MediaType

from ..errors import Invalid
from ..records import R
from .bodies import Asked

PRIVATE = "private, no-cache"  # to be asked for again each time, and kept by nobody but the caller


def mark(request: Asked) -> str:
    """Returns the mark of what is asked, as the catalogue is now."""
    caller = request.caller
    scope = request.scope
    said = b"%s?%s|%d|%s" % (
        scope["path"].encode(),
        scope["query_string"],
        caller.catalogue,
        caller.stamp.encode(),
    )
    return blake2s(said, digest_size=8).hexdigest()


def tag(request: Asked, version: int | str) -> str:
    """Returns the tag of an answer."""
    return f'"{version}-{mark(request)}"'


def asks_if_known(request: Asked) -> bool:
    """Tells whether the caller has some answer already."""
    return any(name == b"if-none-match" for name, _ in request.scope["headers"])


def is_known(request: Asked, version: int | str | None = None) -> bool:
    """Tells whether the caller has the answer already: of this version, or of any, if none is told."""
    if not (told := _told_tags(request)):
        return False
    ends = f'-{mark(request)}"' if version is None else tag(request, version)
    return any(one.endswith(ends) for one in told)


def not_modified(request: Asked) -> Response[Any]:
    """Answers that the caller has it already, and with which tag."""
    known = next(value for name, value in request.scope["headers"] if name == b"if-none-match")
    headers = {"ETag": known.decode("latin-1"), "Cache-Control": PRIVATE}
    return Response(None, status_code=304, headers=headers)


def by_content(
    request: Asked, value: Any, version: int | None = None, headers: dict[str, str] | None = None
) -> Response[Any]:
    """Answers a value as JSON, or that the caller has it already: only made can it be compared."""
    body = msgspec.json.encode(value)
    made = blake2s(body, digest_size=12).hexdigest()
    etag = f'"{made}"' if version is None else f'"{version}-{made}"'
    if etag in _told_tags(request):
        return not_modified(request)
    said = {"Cache-Control": PRIVATE, **(headers or {}), "ETag": etag}
    return Response(body, media_type=MediaType.JSON, headers=said)


def json(
    value: Any, status: int = 200, etag: str = "", headers: dict[str, str] | None = None
) -> Response[Any]:
    """Answers a value as JSON. Ready bytes are passed on as they are, and still documented by their type."""
    body = msgspec.json.encode(value)
    said = {"Cache-Control": PRIVATE, **(headers or {})}
    if etag:
        said["ETag"] = etag
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=said)


def _told_tags(request: Asked) -> list[str]:
    """Returns the tags of the answers that the caller has."""
    for name, value in request.scope["headers"]:
        if name == b"if-none-match":
            return [one.strip().removeprefix("W/") for one in value.decode("latin-1").split(",")]
    return []


def told_version(request: Asked) -> int | None:
    """Returns the version that `If-Match` asks for; raises Invalid where it is no tag of ours."""
    said = request.headers.get("if-match", "*").strip()
    if said == "*":
        return None
    version = said.removeprefix("W/").strip('"').partition("-")[0]
    if not (version.isdecimal() and version.isascii() and 0 < int(version[:19]) < 2**63):
        raise Invalid("a header is not what is expected", {"If-Match": 'must be one tag, as in "3"'})
    return int(version[:19])


def at_version(request: Asked, record: R) -> R:
    """Returns what is told of a record, with the version that `If-Match` says it must still have."""
    version = told_version(request)
    if version is not None:
        record.version = version
    return record
