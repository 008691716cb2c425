"""Who may do what: roles, the rights that they give, and the one who asks. Pure.

Each right holds in some organisations or in all. What belongs to no organisation, such as a dataset type, is
read by whoever may read anything, and changed by those whose right holds in all. An object of an
organisation in which the caller may not read does not exist for it.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from .records import Dataset, DatasetRelease, Grant, Organisation, Record, Role, Workflow

Right = Literal["read", "record", "maintain", "audit", "administer", "address:read", "address:write"]
Organisations = frozenset[int] | None  # None: all of them, also those that are yet to come
Scopes = dict[Right, Organisations]

NOWHERE: frozenset[int] = frozenset()
RIGHTS: tuple[Right, ...] = get_args(Right)
ROLES: dict[Role, frozenset[Right]] = {
    "reader": frozenset({"read"}),
    "writer": frozenset({"read", "record"}),
    "maintainer": frozenset({"read", "record", "maintain"}),
    "auditor": frozenset({"read", "audit"}),
    "admin": frozenset({"read", "record", "maintain", "audit", "administer"}),
    "address:read": frozenset({"address:read"}),
    "address:write": frozenset({"address:write"}),
}


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Whoever asks: an account by the key it showed, the right that is asked for, and the request's id.

    `stamp` changes with what the account may do, and `catalogue` with the catalogue: what a caller was
    answered before still holds while both are the same.
    """

    account: str
    account_id: int | None
    scopes: Scopes
    right: Right
    request: str = ""
    key_id: int | None = None
    stamp: str = ""
    catalogue: int = 0

    def sees(self, organisation_id: int | None) -> bool:
        """Tells whether what belongs to the organisation, or to none, exists for the caller."""
        return self.may("read", organisation_id) or (organisation_id is None and "read" in self.scopes)

    def acts(self, organisation_id: int | None) -> bool:
        """Tells whether the right that is asked for holds in the organisation; for None, in all."""
        return self.may(self.right, organisation_id)

    def may(self, right: Right, organisation_id: int | None) -> bool:
        """Tells whether a right holds in the organisation; for None, whether it holds in all."""
        where = self.scopes.get(right, NOWHERE)
        return where is None or organisation_id in where

    def within(self, *rights: Right) -> Organisations:
        """Returns the organisations in which all these rights hold."""
        found: Organisations = None
        for right in rights:
            where = self.scopes.get(right, NOWHERE)
            found = where if found is None else found if where is None else found & where
        return found


def operator(right: Right = "administer") -> Caller:
    """Returns whoever works on the database itself, to whom nothing can be denied anyway."""
    return Caller("operator", None, dict.fromkeys(RIGHTS), right)


def scopes(grants: Iterable[Grant]) -> Scopes:
    """Returns where each right holds that the grants give."""
    found: Scopes = {}
    for grant in grants:
        for right in ROLES[grant.role]:
            where = found.get(right, NOWHERE)
            if where is None or grant.organisation_id is None:
                found[right] = None
            else:
                found[right] = where | {grant.organisation_id}
    return found


def beyond(caller: Caller, grants: Sequence[Grant]) -> list[Grant]:
    """Returns the grants that the caller cannot give: nobody gives what they do not have."""

    def has(grant: Grant) -> bool:
        rights: set[Right] = {*ROLES[grant.role], "administer"}
        return all(caller.may(right, grant.organisation_id) for right in rights)

    return [grant for grant in grants if not has(grant)]


def organisation_of(record: Record) -> int | None:
    """Returns to which organisation a whole record belongs; None for what all share.

    Of a release it cannot be told, since it names its dataset only.
    """
    match record:
        case Organisation():
            return record.id
        case Workflow():
            return record.organisation.id
        case Dataset():
            return record.workflow.organisation.id
        case DatasetRelease():
            raise TypeError("a release does not say whose it is")
    return None
