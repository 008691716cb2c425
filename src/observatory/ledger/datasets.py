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
from . import catalogue, expecting, inputs, journal
from .database import Transaction
from .reencrypt import SEAL, place, sealed
from .rights import READ_ADDRESS, WRITE_ADDRESS, denied

LOST = "hmac:lost"  # stands for an address whose key is not in the ring any more


async def fetch(tx: Transaction, kind: type[Dataset], id: int) -> Dataset:
    """Returns a dataset, with its address if the caller may read it."""
    [found] = await _shown(tx, [await catalogue.fetch(tx, kind, id)])
    return found


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
    return await _shown(tx, found)


async def create(tx: Transaction, record: Dataset) -> Dataset:
    """Stores a new dataset and returns the whole of it."""
    values = await catalogue.new_values(tx, record)
    _check_cadence(tx, values)
    await inputs.must_be_there(tx, Dataset, values["inputs"])
    id = await catalogue.inserted(tx, Dataset, {**values, "address": ""})
    created = await catalogue.fetch(tx, Dataset, id)
    _must_write(tx, organisation_of(created))
    kept = sealed(tx.ring, id, values["address"])
    await tx.rows(SEAL, {**kept, "key": id})
    created.address = kept["address"]
    if created.cadence:
        await expecting.expect(tx, id, created.cadence)
    note = journal.of_record("create", _noted(tx, created), organisation_of(created))
    await journal.catalogue_changed(tx, note)
    [answer] = await _shown(tx, [created])
    return answer


async def change(tx: Transaction, record: Dataset, merging: bool = False) -> Dataset:
    """Changes the fields that are given, and no other, and returns the whole record, as catalogue.change."""
    before, values = await catalogue.to_change(tx, record, merging)
    _check_cadence(tx, values)
    if is_given(record.address):
        _must_write(tx, organisation_of(before))
    if "address" in values:
        values |= _resealed(tx, before, values.pop("address"))
    if is_given(record.inputs):
        values = await _with_inputs(tx, before, record, values)
    after = await _changed(tx, before, values) if values else before
    [answer] = await _shown(tx, [after])
    return answer


async def _changed(tx: Transaction, before: Dataset, values: dict[str, Any]) -> Dataset:
    """Changes these columns, writes the entry of it, and returns the whole dataset."""
    await catalogue.updated(tx, Dataset, before.id, values)
    if "inputs" in values:
        await inputs.must_not_circle(tx, Dataset, before.id)
    after = await catalogue.fetch(tx, Dataset, before.id)
    if "cadence" in values:
        await expecting.expect(tx, before.id, after.cadence)
    changed = [catalogue.field_of(before, column) for column in values if column != "address_digest"]
    was = journal.differences(_noted(tx, before), changed)
    note = journal.of_record("change", _noted(tx, after), organisation_of(before), was)
    await journal.catalogue_changed(tx, note)
    return after


async def remove(tx: Transaction, kind: type[Dataset], id: int, version: int | None = None) -> None:
    """Removes a dataset; raises Conflict while releases refer to it, or another one is made from it."""
    before = await catalogue.removed(tx, kind, id, version)
    # Only now is it sure that nobody begins to refer to it; what is raised here undoes the rest.
    await inputs.must_be_unused(tx, Dataset, id)
    told = journal.told(_noted(tx, before))
    note = journal.of_record("delete", before, organisation_of(before), told)
    await journal.catalogue_changed(tx, note)


def _check_cadence(tx: Transaction, values: Mapping[str, Any]) -> None:
    if told := values.get("cadence"):
        cadence.check(told, tx.now)


async def _with_inputs(
    tx: Transaction, before: Dataset, told: Dataset, values: dict[str, Any]
) -> dict[str, Any]:
    """Returns the columns that are to be changed, with what the dataset is made from, if that is another."""
    await inputs.must_be_there(tx, Dataset, told.inputs)
    kept = await inputs.with_hidden(tx, Dataset, before.inputs, told.inputs)
    others = {column: value for column, value in values.items() if column != "inputs"}
    return others if kept == before.inputs else {**others, "inputs": kept}


async def _shown(tx: Transaction, found: list[Dataset]) -> list[Dataset]:
    """Returns datasets as the caller may see them."""
    for dataset in found:
        may = tx.by.may(READ_ADDRESS, organisation_of(dataset))
        dataset.address = tx.ring.unseal(dataset.address, place(dataset.id)) if may else unset
    return await inputs.shown(tx, found)


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
