"""Sealing anew, under the first key of a ring, whatever another key sealed or none did.

It needs no pause and no memory of how far it came: it looks for what is not yet sealed with the first key.
"""

from sqlalchemy import bindparam, select, update

from .database import Transaction
from .sealing import KeyRing
from .statements import Statement, Values
from .tables import datasets as table

CHUNK = 200  # addresses in one transaction: others wait for no more

STALE = Statement(
    select(table.c.id, table.c.address)
    .where(table.c.id > bindparam("after"), table.c.address.not_like(bindparam("current")))
    .order_by(table.c.id)
    .limit(CHUNK)
    # Whoever changes one of them meanwhile is waited for, and what they wrote is looked at again.
    .with_for_update(key_share=True)
)
SEAL = Statement(
    update(table)
    .where(table.c.id == bindparam("key"))
    .values(address=bindparam("address"), address_digest=bindparam("address_digest"))
)


async def reencrypt(tx: Transaction, after: int = 0) -> int | None:
    """Seals some of the addresses behind an id anew; returns the last id of these, None where none is left.

    A record stays at its version: what it says is the same. Raises ObservatoryError, and changes nothing,
    where an address cannot be read with the ring.
    """
    # No name of a key has a character that means something in LIKE.
    stale = await tx.rows(STALE, {"after": after, "current": f"{tx.ring.current}%"})
    for id, kept in stale:
        await tx.rows(SEAL, {**sealed(tx.ring, id, tx.ring.unseal(kept, place(id))), "key": id})
    return int(stale[-1][0]) if stale else None


def sealed(ring: KeyRing, id: int, address: str) -> Values:
    """Returns the address of a dataset as it is kept, and what it is found by."""
    return {"address": ring.seal(address, place(id)), "address_digest": ring.fingerprint(address)}


def place(id: int) -> str:
    """Returns where the address of a dataset is kept."""
    return f"datasets.address:{id}"
