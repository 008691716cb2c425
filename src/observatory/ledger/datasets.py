"""Datasets: plain records but for their addresses, which are kept sealed and are read by few.

An address is sealed for the id of its dataset before it comes near the database, and unsealed only for those
who may read it; for all others it is absent. The journal has its fingerprint, and no error says anything of
it.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any

from ..access import NOWHERE, organisation_of
from ..errors import ObservatoryError
from ..policies import cadence
from ..records import Dataset, is_given, unset
from . import catalogue, journal
from .database import Transaction
from .reencrypt import SEAL, place, sealed
from .rights import READ_ADDRESS, WRITE_ADDRESS, denied

LOST = "hmac:lost"  # stands for an address whose key is not in the ring any more


async def fetch(tx: Transaction, kind: type[Dataset], id: int) -> Dataset:
    """Returns a dataset, with its address if the caller may read it."""
    return _shown(tx, await catalogue.fetch(tx, kind, id))


async def listed(
    tx: Transaction,
    kind: type[Dataset],
    limit: int,
    after: int = 0,
    asked: Mapping[str, Any] = catalogue.NO_FILTERS,
) -> list[Dataset]:
    """Returns up to `limit` datasets with ids above `after`; `asked` are filters, as {"workflow_id": 3}.

    Of those asked for by their address, only datasets whose address the caller may read are found. Raises
    Forbidden where the caller may read none.
    """
    if "address" not in asked:
        found = await catalogue.listed(tx, kind, limit, after, asked)
    else:
        if tx.by.within(READ_ADDRESS) == NOWHERE:
            raise denied(tx, READ_ADDRESS, None, "ask for datasets by their address")
        wanted = {**asked, "address": _known_as(tx, asked["address"])}
        found = await catalogue.listed(tx, kind, limit, after, wanted, ("read", READ_ADDRESS))
    return [_shown(tx, dataset) for dataset in found]


async def create(tx: Transaction, record: Dataset) -> Dataset:
    """Stores a new dataset and returns the whole of it."""
    values = await catalogue.new_values(tx, record)
    _check_cadence(tx, values)
    id = await catalogue.inserted(tx, Dataset, {**values, "address": ""})
    created = await catalogue.fetch(tx, Dataset, id)
    _must_write(tx, organisation_of(created))
    kept = sealed(tx.ring, id, values["address"])
    await tx.rows(SEAL, {**kept, "key": id})
    created.address = kept["address"]
    note = journal.of_record("create", _noted(tx, created), organisation_of(created))
    await journal.catalogue_changed(tx, note)
    return _shown(tx, created)


async def change(tx: Transaction, record: Dataset, merging: bool = False) -> Dataset:
    """Changes the fields that are given, and no other, and returns the whole record, as catalogue.change."""
    before, values = await catalogue.to_change(tx, record, merging)
    _check_cadence(tx, values)
    if is_given(record.address):
        _must_write(tx, organisation_of(before))
    if "address" in values:
        values |= _resealed(tx, before, values.pop("address"))
    if not values:
        return _shown(tx, before)
    await catalogue.updated(tx, Dataset, record.id, values)
    after = await catalogue.fetch(tx, Dataset, record.id)
    changed = [catalogue.field_of(before, column) for column in values if column != "address_digest"]
    was = journal.differences(_noted(tx, before), changed)
    note = journal.of_record("change", _noted(tx, after), organisation_of(before), was)
    await journal.catalogue_changed(tx, note)
    return _shown(tx, after)


async def remove(tx: Transaction, kind: type[Dataset], id: int, version: int | None = None) -> None:
    """Removes a dataset; raises Conflict while releases refer to it."""
    before = await catalogue.removed(tx, kind, id, version)
    told = journal.told(_noted(tx, before))
    note = journal.of_record("delete", before, organisation_of(before), told)
    await journal.catalogue_changed(tx, note)


def _check_cadence(tx: Transaction, values: Mapping[str, Any]) -> None:
    if told := values.get("cadence"):
        cadence.check(told, tx.now)


def _shown(tx: Transaction, dataset: Dataset) -> Dataset:
    """Returns a dataset as the caller may see it."""
    may = tx.by.may(READ_ADDRESS, organisation_of(dataset))
    dataset.address = tx.ring.unseal(dataset.address, place(dataset.id)) if may else unset
    return dataset


def _noted(tx: Transaction, dataset: Dataset) -> Dataset:
    """Returns a dataset as the journal tells it."""
    noted = copy(dataset)
    try:
        noted.address = tx.ring.fingerprint(tx.ring.unseal(dataset.address, place(dataset.id)))
    except ObservatoryError:
        noted.address = LOST
    return noted


def _resealed(tx: Transaction, before: Dataset, address: str) -> dict[str, Any]:
    """Returns the columns of a new address; none where it is what the dataset has already."""
    try:
        if tx.ring.unseal(before.address, place(before.id)) == address:
            return {}
    except ObservatoryError:
        pass  # whoever has lost a key tells the addresses anew
    return sealed(tx.ring, before.id, address)


def _known_as(tx: Transaction, address: str) -> list[str]:
    """Returns what is in the columns of datasets that have an address: its fingerprint, or itself.

    Servers of the version before left it as it was. What looks like a fingerprint is no such address.
    """
    digests = tx.ring.digests(address)
    return digests if address.startswith("hmac:") else [*digests, address]


def _must_write(tx: Transaction, organisation_id: int | None) -> None:
    if not tx.by.may(WRITE_ADDRESS, organisation_id):
        raise denied(tx, WRITE_ADDRESS, organisation_id, "set the address of a dataset")
