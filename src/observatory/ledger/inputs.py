"""What datasets and releases are made from: it is there, is not taken away, and leads back to none of them.

An input may be of another organisation. For whoever may not read there it does not exist: it cannot be named,
is not answered, and stays as it is when the others are told anew.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Insert,
    Select,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
)

from ..errors import Conflict, NotFound, Unavailable
from ..records import Dataset, DatasetRelease, Entry, R, Record, kind_of
from .database import Transaction, row
from .statements import InsertMany, Statement, among
from .tables import BIG, TABLES, book, dataset_releases, datasets, derivations, workflows

FIELD: dict[type[Record], str] = {Dataset: "inputs", DatasetRelease: "made_from"}
SHOWN = 5  # so many of those that are made from something are named when it cannot be deleted

# Whoever changes what is made from what does it alone: two could else close a circle of which each sees half.
ALONE = Statement(select(book.c.id).with_for_update(key_share=True))
DERIVE = InsertMany(derivations, ["release_id", "input_id"])
FORGET = Statement(delete(derivations).where(derivations.c.release_id == bindparam("key")))
FREE = Statement(
    select(dataset_releases.c.id)
    .where(dataset_releases.c.id == bindparam("key"))
    .with_for_update(skip_locked=True)
)
INPUTS = Statement(
    select(datasets.c.id, datasets.c.inputs).where(among(datasets.c.id, "ids", sqlite=False)),
    select(datasets.c.id, datasets.c.inputs).where(among(datasets.c.id, "ids", sqlite=True)),
)


async def must_be_there(tx: Transaction, kind: type[Record], ids: Iterable[int]) -> None:
    """Raises NotFound where one of these does not exist for the caller; the others stay until the end.

    Releases are looked up before any dataset is held: so nobody waits for whoever deletes one crosswise.
    """
    if asked := sorted(set(ids)):
        there = await held(tx, kind, asked)
        for id in asked:
            if id not in there:
                raise nothing(kind, id)


async def held(tx: Transaction, kind: type[Record], ids: Iterable[int]) -> set[int]:
    """Returns which of these the caller sees; nobody removes them until the transaction ends."""
    rows = await tx.rows(_owners(kind, holding=True), {"ids": sorted(set(ids))})
    return {id for id, organisation_id in rows if tx.by.sees(organisation_id)}


async def absent(tx: Transaction, releases: dict[int, DatasetRelease]) -> dict[int, NotFound]:
    """Returns the error for each of these that would be made from what does not exist for the caller."""
    made = {place: release.made_from for place, release in releases.items() if release.made_from}
    if not made:
        return {}
    there = await held(tx, DatasetRelease, {id for ids in made.values() for id in ids})
    return {
        place: nothing(DatasetRelease, next(id for id in ids if id not in there))
        for place, ids in made.items()
        if not there.issuperset(ids)
    }


def nothing(kind: type[Record], id: int) -> NotFound:
    """Returns the error for an input that does not exist for the caller."""
    return NotFound(f"{kind.__name__} refers to nothing", {FIELD[kind]: f"there is no {kind.__name__} {id}"})


async def with_hidden(
    tx: Transaction, kind: type[Record], before: list[int] | None, told: list[int] | None
) -> list[int]:
    """Returns what something is made from when this is told: what the caller may not see stays."""
    hidden = set(before or ()) - await visible(tx, kind, before or ())
    return sorted({*(told or ()), *hidden})


async def shown(tx: Transaction, records: list[R]) -> list[R]:
    """Returns records without what the caller may not see of what they are made from."""
    if records and (field := FIELD.get(kind := kind_of(records[0]))):
        made = [record for record in records if getattr(record, field)]
        seen = await visible(tx, kind, {id for record in made for id in getattr(record, field)})
        for record in made:
            setattr(record, field, _left(kind, getattr(record, field), seen))
    return records


async def entries_shown(tx: Transaction, entries: list[Entry]) -> list[Entry]:
    """Returns entries without what the caller may not see of what the records in them are made from."""
    for kind, field in FIELD.items():
        told = [part for one in entries if one.kind == kind.__name__ for part in (one.before, one.after)]
        made = [part for part in told if part and part.get(field)]
        seen = await visible(tx, kind, {id for part in made for id in part[field]})
        for part in made:
            part[field] = _left(kind, part[field], seen)
    return entries


async def derive(tx: Transaction, releases: Iterable[DatasetRelease]) -> None:
    """Writes down what new releases are made from, where they are looked up by it."""
    rows = [(release.id, input_id) for release in releases for input_id in release.made_from or ()]
    if rows:
        await tx.insert(DERIVE, rows)


async def derive_anew(tx: Transaction, release: DatasetRelease) -> None:
    """Writes down what a release is made from now; raises Conflict where that leads back to it."""
    await tx.rows(FORGET, {"key": release.id})
    await derive(tx, [release])
    await must_not_circle(tx, DatasetRelease, release.id)


async def derive_all(tx: Transaction, dataset_id: int) -> None:
    """Writes down anew what the releases of a dataset are made from, as they say themselves."""
    await tx.rows(FORGET_ALL, {"dataset": dataset_id})
    await tx.rows(DERIVE_ALL, {"dataset": dataset_id})


async def must_not_circle(tx: Transaction, kind: type[Record], id: int) -> None:
    """Raises Conflict, and tells the way, where something would be made from itself; it is written already.

    From here on nobody else tells what is made from what, nor changes the catalogue.
    """
    await tx.rows(ALONE, {})
    made = await (_above if kind is DatasetRelease else _above_dataset)(tx, id)
    if way := circle(made, id):
        seen = await visible(tx, kind, way)
        names = [str(one) if one in seen else "another organisation's" for one in way]
        told = ", ".join(f"{one} from {other}" for one, other in pairwise(names))
        raise Conflict(
            f"{kind.__name__} {id} would be made from itself", {FIELD[kind]: f"lead back to it: {told}"}
        )


def circle(made: dict[int, list[int]], id: int) -> list[int]:
    """Returns a shortest way from one through what it is made from back to it; nothing where none is."""
    before: dict[int, int] = {}
    level = [id]
    while level:
        following = []
        for one in level:
            for other in made.get(one, ()):
                if other == id:
                    way = [id, one]
                    while way[-1] != id:
                        way.append(before[way[-1]])
                    return way[::-1] if one != id else [id, id]
                if other not in before:
                    before[other] = one
                    following.append(other)
        level = following
    return []


async def must_be_unused(tx: Transaction, kind: type[Record], id: int) -> None:
    """Raises Conflict where something is made from a dataset or release that is to be removed."""
    # Not waited for: whoever makes something from it may wait for the dataset that is held here.
    if kind is DatasetRelease and await row(tx, FREE, {"key": id}) is None:
        raise Unavailable("others are changing the same; nothing was changed, repeat it")
    rows = await tx.rows(_users(kind), {"key": id, "limit": SHOWN + 1})
    if not rows:
        return
    seen = [str(user) for user, organisation_id in sorted(map(tuple, rows)) if tx.by.sees(organisation_id)]
    which = ", ".join(seen[:SHOWN]) or "of another organisation"
    more = " and more" if len(rows) > min(len(seen), SHOWN) and seen else ""
    cure = f"delete what refers to it first: {kind.path} {which}{more}"
    raise Conflict(f"{kind.__name__} {id} is referred to and cannot be deleted", {kind.path: cure})


async def visible(tx: Transaction, kind: type[Record], ids: Iterable[int]) -> set[int]:
    """Returns which of these the caller sees."""
    asked = set(ids)
    if tx.by.within("read") is None or not asked:
        return asked
    rows = await tx.rows(_owners(kind, holding=False), {"ids": sorted(asked)})
    return {id for id, organisation_id in rows if tx.by.sees(organisation_id)}


def _left(kind: type[Record], ids: Sequence[int], seen: set[int]) -> list[int] | None:
    left = [id for id in ids if id in seen]
    # As it is where there is none at all: else it would tell that there is something.
    return left if left or kind is Dataset else None


async def _above(tx: Transaction, id: int) -> dict[int, list[int]]:
    """Returns what a release, and what it is made from, are made from."""
    made: dict[int, list[int]] = {}
    for release_id, input_id in await tx.rows(ABOVE, {"key": id}):
        made.setdefault(release_id, []).append(input_id)
    return made


async def _above_dataset(tx: Transaction, id: int) -> dict[int, list[int]]:
    """Returns what a dataset, and what it is made from, are made from: level by level, as they are few."""
    made: dict[int, list[int]] = {}
    level = [id]
    while level:
        found: dict[int, list[int]] = dict(map(tuple, await tx.rows(INPUTS, {"ids": level})))
        made |= found
        level = sorted({other for inputs in found.values() for other in inputs} - made.keys())
    return made


def looked_up(
    source: FromClause, column: ColumnElement[Any], rows: Select[Any], key: ColumnElement[Any], sqlite: bool
) -> tuple[FromClause, FromClause]:
    """Returns a source joined with the rows that have its column as their key, and these.

    PostgreSQL cannot know how few a recursion finds, and would rather read all than look for each of them in
    the index of the key: what it is not to turn round says so by an offset.
    """
    if sqlite:
        found: FromClause = rows.subquery()
        return source.join(found, found.c[key.name] == column), found
    found = rows.where(key == column).offset(literal_column("0")).lateral()
    return source.join(found, true()), found


def _above_release(sqlite: bool) -> Select[tuple[int, int]]:
    above = select(bindparam("key", type_=BIG).label("id")).cte("above", recursive=True)
    made = select(derivations.c.release_id, derivations.c.input_id)
    source, found = looked_up(above, above.c.id, made, derivations.c.release_id, sqlite)
    above = above.union(select(found.c.input_id).select_from(source))
    source, found = looked_up(above, above.c.id, made, derivations.c.release_id, sqlite)
    return select(found.c.release_id, found.c.input_id).select_from(source)


def _said(sqlite: bool) -> Insert:
    column: ColumnElement[Any] = dataset_releases.c.made_from
    each = func.json_each if sqlite else func.jsonb_array_elements_text
    said = each(column).table_valued("value", joins_implicitly=True)
    rows = select(dataset_releases.c.id, cast(said.c.value, BIG)).select_from(dataset_releases, said)
    rows = rows.where(dataset_releases.c.dataset_id == bindparam("dataset"), column.is_not(None))
    return insert(derivations).from_select(["release_id", "input_id"], rows)


ABOVE = Statement(_above_release(sqlite=False), _above_release(sqlite=True))
FORGET_ALL = Statement(
    delete(derivations).where(
        derivations.c.release_id.in_(
            select(dataset_releases.c.id).where(dataset_releases.c.dataset_id == bindparam("dataset"))
        )
    )
)
DERIVE_ALL = Statement(_said(sqlite=False), _said(sqlite=True))


@cache
def _owners(kind: type[Record], holding: bool) -> Statement:
    """Returns the statement that tells of which organisations datasets or releases are."""
    table = TABLES[kind]
    source = datasets.join(workflows)
    rows = select(table.c.id, workflows.c.organisation_id)
    rows = rows.select_from(source.join(dataset_releases) if kind is DatasetRelease else source)
    if holding:
        rows = rows.with_for_update(read=True, key_share=True, of=table)
    given = [among(table.c.id, "ids", sqlite) for sqlite in (False, True)]
    return Statement(*(rows.where(condition) for condition in given))


@cache
def _users(kind: type[Record]) -> Statement:
    """Returns the statement that tells what is made from a dataset or a release, and whose that is."""
    table = TABLES[kind]
    rows = select(table.c.id, workflows.c.organisation_id)
    if kind is Dataset:
        rows = rows.join_from(datasets, workflows).limit(bindparam("limit"))
        return Statement(rows.where(_is_input(sqlite=False)), rows.where(_is_input(sqlite=True)))
    rows = rows.join_from(derivations, table, derivations.c.release_id == table.c.id)
    rows = rows.join(datasets, table.c.dataset_id == datasets.c.id).join(workflows)
    rows = rows.where(derivations.c.input_id == bindparam("key"))
    return Statement(rows.limit(bindparam("limit")))


def _is_input(sqlite: bool) -> ColumnElement[bool]:
    """Returns the condition that a dataset is made from the one of the key, as the indexes serve it."""
    if not sqlite:
        column: ColumnElement[str] = literal_column("datasets.inputs")
        return column.bool_op("@>")(func.jsonb_build_array(bindparam("key", type_=BIG)))
    listed = func.json_each(datasets.c.inputs).table_valued("value", name="inputs_given")
    any_inputs: ColumnElement[bool] = literal_column("datasets.inputs <> '[]'")
    return any_inputs & select(listed.c.value).where(listed.c.value == bindparam("key")).exists()
