"""What the book said at a time, rebuilt from the journal: of each record, its last entry until then.

A transaction is dated by its start, and so are the entries in it. Related records are as they were then, too.
Of an address only the fingerprint is kept: it is told if the present one has the same.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, get_args

import msgspec
from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    cast,
    func,
    join,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from ..access import organisation_of
from ..errors import Invalid, NotFound, ObservatoryError
from ..records import SETTLED, Dataset, DatasetRelease, R, Record, State, is_given, relations, unset
from . import inputs
from .catalogue import related_filters
from .database import Transaction, row
from .horizon import ORDER
from .lists import Place, Wanted, narrowed, place_of, values_of
from .reencrypt import place
from .rights import READ_ADDRESS, seen
from .statements import Statement, among
from .tables import BIG, MOMENT, datasets, journal, workflows
from .tables import dataset_releases as table

CHUNK = 1000  # of those that may be asked for, so many are looked at in one go

BEGAN = Statement(select(journal.c.time).order_by(*ORDER).limit(1))
_CHANGES = journal.c.action != literal_column("'read'")
_UNTIL = journal.c.time <= bindparam("as_of", type_=MOMENT)


def _then(kind: ColumnElement[Any], id: ColumnElement[Any]) -> Select[Any]:
    """Returns what the last entry of a record until the time that is asked for says."""
    of_record = (journal.c.kind == kind, journal.c.record_id == id)
    found = select(journal.c.record_id, journal.c.sequence, journal.c.after).where(*of_record)
    return found.where(_CHANGES, _UNTIL).order_by(journal.c.sequence.desc()).limit(1)


def _joined(source: FromClause, kind: ColumnElement[Any], id: ColumnElement[Any], sqlite: bool) -> Any:
    """Returns a source of ids joined with what was told of each then, and the columns of that."""
    if sqlite:
        entry: Any = journal.alias("entry")
        inner = _then(kind, id).with_only_columns(journal.c.sequence)
        return join(source, entry, entry.c.sequence == inner.scalar_subquery()), entry.c
    # One look into the index for each: without LATERAL it would rather read the whole journal.
    told = _then(kind, id).lateral("entry")
    return join(source, told, true()), told.c


def _states(sqlite: bool) -> Select[Any]:
    if sqlite:
        given: Any = func.json_each(bindparam("ids")).table_valued("value", name="ids_given")
        id = given.c.value
    else:
        given = func.unnest(bindparam("ids", type_=ARRAY(BIG))).table_valued("id").render_derived()
        id = given.c.id
    source, entry = _joined(given, bindparam("kind"), id, sqlite)
    return select(entry.record_id, entry.after).select_from(source)


STATES = Statement(_states(sqlite=False), _states(sqlite=True))
MADE = Statement(
    select(journal.c.record_id)
    .where(journal.c.kind == bindparam("kind"), journal.c.record_id > bindparam("after"))
    .where(_CHANGES, journal.c.action == literal_column("'create'"), _UNTIL)
    .order_by(journal.c.record_id)
    .limit(bindparam("limit"))
)
DELETED = Statement(
    select(journal.c.record_id).where(
        journal.c.dataset_id == bindparam("dataset"),
        journal.c.action == literal_column("'delete'"),
        journal.c.kind == literal_column("'DatasetRelease'"),
        journal.c.time > bindparam("as_of", type_=MOMENT),
    )
)
_ADDRESSES = select(datasets.c.id, datasets.c.address, workflows.c.organisation_id).join(workflows)
ADDRESSES = Statement(
    _ADDRESSES.where(among(datasets.c.id, "ids", sqlite=False)),
    _ADDRESSES.where(among(datasets.c.id, "ids", sqlite=True)),
)


async def fetch(tx: Transaction, kind: type[R], id: int, as_of: datetime) -> R:
    """Returns a record as it was; raises NotFound where it was not there for the caller."""
    await _check(tx, as_of)
    if not (found := await _records(tx, kind, [id], as_of)):
        raise NotFound(f"{kind.__name__} {id} did not exist then")
    await _address(tx, [record for record in found if isinstance(record, Dataset)])
    await inputs.shown(tx, found)
    return seen(tx, found[0])


async def listed(
    tx: Transaction, kind: type[R], as_of: datetime, limit: int, after: int, asked: Mapping[str, Any]
) -> list[R]:
    """Returns up to `limit` records as they were, with ids above `after`; filters are those of then."""
    await _check(tx, as_of)
    if "address" in asked:
        raise Invalid("addresses of before are not kept", {"address": "cannot be asked for with as_of"})
    found: list[R] = []
    while len(found) < limit:
        values = {"kind": kind.__name__, "after": after, "as_of": as_of, "limit": CHUNK}
        ids = [id for [id] in await tx.rows(MADE, values)]
        records = await _records(tx, kind, ids, as_of)
        found += [one for one in records if tx.by.sees(organisation_of(one)) and _is_asked(one, asked)]
        if len(ids) < CHUNK:
            break
        after = ids[-1]
    for field, other in related_filters(kind).items() if not found else ():
        if field in asked:
            await fetch(tx, other, asked[field], as_of)
    await _address(tx, [record for record in found[:limit] if isinstance(record, Dataset)])
    return await inputs.shown(tx, found[:limit])


async def release(tx: Transaction, id: int, as_of: datetime) -> DatasetRelease:
    """Returns a release as it was; raises NotFound where it was not there for the caller."""
    await _check(tx, as_of)
    for found in await _releases(tx, [id], as_of):
        dataset = await _dataset(tx, found.dataset.id, as_of)
        if dataset and tx.by.sees(organisation_of(dataset)):
            found.dataset = Dataset(id=dataset.id, name=dataset.name)
            await inputs.shown(tx, [found])
            return found
    raise NotFound(f"DatasetRelease {id} did not exist then")


async def releases(tx: Transaction, wanted: Wanted, as_of: datetime) -> list[DatasetRelease]:
    """Returns a page of the releases of a dataset as they were; states are those of then.

    Raises Invalid where no dataset is asked for, NotFound where it was not there for the caller.
    """
    await _check(tx, as_of)
    if wanted.dataset is None:
        raise Invalid("as_of asks for the releases of one dataset", {"dataset_id": "is required with as_of"})
    dataset = await fetch(tx, Dataset, wanted.dataset, as_of)
    states = (wanted.state,) if wanted.state else None if wanted.history else SETTLED
    statement = _page(states, wanted.span is not None, wanted.after is not None)
    rows = await tx.rows(statement, await values_of(tx, wanted) | {"as_of": as_of})
    found = [_release(after) for [after] in rows]
    gone = [id for [id] in await tx.rows(DELETED, {"dataset": wanted.dataset, "as_of": as_of})]
    # What was deleted since has no row of its own any more.
    found += [one for one in await _releases(tx, gone, as_of) if _is_wanted(one, wanted, states)]
    for one in found:
        one.dataset = Dataset(id=dataset.id, name=dataset.name)
    return await inputs.shown(tx, sorted(found, key=place_of)[: wanted.limit])


async def _check(tx: Transaction, as_of: datetime) -> None:
    began = await row(tx, BEGAN, {})
    if began is None or as_of < began[0]:
        since = f"must not be before {began[0].isoformat()}" if began else "nothing is in it"
        raise Invalid("what was before the journal began is not known", {"as_of": since})


async def _told(tx: Transaction, kind: type[Record], ids: Iterable[int], as_of: datetime) -> dict[int, str]:
    """Returns what the journal tells of those records that were there, as JSON."""
    if not (listed := sorted(set(ids))):
        return {}
    rows = await tx.rows(STATES, {"kind": kind.__name__, "ids": listed, "as_of": as_of})
    return {id: after for id, after in rows if after is not None}


async def _records(tx: Transaction, kind: type[R], ids: Iterable[int], as_of: datetime) -> list[R]:
    """Returns records as they were, with all that is nested in them, by id."""
    told = await _told(tx, kind, ids, as_of)
    found = [msgspec.json.decode(told[id], type=kind) for id in sorted(told)]
    for field, other in relations(kind).items():
        related = await _records(tx, other, {getattr(one, field).id for one in found}, as_of)
        by_id = {one.id: one for one in related}
        # Servers date by their own clocks: what something refers to may be dated later than that.
        found = [one for one in found if getattr(one, field).id in by_id]
        for one in found:
            setattr(one, field, by_id[getattr(one, field).id])
    return found


async def _dataset(tx: Transaction, id: int, as_of: datetime) -> Dataset | None:
    found = await _records(tx, Dataset, [id], as_of)
    return found[0] if found else None


async def _releases(tx: Transaction, ids: Iterable[int], as_of: datetime) -> list[DatasetRelease]:
    return [_release(after) for after in (await _told(tx, DatasetRelease, ids, as_of)).values()]


def _release(after: str) -> DatasetRelease:
    told = msgspec.json.decode(after, type=DatasetRelease)
    told.extras = told.extras or {}
    return told


async def _address(tx: Transaction, found: list[Dataset]) -> None:
    """Puts in the place of fingerprints those addresses that are still the same and may be read."""
    noted = {dataset.id: dataset.address for dataset in found if is_given(dataset.address)}
    rows = await tx.rows(ADDRESSES, {"ids": sorted(noted)}) if noted else []
    now = {id: (kept, organisation_id) for id, kept, organisation_id in rows}
    for dataset in found:
        dataset.address = unset
        kept, organisation_id = now.get(dataset.id, ("", None))
        may = tx.by.may(READ_ADDRESS, organisation_id) and tx.by.may(READ_ADDRESS, organisation_of(dataset))
        address = _unsealed(tx, dataset.id, kept) if kept and may else None
        if address and noted[dataset.id] in tx.ring.digests(address):
            dataset.address = address


def _unsealed(tx: Transaction, id: int, kept: str) -> str | None:
    try:
        return tx.ring.unseal(kept, place(id))
    except ObservatoryError:
        return None  # whoever has lost a key still reads the rest


def _is_asked(record: Any, asked: Mapping[str, Any]) -> bool:
    """Tells whether a record, as it was, is what the filters of its kind ask for."""
    for name, value in asked.items():
        if name == "tag":
            workflow = record.workflow if isinstance(record, Dataset) else record
            if value not in json.loads(workflow.tags):
                return False
        elif name == "organisation_id":
            if organisation_of(record) != value:
                return False
        elif name.endswith("_id") and name != "type_id":
            if getattr(record, name.removesuffix("_id")).id != value:
                return False
        elif getattr(record, name) != value:
            return False
    return True


def _is_wanted(release: DatasetRelease, wanted: Wanted, states: tuple[State, ...] | None) -> bool:
    span, start = wanted.span, release.start_date
    if span is not None:
        begins = start < span.end_date or start == span.start_date
        if not (begins and (release.end_date > span.start_date or start >= span.start_date)):
            return False
    is_behind = wanted.after is None or place_of(release) > Place(*wanted.after)
    return is_behind and (states is None or release.state in states)


@cache
def _page(states: tuple[State, ...] | None, in_span: bool, behind: bool) -> Statement:
    def rows(sqlite: bool) -> Select[Any]:
        source, entry = _joined(table, literal_column("'DatasetRelease'"), table.c.id, sqlite)
        found = select(entry.after).select_from(source).where(entry.after.is_not(None))
        if states:
            state = (entry.after if sqlite else cast(entry.after, JSON)).op("->>")(literal_column("'state'"))
            # What they are not, since of most releases this is true, and the database is to expect that.
            others: list[ColumnElement[str]] = [
                literal_column(f"'{one}'") for one in get_args(State) if one not in states
            ]
            found = found.where(state.not_in(others))
        found = narrowed(found, of_dataset=True, in_span=in_span, behind=behind)
        order = table.c.start_date, table.c.end_date, table.c.revision
        return found.order_by(*order).limit(bindparam("limit"))

    return Statement(rows(sqlite=False), rows(sqlite=True))
