"""Whether the caller of a transaction may see and change what it asks for."""

from ..access import Right, organisation_of
from ..errors import Forbidden, NotFound
from ..records import R, kind_of
from .database import Transaction

READ_ADDRESS: Right = "address:read"
WRITE_ADDRESS: Right = "address:write"
NEEDED = {"record": "writer", "maintain": "maintainer", "administer": "admin", "audit": "auditor"}


def seen(tx: Transaction, record: R) -> R:
    """Returns a whole record; raises NotFound where it does not exist for the caller."""
    if not tx.by.sees(organisation_of(record)):
        raise NotFound(f"{kind_of(record).__name__} {record.id} does not exist")
    return record


def must_act(tx: Transaction, organisation_id: int | None, what: str) -> None:
    """Raises Forbidden where the caller may see something, but not do what it asks; it has been seen."""
    if tx.by.acts(organisation_id):
        return
    role = NEEDED.get(tx.by.right, tx.by.right)
    where = "all organisations" if organisation_id is None else f"organisation {organisation_id}"
    raise Forbidden(f"account {tx.by.account!r} may not change {what}: it needs the role {role} in {where}")


def must_move(tx: Transaction, there: int | None, here: int | None) -> None:
    """Raises Forbidden where datasets would move with addresses that the caller may not tell others."""
    if there == here:
        return
    for right, organisation_id in (READ_ADDRESS, there), (WRITE_ADDRESS, here):
        if not tx.by.may(right, organisation_id):
            raise denied(tx, right, organisation_id, "move what has addresses to another organisation")


def denied(tx: Transaction, right: Right, organisation_id: int | None, what: str) -> Forbidden:
    """Returns the error for a right to addresses that the caller does not have."""
    where = "any organisation" if organisation_id is None else f"organisation {organisation_id}"
    return Forbidden(f"account {tx.by.account!r} may not {what}: it needs the role {right} in {where}")
