"""What comes in a body: decoded strictly, so that a mistake in it is named and never passed over.

The records serve both directions, and a client overlooks fields that a later server may add. The server does
the opposite: a field it does not know is a typing error of the caller, and a text is not a number.
"""

from functools import cache
from hashlib import sha256
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from litestar import Request

from ..access import Caller
from ..errors import Invalid, Refused
from ..ledger.replies import Token

T = TypeVar("T")

TOKEN = 250  # characters of an Idempotency-Key
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
NO_TIME = "Invalid RFC3339 encoded datetime"
# msgspec says what it wanted; this says what to do.
CURES = {
    "Expected `datetime` with a timezone component": "has no time zone: add one, as in 2021-01-01T00:00:00Z",
    NO_TIME: "is no time: write one as 2021-01-01T00:00:00Z",
}
TAGS = 'must be a text that holds a JSON list, as in "[\\"sales\\"]"'
PATTERN = "Expected `str` matching regex"  # the only one there is
UNKNOWN = "Object contains unknown field "


class Asked(Request[Any, Caller, Any]):
    """A request of a known caller, whose body is decoded as what its route says it is."""

    @property
    def caller(self) -> Caller:
        """Who asks; of public routes nobody is known."""
        caller: Caller = self.scope["auth"]
        return caller

    @property
    def is_merge_patch(self) -> bool:
        """Whether the body of a change says what of the extras to change, and not what they are to be."""
        return self.content_type[0] == MERGE_PATCH

    async def token(self, natural: object = None) -> Token | None:
        """Returns how the request names itself, if it does; `natural` is by what it is known anyway.

        Raises Invalid for a name that cannot be kept.
        """
        if (name := self.headers.get("idempotency-key")) is None:
            return None
        if not (1 <= len(name) <= TOKEN and name.isascii() and name.isprintable()):
            cure = f"must be 1 to {TOKEN} printable characters"
            raise Invalid("a header is not what is expected", {"Idempotency-Key": cure})
        asked = await self.body() if natural is None else msgspec.json.encode(natural)
        path = f"{self.method} {self.url.path} ".encode()
        return Token(name, sha256(path + asked).hexdigest())

    async def told(self, kind: type[T], tolerant: bool = False) -> T:
        """Returns the body as an instance of the kind; `tolerant`, whatever fields of its own it has.

        Raises Refused for what is no JSON or not declared as such, Invalid for JSON that is not of the kind.
        """
        media, _ = self.content_type
        if media != JSON and not (media == MERGE_PATCH and self.method == "PATCH"):
            # Also what keeps the pages of other sites from posting here: a browser asks before it sends this.
            cure = "send it with Content-Type: application/json"
            raise Refused(f"a body of type {media or 'nothing'!r} is not read: {cure}", status=415)
        return decode(await self.body(), kind, tolerant)


def decode(body: bytes, kind: type[T], tolerant: bool = False) -> T:
    """Returns a body as an instance of the kind; raises Refused for what is no JSON, Invalid for the rest."""
    decoder: msgspec.json.Decoder[T] = _decoder(kind, tolerant)  # type: ignore[arg-type] # a type is hashable
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Invalid("the body is not what is expected", {"body": "is nested too deeply"}) from None


def invalid(said: str, root: str = "$") -> Invalid:
    """Returns our error for one of msgspec, which says what it wanted and where below the root."""
    why, _, where = said.partition(" - at `")
    field = where.rstrip("`").removeprefix(root).removeprefix(".")
    if why.startswith(UNKNOWN):
        name = why.removeprefix(UNKNOWN).strip("`")
        field, why = f"{field}.{name}".lstrip("."), "is not a field of it: look at its spelling"
    if field.rpartition(".")[2] == "tags" and why.startswith("Expected `str`, got"):
        why = TAGS
    return Invalid("the input is not what is expected", {field or "body": cure(why)})


def cure(why: str) -> str:
    """Returns what to do about what msgspec says is wrong."""
    if why.startswith(PATTERN):
        return "holds a control character, such as a tab or the end of a line"
    return CURES.get(why, why)


@cache
def strict(kind: Any) -> Any:
    """Returns the type with its structs, and those in it, replaced by ones that know no other fields."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = [_field(f) for f in msgspec.structs.fields(kind)]
        # Of the same name, because it is the one that the schema and the errors speak of.
        return msgspec.defstruct(
            kind.__name__, fields, bases=(kind,), forbid_unknown_fields=True, gc=False, kw_only=True
        )
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[strict(inner[0]), *inner[1:]]
    if origin is list:
        return list[strict(inner[0])]  # type: ignore[misc] # the kind is known at run time
    if origin in (Union, UnionType):
        return Union[tuple(strict(one) for one in inner)]  # noqa: UP007 # built of a tuple
    return kind


@cache
def _decoder(kind: Any, tolerant: bool) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind if tolerant else strict(kind))


def _field(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    if field.default_factory is not msgspec.NODEFAULT:
        return (field.name, strict(field.type), msgspec.field(default_factory=field.default_factory))
    if field.default is not msgspec.NODEFAULT:
        return (field.name, strict(field.type), field.default)
    return (field.name, strict(field.type))
