"""Accounts: who works with the book, and what is granted to each.

An administrator of some organisations sees and changes the accounts whose grants are all in these, and gives
nothing that it does not have itself.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from ..access import beyond
from ..errors import Conflict, Forbidden, Invalid, NotFound
from ..records import Account, Grant, Key, Organisation, is_given
from ..rules import normal
from . import catalogue, journal
from .database import Transaction, row
from .statements import Row, Statement
from .tables import accounts as table
from .tables import keys

ROWS = select(*(table.c[field] for field in Account.__struct_fields__))
_ONE = ROWS.where(table.c.id == bindparam("key"))
ONE, HELD = Statement(_ONE), Statement(_ONE.with_for_update(key_share=True))
AFTER = Statement(ROWS.where(table.c.id > bindparam("after")).order_by(table.c.id))
INSERT = Statement(
    insert(table).values({c.name: bindparam(c.name) for c in table.c if c.name != "id"}).returning(table.c.id)
)
UPDATE = Statement(
    update(table)
    .where(table.c.id == bindparam("key"))
    .values(
        name=bindparam("new_name"),
        grants=bindparam("new_grants"),
        modified=bindparam("now"),
        version=table.c.version + 1,
    )
)
# Those that go with their account.
KEYS = Statement(
    select(*(keys.c[field] for field in Key.__struct_fields__ if field != "account"))
    .where(keys.c.account_id == bindparam("key"))
    .order_by(keys.c.id)
)
DELETE = Statement(delete(table).where(table.c.id == bindparam("key")))


async def fetch(tx: Transaction, id: int, statement: Statement = ONE) -> Account:
    """Returns an account; raises NotFound where there is none that the caller may see.

    With HELD, nobody else changes it, or its keys, until the transaction ends.
    """
    found = await row(tx, statement, {"key": id})
    if found is None or not is_seen(tx, account := built(found)):
        raise NotFound(f"Account {id} does not exist")
    return account


async def listed(tx: Transaction, limit: int, after: int = 0, name: str | None = None) -> list[Account]:
    """Returns up to `limit` accounts with ids above `after`, in the order of ids."""
    found = await tx.rows(AFTER, {"after": after})
    seen = [account for account in map(built, found) if is_seen(tx, account)]
    return [account for account in seen if name in (None, account.name)][:limit]


async def create(tx: Transaction, account: Account) -> Account:
    """Creates an account; raises Forbidden where it would get what the caller does not have."""
    if not is_given(account.name):
        raise Invalid("Account is not whole", {"name": "is required"})
    grants = account.grants if is_given(account.grants) else []
    await _check(tx, grants)
    values = {"created": tx.now, "modified": tx.now, "version": 1, "name": account.name}
    [[id]] = await tx.rows(INSERT, {**values, "grants": _text(grants)})
    created = await fetch(tx, id)
    await journal.write(tx, [journal.of_record("create", created, None)])
    return created


async def change(tx: Transaction, account: Account) -> Account:
    """Changes the name of an account, or all of its grants; what is given as it is changes nothing.

    Raises Conflict where the caller would lose the role of an administrator: nobody might be left to mend it.
    """
    before = await fetch(tx, account.id, HELD)
    must_administer(tx, before)
    catalogue.check_version(account, before.version)
    said = normal(account)
    new = {
        field: getattr(said, field)
        for field in ("name", "grants")
        if is_given(getattr(said, field)) and getattr(said, field) != getattr(before, field)
    }
    if not new:
        return before
    grants: list[Grant] = new.get("grants", before.grants)
    await _check(tx, grants, before.grants)
    if account.id == tx.by.account_id and any(g.role == "admin" and g not in grants for g in before.grants):
        raise Conflict("this is your own account: let another administrator take the role from it")
    values = {"new_name": new.get("name", before.name), "new_grants": _text(grants)}
    await tx.rows(UPDATE, {**values, "now": tx.now, "key": account.id})
    after = await fetch(tx, account.id)
    was = journal.differences(before, new)
    await journal.write(tx, [journal.of_record("change", after, None, was)])
    return after


async def remove(tx: Transaction, id: int, version: int | None = None) -> None:
    """Removes an account, and its keys with it; raises Conflict for the caller's own."""
    before = await fetch(tx, id, HELD)
    must_administer(tx, before)
    if version is not None:
        catalogue.check_version(Account(id=id, version=version), before.version)
    if id == tx.by.account_id:
        raise Conflict("this is your own account: let another administrator remove it")
    ended = [Key(*[*row, before]) for row in await tx.rows(KEYS, {"key": id})]
    await tx.rows(DELETE, {"key": id})
    gone = [*ended, before]
    await journal.write(tx, [journal.of_record("delete", one, None, journal.told(one)) for one in gone])


def built(row: Row) -> Account:
    """Returns the account of a row of its columns."""
    *values, grants = row
    return Account(*[*values, msgspec.json.decode(grants, type=list[Grant])])


def _text(grants: list[Grant]) -> str:
    return msgspec.json.encode(list(dict.fromkeys(grants))).decode()


def is_seen(tx: Transaction, account: Account) -> bool:
    """Tells whether an account exists for the caller: all of its grants are where the caller may look."""
    where = tx.by.within("audit")
    return where is None or (
        bool(account.grants) and all(grant.organisation_id in where for grant in account.grants)
    )


def must_administer(tx: Transaction, account: Account) -> None:
    """Raises Forbidden where an account, which the caller sees, has more than the caller could give it."""
    if beyond(tx.by, account.grants):
        raise Forbidden(f"account {account.name!r} has more rights than {tx.by.account!r} could give it")


async def _check(tx: Transaction, grants: list[Grant], before: Sequence[Grant] = ()) -> None:
    """Raises NotFound for a grant in no organisation, Forbidden for what the caller cannot give.

    What is granted already may be in an organisation that was removed since: its id is never given again.
    """
    for place, grant in enumerate(grants):
        if grant.organisation_id is not None and grant not in before:
            try:
                await catalogue.fetch(tx, Organisation, grant.organisation_id)
            except NotFound as error:
                raise NotFound("a grant is in no organisation", {f"grants[{place}]": error.detail}) from None
    wrong: dict[str, Any] = {
        f"grants[{place}]": "you do not have it yourself there, or are no admin there"
        for place, grant in enumerate(grants)
        if beyond(tx.by, [grant])
    }
    if wrong:
        raise Forbidden(f"account {tx.by.account!r} cannot give this", wrong)
    if not grants and not tx.by.acts(None):
        raise Forbidden("say in which organisation: an account without grants belongs to none of yours")
