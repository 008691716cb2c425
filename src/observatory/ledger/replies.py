"""A request that names itself by a token is done once: for seven days it is answered as the first time.

What came of it is noted in its own transaction, so it is there if and only if the request was done. Of
records only the ids are noted, and they are read anew, as they are then.
"""

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import bindparam, delete, select, update

from ..errors import Conflict
from .database import Transaction
from .statements import InsertMany, Statement
from .tables import replies as table

T = TypeVar("T")
KEPT = timedelta(days=7)

_ONE = (table.c.account_id == bindparam("account"), table.c.token == bindparam("name"))
# Whoever tells the same token meanwhile waits here until the first is done.
TAKE = InsertMany(
    table, ["account_id", "token", "asked", "created"], key=["account_id", "token"], returning=["token"]
)
READ = Statement(select(table.c.asked, table.c.answer).where(*_ONE))
ANSWER = Statement(update(table).where(*_ONE).values(answer=bindparam("told")))
FORGET = Statement(delete(table).where(table.c.created < bindparam("before")))


class Token(NamedTuple):
    """How a request names itself, and a hash of what it asks."""

    name: str
    asked: str


class Reply(NamedTuple):
    """How the answer to a request is noted, and made again of what was noted.

    It is made of what is in the book now, and is None where that is not what was answered any more.
    `is_natural` says that the request has an identity of its own, and so is done again instead.
    """

    note: Callable[[Any], Any]
    again: Callable[[Transaction, Any], Coroutine[Any, Any, Any]]
    is_natural: bool = False


async def once(
    tx: Transaction,
    token: Token | None,
    reply: Reply,
    work: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
) -> T:
    """Does the work of a request, or answers what came of it the first time.

    Raises Conflict where the token was told with another request.
    """
    if token is None:
        return await work(tx, *args)
    one = {"account": tx.by.account_id or 0, "name": token.name}
    # What is asked may name an address: by its mere hash, whoever has the table could try guesses.
    if not await tx.insert(TAKE, [(one["account"], token.name, tx.ring.fingerprint(token.asked), tx.now)]):
        [[asked, answer]] = await tx.rows(READ, one)
        if asked in tx.ring.digests(token.asked):
            told: T | None = await reply.again(tx, msgspec.json.decode(answer))
            if told is not None:
                return told
        elif not reply.is_natural:
            raise Conflict(f"the Idempotency-Key {token.name!r} was used for another request")
        return await work(tx, *args)
    made = await work(tx, *args)
    noted = msgspec.json.encode(reply.note(made)).decode()
    await tx.rows(ANSWER, {**one, "told": noted})
    return made


async def forget(tx: Transaction, now: datetime) -> None:
    """Removes what is older than seven days."""
    await tx.rows(FORGET, {"before": now - KEPT})
