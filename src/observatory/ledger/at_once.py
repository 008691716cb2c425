"""Recording a new release in one statement, where each answer has a way to go: on PostgreSQL.

Nearly every release is new and of a dataset into which nobody else records at that moment. Then one statement
does all that releases.record does in several: it takes hold of the dataset, inserts the release, writes the
entry of the journal and adds the period to the runs. What it reads may be older than what others committed
while it began; so each who holds a dataset counts it, and where the number is not the one that was read,
nothing is done. Whatever does not go in this way is left to releases.record, which finds out why.
"""

from functools import cache

import msgspec
from sqlalchemy import (
    CTE,
    Select,
    Text,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from ..records import Dataset, DatasetRelease, unset
from . import journal
from .coverage import adding, microseconds
from .database import Transaction, row
from .facts import whole
from .holdings import UNWATCHED, acting, holding
from .releases import FIELDS, Recorded
from .statements import Statement
from .tables import dataset_releases, datasets, holdings, workflows
from .tables import journal as entries

COLUMNS = [*FIELDS[1:], "dataset_id"]


async def record(tx: Transaction, release: DatasetRelease) -> Recorded | None:
    """Records a release that is new; None where it is not, or where it cannot be done in this way."""
    made = whole(tx, release)
    if made.made_from:
        return None
    # In the order of the fields: first the id, which the book gives, and last the dataset.
    _, *values, extras, made_from, dataset = msgspec.structs.astuple(made)
    given = dict(zip(COLUMNS, [*values, extras or None, made_from, dataset.id], strict=True))
    # The id goes before the rest, and the name of the dataset behind it, once they are known.
    made.id = unset
    made.dataset = Dataset(id=dataset.id)
    rest = msgspec.json.encode(made).decode().removeprefix("{").removesuffix("}}")
    asked = {
        **{f"new_{name}": value for name, value in given.items()},
        **holding(tx, dataset.id),
        "start": made.start_date,
        "end": made.end_date,
        "length": microseconds(made.period),
        "rest": rest,
        "actor": tx.by.account,
        "account": tx.by.account_id,
        "request": tx.by.request,
    }
    found = await row(tx, _statement(made.period.is_instant), asked)
    if found is None:
        return None
    made.id, name = found
    made.dataset = Dataset(id=dataset.id, name=name)
    return Recorded(made, True)


@cache
def _statement(is_instant: bool) -> Statement:
    held = _held()
    new = _new(held)
    answer = select(new.c.id, held.c.name).join_from(new, held, literal_column("true"))
    answer = answer.add_cte(_noted(new, held))
    if not is_instant:
        answer = answer.add_cte(adding(exists(select(new.c.id))).cte("covered"))
    return Statement(answer)


def _held() -> CTE:
    """The dataset, if nobody has held it since this statement began to look, and nothing is wanted of it."""
    seen = select(datasets.c.name, workflows.c.organisation_id, holdings.c.changes)
    seen = seen.join_from(holdings, datasets).join(workflows).where(acting(), UNWATCHED)
    # What is locked first here is locked first by whoever deletes a dataset.
    there = seen.with_for_update(read=True, key_share=True, of=datasets).cte("there")
    counted = update(holdings).where(
        holdings.c.dataset_id == bindparam("dataset"), holdings.c.changes == there.c.changes
    )
    longest = func.greatest(holdings.c.longest, bindparam("length"))
    newest = func.greatest(holdings.c.newest, bindparam("end"))
    counted = counted.values(changes=holdings.c.changes + 1, longest=longest, newest=newest)
    return counted.returning(there.c.name, there.c.organisation_id).cte("held")


def _new(held: CTE) -> CTE:
    """The release, if there is none of its period."""
    columns = dataset_releases.c
    values = [cast(bindparam(f"new_{name}"), columns[name].type) for name in COLUMNS]
    made = postgresql_insert(dataset_releases).from_select(COLUMNS, select(*values).select_from(held))
    made = made.on_conflict_do_nothing(index_elements=["dataset_id", "start_date", "end_date", "revision"])
    return made.returning(columns.id).cte("new")


def _noted(new: CTE, held: CTE) -> CTE:
    """The entry of the release."""
    values = {
        "place": literal_column(journal.PLACE),
        "time": cast(bindparam("new_created"), entries.c.time.type),
        "actor": cast(bindparam("actor"), Text),
        "account_id": cast(bindparam("account"), entries.c.account_id.type),
        "action": literal_column("'create'"),
        "kind": literal_column("'DatasetRelease'"),
        "record_id": new.c.id,
        "organisation_id": held.c.organisation_id,
        "dataset_id": cast(bindparam("dataset"), entries.c.dataset_id.type),
        "after": func.concat(
            '{"id":',
            new.c.id,
            ",",
            cast(bindparam("rest"), Text),
            ',"name":',
            func.to_json(held.c.name),
            "}}",
        ),
        "request": cast(bindparam("request"), Text),
    }
    made: Select[tuple[object, ...]] = select(*values.values()).join_from(new, held, literal_column("true"))
    return insert(entries).from_select(list(values), made).cte("noted")
