"""Keys: what accounts show to be let in. Only the hash of a secret is kept.

A key ends when it expires or is revoked, and that is looked up for each request, so it counts from the next
one on, in every process and on every machine.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from hmac import compare_digest
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, bindparam, insert, or_, select, update

from .. import credentials
from ..access import Caller, Right, Scopes, scopes
from ..errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from ..records import Account, Grant, Key, NewKey, is_given
from ..rules import normal
from . import accounts, journal
from .catalogue import check_version
from .database import Transaction, row
from .statements import Row, Statement, among
from .tables import accounts as accounts_table
from .tables import book
from .tables import keys as table

DAYS = 90  # for which a key opens the book, if nothing else is said
MOST_DAYS = 366
LIVE = 2  # keys of an account at a time, so that one can be exchanged for the other
EXACT = timedelta(hours=1)  # last_used is not written for each request
EVERYTHING = [Grant("admin"), Grant("address:read"), Grant("address:write")]

_KEY = [table.c[field] for field in Key.__struct_fields__ if field != "account"]
_ACCOUNT = [accounts_table.c[field] for field in Account.__struct_fields__]
ROWS = select(*_KEY, *_ACCOUNT).join_from(table, accounts_table)
ONE = Statement(ROWS.where(table.c.id == bindparam("key")))
AFTER = Statement(ROWS.where(table.c.id > bindparam("after")).order_by(table.c.id))
OF_ACCOUNT = Statement(
    ROWS.where(table.c.account_id == bindparam("account"), table.c.id > bindparam("after")).order_by(
        table.c.id
    )
)
INSERT = Statement(
    insert(table)
    .values({c.name: bindparam(c.name) for c in table.c if c.name not in ("id", "revoked", "last_used")})
    .returning(table.c.id)
)
UPDATE = Statement(
    update(table)
    .where(table.c.id == bindparam("key"))
    .values(
        expires=bindparam("new_expires"),
        revoked=bindparam("new_revoked"),
        modified=bindparam("now"),
        version=table.c.version + 1,
    )
)
BOOK = Statement(select(book.c.id).with_for_update())
# Of several processes that note it at the same time, the first does.
TOUCH = Statement(
    update(table)
    .where(
        table.c.id == bindparam("key"),
        or_(table.c.last_used.is_(None), table.c.last_used < bindparam("before")),
    )
    .values(last_used=bindparam("now"))
)


def _known(sqlite: bool) -> Select[Any]:
    account = accounts_table.c
    of_key = (table.c.id, table.c.hash, table.c.expires, table.c.revoked, table.c.last_used)
    of_account = (account.id, account.name, account.version, account.grants)
    found = select(*of_key, *of_account, book.c.catalogue).join_from(table, accounts_table)
    return found.join(book, book.c.id.is_not(None)).where(among(table.c.id, "ids", sqlite))


KNOWN = Statement(_known(sqlite=False), _known(sqlite=True))


class Known(NamedTuple):
    """What is known of a key and its account, and how often the catalogue was changed."""

    hash: str
    expires: datetime
    revoked: datetime | None
    last_used: datetime | None
    account_id: int
    account: str
    version: int
    grants: str
    catalogue: int


class Admitted(NamedTuple):
    """Who is let in, and whether it is to be noted when the key was last used."""

    caller: Caller
    is_stale: bool


async def known(tx: Transaction, ids: Sequence[int]) -> dict[int, Known]:
    """Returns what there is to know of some keys, to let in those who show them."""
    return {row[0]: Known(*row[1:]) for row in await tx.rows(KNOWN, {"ids": ids})}


def admit(key: Known | None, shown: credentials.Shown, right: Right, request: str, now: datetime) -> Admitted:
    """Returns who asks, by the key that is shown; raises Unauthorized where it does not open the book.

    Raises Forbidden where the right that is asked for holds nowhere.
    """
    if key is None or not compare_digest(key.hash, shown.hash):
        raise Unauthorized("this key opens nothing here: it was never given out, or its account was removed")
    if key.revoked is not None:
        raise Unauthorized(f"key {shown.id} was revoked on {key.revoked:%Y-%m-%d}: ask for another one")
    if key.expires <= now:
        raise Unauthorized(f"key {shown.id} expired on {key.expires:%Y-%m-%d}: ask for another one")
    where = _scopes(key.grants)
    if right not in where:
        raise Forbidden(f"account {key.account!r} has not the right to {right}")
    stamp = f"{key.account_id}.{key.version}"
    caller = Caller(key.account, key.account_id, where, right, request, shown.id, stamp, key.catalogue)
    return Admitted(caller, key.last_used is None or key.last_used < now - EXACT)


async def touch(tx: Transaction, id: int) -> None:
    """Notes that a key is used now."""
    await tx.rows(TOUCH, {"key": id, "now": tx.now, "before": tx.now - EXACT})


async def fetch(tx: Transaction, id: int) -> Key:
    """Returns a key; raises NotFound where there is none that the caller may see."""
    found = await row(tx, ONE, {"key": id})
    if found is None or not accounts.is_seen(tx, (key := _built(found)).account):
        raise NotFound(f"Key {id} does not exist")
    return key


async def listed(tx: Transaction, limit: int, after: int = 0, account_id: int | None = None) -> list[Key]:
    """Returns up to `limit` keys with ids above `after`, of an account or of all."""
    if account_id is not None:
        await accounts.fetch(tx, account_id)
        return (await _of(tx, account_id, after))[:limit]
    found = [_built(one) for one in await tx.rows(AFTER, {"after": after})]
    return [key for key in found if accounts.is_seen(tx, key.account)][:limit]


async def own(tx: Transaction) -> Key:
    """Returns the key that the caller shows, with its account: this much everybody may know of themselves."""
    if tx.by.key_id is None or (found := await row(tx, ONE, {"key": tx.by.key_id})) is None:
        raise NotFound("whoever asks shows no key")
    return _built(found)


async def create(tx: Transaction, key: Key) -> NewKey:
    """Makes a key for an account, for 90 days unless it says until when.

    Raises Conflict where the account has two already.
    """
    said = normal(key)
    if not is_given(said.account):
        raise Invalid("Key is not whole", {"account": "is required"})
    account = await accounts.fetch(tx, said.account.id, accounts.HELD)
    accounts.must_administer(tx, account)
    expires = said.expires if is_given(said.expires) else tx.now + timedelta(days=DAYS)
    _check_expiry(tx.now, expires)
    live = [one for one in await _of(tx, account.id) if _is_live(tx, one)]
    if len(live) >= LIVE:
        which = " and ".join(str(one.id) for one in live)
        raise Conflict(f"account {account.name!r} has the keys {which}: revoke one of them first")
    secret = credentials.new_secret()
    values = {"created": tx.now, "modified": tx.now, "version": 1, "expires": expires}
    [[id]] = await tx.rows(INSERT, {**values, "account_id": account.id, "hash": credentials.hash_of(secret)})
    made = await fetch(tx, id)
    await journal.write(tx, [journal.of_record("create", made, None)])
    return NewKey(made, credentials.text_of(id, secret))


async def change(tx: Transaction, key: Key) -> Key:
    """Changes until when a key opens the book; nothing else of it can be changed.

    What has ended stays so: else an account could come to have more live keys than it may.
    """
    before = await _held(tx, key.id)
    accounts.must_administer(tx, before.account)
    check_version(key, before.version)
    said = normal(key)
    if is_given(said.account) and said.account.id != before.account.id:
        raise Invalid("a key is of one account", {"account": "cannot be changed: make another key"})
    if is_given(said.revoked) and said.revoked != before.revoked:
        raise Invalid("a key is not revoked by a change", {"revoked": "delete the key: that revokes it"})
    expires = said.expires if is_given(said.expires) else before.expires
    if expires == before.expires:
        return before
    if not _is_live(tx, before):
        raise Conflict(f"key {key.id} has ended: make another one")
    _check_expiry(tx.now, expires)
    return await _changed(tx, before, expires, before.revoked)


async def revoke(tx: Transaction, id: int, version: int | None = None) -> Key:
    """Ends a key now; one that was ended stays as it is.

    Raises Conflict for the only key of the caller, who could then neither see nor mend what came of it.
    """
    before = await _held(tx, id)
    accounts.must_administer(tx, before.account)
    if version is not None:
        check_version(Key(id=id, version=version), before.version)
    if id == tx.by.key_id and not any(
        _is_live(tx, one) for one in await _of(tx, before.account.id) if one.id != id
    ):
        raise Conflict(f"you ask with key {id}, and have no other: make one first, and ask with that")
    return before if before.revoked else await _changed(tx, before, before.expires, tx.now)


async def first(tx: Transaction) -> tuple[str, NewKey | None]:
    """Returns the id of the book; makes a key that may do everything, if there is no account at all."""
    [[id]] = await tx.rows(BOOK, {})
    return id, None if await accounts.listed(tx, 1) else await for_admin(tx, "admin")


async def for_admin(tx: Transaction, name: str) -> NewKey:
    """Makes a key for an account that may do everything, which is made too if it is not there.

    Raises Conflict where it is there, and may not do everything or has two keys already.
    """
    found = await accounts.listed(tx, 1, name=name)
    account = found[0] if found else await accounts.create(tx, Account(name=name, grants=EVERYTHING))
    if not set(EVERYTHING) <= set(account.grants):
        raise Conflict(f"account {name!r} may not do everything: name another one, which is made")
    try:
        return await create(tx, Key(account=account))
    except Conflict as error:
        raise Conflict(f"{error.detail}, or name another account, which is made") from None


async def _held(tx: Transaction, id: int) -> Key:
    """Returns a key whose account is held, so that nobody else changes it until the transaction ends."""
    await accounts.fetch(tx, (await fetch(tx, id)).account.id, accounts.HELD)
    return await fetch(tx, id)


async def _changed(tx: Transaction, before: Key, expires: datetime, revoked: datetime | None) -> Key:
    values = {"new_expires": expires, "new_revoked": revoked, "now": tx.now, "key": before.id}
    await tx.rows(UPDATE, values)
    after = await fetch(tx, before.id)
    was = journal.differences(before, ["expires", "revoked"])
    await journal.write(tx, [journal.of_record("change", after, None, was)])
    return after


async def _of(tx: Transaction, account_id: int, after: int = 0) -> list[Key]:
    return [_built(one) for one in await tx.rows(OF_ACCOUNT, {"account": account_id, "after": after})]


def _is_live(tx: Transaction, key: Key) -> bool:
    return key.revoked is None and key.expires > tx.now


def _built(row: Row) -> Key:
    own = len(_KEY)
    return Key(*[*row[:own], accounts.built(row[own:])])


def _check_expiry(now: datetime, expires: datetime) -> None:
    if not now < expires <= now + timedelta(days=MOST_DAYS):
        cure = f"must be in the next {MOST_DAYS} days"
        raise Invalid("a key is for a limited time", {"expires": cure})


@lru_cache(maxsize=1000)
def _scopes(grants: str) -> Scopes:
    return scopes(msgspec.json.decode(grants, type=list[Grant]))
