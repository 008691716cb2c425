"""What may still be changed of a recorded release: its facts, and its state with a reason; or it is removed.

Its dataset and its period are what it is known by, and never change.
"""

from functools import cache
from typing import Any

import msgspec
from sqlalchemy import BindParameter, bindparam, delete, func, select, update

from ..errors import Conflict, Invalid, NotFound
from ..records import SETTLED, DatasetRelease, State, is_given
from ..rules import given, normal
from . import inputs, journal, status, wanted
from .catalogue import KEPT_BY_LEDGER, check_version, merge
from .coverage import cover, uncover
from .database import Transaction, row
from .holdings import Held, hold
from .releases import kept
from .statements import Statement, listed_json
from .tables import dataset_releases as table
from .tables import wanted as offered

IDENTITY = ("start_date", "end_date", "revision")

DATASET = Statement(select(table.c.dataset_id).where(table.c.id == bindparam("key")))
DELETE = Statement(delete(table).where(table.c.id == bindparam("key")))
NEWEST = Statement(
    select(func.max(table.c.revision)).where(
        table.c.dataset_id == bindparam("dataset"),
        table.c.start_date == bindparam("start"),
        table.c.end_date == bindparam("end"),
    )
)

# Of what is not there any more, nothing else is offered.
FORGET = Statement(
    update(offered)
    .where(
        offered.c.dataset_id == bindparam("dataset"),
        offered.c.start_date == bindparam("start"),
        offered.c.end_date == bindparam("end"),
        offered.c.restated.is_not(None),
    )
    .values(restated=None)
)


async def change(tx: Transaction, told: DatasetRelease, merging: bool = False) -> DatasetRelease:
    """Changes the fields that are given, and no other, and returns the whole release.

    A change of state needs its `reason`. What is told as it is already changes nothing; `merging`, what is
    given of its extras is merged into them.
    Raises Conflict where the release was changed since a `version` that is given, or is history.
    """
    if is_given(told.made_from):
        await inputs.must_be_there(tx, DatasetRelease, told.made_from or ())
    recorded, held = await _held(tx, told.id)
    dataset_id = recorded.dataset.id
    new = await _new(tx, recorded, told, merging)
    if new:
        await tx.rows(_update(frozenset(new)), {**new, "now": tx.now, "key": told.id})
        after = await kept(tx, told.id)
        if after.state != recorded.state:
            await _follow(tx, dataset_id, held, recorded.state, after)
        if "made_from" in new:
            await inputs.derive_anew(tx, after)
        before = journal.differences(recorded, new)
        await journal.write(tx, [journal.of_release("change", after, held.organisation_id, before)])
        recorded = after
    [answer] = await inputs.shown(tx, [recorded])
    return answer


async def _new(
    tx: Transaction, recorded: DatasetRelease, told: DatasetRelease, merging: bool
) -> dict[str, object]:
    """Returns what is to be changed of a release, as its columns; raises where it cannot be."""
    if merging:
        told = merge(recorded, told)
    check_version(told, recorded.version)
    said = given(normal(told))
    _check_identity(recorded, said, recorded.dataset.id)
    if "made_from" in said:
        said["made_from"] = (
            await inputs.with_hidden(tx, DatasetRelease, recorded.made_from, told.made_from) or None
        )
    new = {f: v for f, v in said.items() if f not in KEPT_BY_LEDGER and v != getattr(recorded, f)}
    if new:
        _check_state(recorded, said, new)
    return {field: listed_json(value) for field, value in new.items()}


async def remove(tx: Transaction, id: int, version: int | None = None) -> None:
    """Removes a release; raises Conflict where its period has a later revision, which is to go first."""
    recorded, held = await _held(tx, id)
    if version is not None:
        check_version(DatasetRelease(id=id, version=version), recorded.version)
    dataset_id = recorded.dataset.id
    asked = {"dataset": dataset_id, "start": recorded.start_date, "end": recorded.end_date}
    [[newest]] = await tx.rows(NEWEST, asked)
    if newest > recorded.revision:
        raise Conflict(
            f"release {id} is revision {recorded.revision} of {newest}: delete the later ones first"
        )
    await inputs.must_be_unused(tx, DatasetRelease, id)
    await tx.rows(DELETE, {"key": id})
    await uncover(tx, dataset_id, held.longest, [recorded.period])
    if held.widest is not None:
        await tx.rows(FORGET, asked)
        await wanted.reckon(tx, dataset_id, held.widest, [recorded.period])
    await status.refresh(tx, dataset_id, held)
    before = msgspec.json.encode(recorded).decode()
    await journal.write(tx, [journal.of_release("delete", recorded, held.organisation_id, before)])


async def _follow(
    tx: Transaction, dataset_id: int, held: Held, before: State, release: DatasetRelease
) -> None:
    """Writes down what follows from another state of a release."""
    period, widest = release.period, held.widest
    was, stays = before in SETTLED, release.state in SETTLED
    if was and not stays:
        await uncover(tx, dataset_id, held.longest, [period])
        widest = await wanted.withdraw(tx, dataset_id, widest, {period: release.reason})
    if stays and not was:
        await cover(tx, dataset_id, held.longest, [period])
        if widest is not None:
            await wanted.loaded(tx, dataset_id, [period])
    if widest is not None:
        await wanted.reckon(tx, dataset_id, widest, [period])
    await status.refresh(tx, dataset_id, held)


async def _held(tx: Transaction, id: int) -> tuple[DatasetRelease, Held]:
    """Returns a release whose dataset is held from here on."""
    if (found := await row(tx, DATASET, {"key": id})) is None:
        raise NotFound(f"DatasetRelease {id} does not exist")
    try:
        held = await hold(tx, found[0])
    except NotFound:
        # Not that of the dataset: it would tell to which one of somebody else's a release belongs.
        raise NotFound(f"DatasetRelease {id} does not exist") from None
    return await kept(tx, id), held


def _check_identity(recorded: DatasetRelease, said: dict[str, object], dataset_id: int) -> None:
    """Raises Invalid where another period or dataset is told, and drops what is told of them."""
    is_now = {**{field: getattr(recorded, field) for field in IDENTITY}, "dataset_id": dataset_id}
    for field, value in is_now.items():
        if said.pop(field, value) != value:
            cure = "cannot be changed: withdraw this release and record another one"
            raise Invalid("a release is known by its dataset and period", {field.removesuffix("_id"): cure})


def _check_state(recorded: DatasetRelease, said: dict[str, object], new: dict[str, object]) -> None:
    if recorded.state == "superseded":
        raise Conflict(f"release {recorded.id} was superseded by a later revision, and is history")
    if "state" not in new:
        return
    if new["state"] == "superseded":
        cure = "is set by the book when a period is recorded anew: withdraw the release instead"
        raise Invalid("a release is not superseded by hand", {"state": cure})
    if not said.get("reason"):
        raise Invalid("a change of state needs its reason", {"reason": f"say why it is {new['state']}"})


@cache
def _update(columns: frozenset[str]) -> Statement:
    values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in sorted(columns)}
    values["modified"] = bindparam("now")
    changed = update(table).where(table.c.id == bindparam("key"))
    return Statement(changed.values(**values, version=table.c.version + 1))
