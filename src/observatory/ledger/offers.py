"""What a source offers, as probes of it say, and what became of its offers.

A probe that failed or saw only a part withdraws nothing, and a complete one that would withdraw too much at
once is refused until it is confirmed: an outage at the source must not look like an empty source.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import bindparam, case, func, select, tuple_, update

from ..errors import Invalid, Shrunk
from ..intervals import Period
from ..records import SETTLED, DatasetRelease
from ..rules import offer as normal
from ..wants import Offer, Offered, Probe, Probed
from . import journal, status, wanted
from .database import Transaction
from .holdings import Held, hold, must_exist
from .releases import of_periods
from .statements import Statement
from .tables import MOMENT, datasets, holdings
from .tables import wanted as table
from .wanted import Want

TOLD = ("version_label", "published", "size", "digest", "extras")
NUMBER = re.compile(r"\d+")
GUARD = 20  # percent
SKEW = timedelta(minutes=1)  # so far ahead may the clock of whoever probes be, and is taken for ours
SHOWN = 20  # so many periods of each sort are in the entry of a probe

_OF_DATASET = holdings.c.dataset_id == bindparam("dataset")
BEFORE = Statement(
    select(holdings.c.probed, holdings.c.probe_digest, holdings.c.offers, datasets.c.shrink_guard)
    .join_from(holdings, datasets)
    .where(_OF_DATASET)
)
_NOTED = ("probed", "probe_outcome", "probe_error", "probe_digest", "offers")
NOTE = Statement(
    update(holdings)
    .where(_OF_DATASET)
    .values(
        **{name: bindparam(name) for name in _NOTED},
        probed_whole=func.coalesce(bindparam("probed_whole", type_=MOMENT), holdings.c.probed_whole),
    )
)
_PROBED = bindparam("probed", type_=MOMENT)
LOOKED = Statement(
    update(holdings)
    .where(_OF_DATASET)
    .values(
        probed=case((holdings.c.probed > _PROBED, holdings.c.probed), else_=_PROBED),
        probe_outcome=bindparam("outcome"),
        probe_error=bindparam("error"),
    )
)
_SEEN = (table.c.first_seen, func.coalesce(table.c.last_seen, holdings.c.probed_whole), table.c.gone)
LISTED = Statement(
    select(
        *wanted.PERIOD,
        *(table.c[name] for name in TOLD),
        *_SEEN,
        table.c.restated,
    )
    .join_from(table, holdings, table.c.dataset_id == holdings.c.dataset_id)
    .where(table.c.dataset_id == bindparam("dataset"), table.c.first_seen.is_not(None))
    .where(
        tuple_(*wanted.PERIOD)
        > tuple_(bindparam("after_start", type_=MOMENT), bindparam("after_end", type_=MOMENT))
    )
    .order_by(*wanted.PERIOD)
    .limit(bindparam("limit"))
)


class Difference(NamedTuple):
    """How what is offered now differs from what was: the periods, by what became of them."""

    new: list[Period]
    changed: list[Period]
    returned: list[Period]
    gone: list[Period]

    @property
    def touched(self) -> list[Period]:
        """All the periods of which something is another now."""
        return [*self.new, *self.changed, *self.returned, *self.gone]


def difference(before: Mapping[Period, Want], told: Mapping[Period, Offer], is_whole: bool) -> Difference:
    """Returns how the offers that were told differ from those known; only of a whole list are any gone."""
    new, changed, returned = [], [], []
    for period, offer in told.items():
        want = before.get(period)
        if want is None or want.first_seen is None:
            new.append(period)
        elif want.gone is not None:
            returned.append(period)
        elif any(_told(offer, name) != getattr(want, name) for name in TOLD):
            changed.append(period)
    gone = [p for p, want in before.items() if want.first_seen and not want.gone and p not in told]
    return Difference(new, changed, returned, gone if is_whole else [])


async def probe(tx: Transaction, dataset_id: int, probe: Probe) -> Probed:
    """Writes down what a probe saw, and returns what it changed.

    Raises Shrunk where a complete probe would withdraw more of the offers than the dataset's guard allows.
    """
    held = await hold(tx, dataset_id)
    observed = _observed(tx, probe)
    [[probed, digest, offered, guard]] = await tx.rows(BEFORE, {"dataset": dataset_id})
    if probe.outcome == "failed":
        return await _looked(tx, dataset_id, held, probe, observed, offered)
    told = _one_each(probe.offers)
    # Else somebody has looked later, and knows better: what nobody knew yet is all that it adds.
    is_latest = probed is None or observed >= probed
    is_whole = probe.outcome == "complete" and is_latest
    seen = _digest(told) if is_whole else None
    if seen is not None and seen == digest:
        await _remember(tx, dataset_id, probe, observed, observed if told else None, seen, offered)
        return Probed(probe.outcome, observed, offered)
    before = await wanted.existing(tx, dataset_id, None if is_whole else list(told))
    if not is_latest:
        told = {p: offer for p, offer in told.items() if p not in before or before[p].first_seen is None}
    differs = difference(before, told, is_whole)
    if is_whole and not probe.confirm:
        _check_shrinking(len(differs.gone), offered, GUARD if guard is None else guard)
    compared = await _compared(tx, dataset_id, before, told, [*differs.changed, *differs.returned])
    wants = _there(before, told, differs, compared, observed)
    wants += [before[p]._replace(gone=observed, last_seen=probed or observed) for p in differs.gone]
    replaced = [want.period for want in wants if want.period in before]
    widest = await wanted.put(tx, dataset_id, held.widest, replaced, wants)
    offered += len(differs.new) + len(differs.returned) - len(differs.gone)
    last = max(observed, probed or observed)
    # A source that never had anything may as well be a page that was read wrongly: nothing is known of it.
    is_known = bool(told) or any(want.first_seen for want in before.values())
    await _remember(tx, dataset_id, probe, last, observed if is_whole and is_known else None, seen, offered)
    await wanted.reckon(tx, dataset_id, widest, differs.touched)
    await status.refresh(tx, dataset_id, held)
    new, changed, returned, gone = map(len, differs)
    restated = {period for period, is_restated in compared.items() if is_restated}
    done = Probed(probe.outcome, observed, offered, new, changed, returned, gone, len(restated))
    await _note(tx, dataset_id, held, done, differs, restated)
    return done


async def listed(tx: Transaction, dataset_id: int, limit: int, after: Period | None = None) -> list[Offered]:
    """Returns the offers of a dataset behind a period, in order, with those that are gone."""
    await must_exist(tx, dataset_id)
    first = datetime.min.replace(tzinfo=UTC)
    place = after or Period(first, first)
    asked = {"dataset": dataset_id, "after_start": place.start_date, "after_end": place.end_date}
    rows = await tx.rows(LISTED, {**asked, "limit": limit})
    names = Offered.__struct_fields__
    return [Offered(**dict(zip(names, row, strict=True))) for row in rows]


def _one_each(offers: Iterable[Offer]) -> dict[Period, Offer]:
    """Returns one offer for each period, in whatever order they are told.

    Of several it is the one published last, of these the one with the last label, of these always the same.
    """
    found: dict[Period, Offer] = {}
    for at, told in enumerate(offers):
        one = normal(told, f"offers[{at}].")
        period = Period(one.start_date, one.end_date)
        other = found.get(period)
        if other is None or _age(one) >= _age(other):
            found[period] = one
    return found


def _age(offer: Offer) -> tuple[datetime, str, str]:
    """Returns what says which of two offers is the later: v10 comes after v9."""
    earliest = datetime.min.replace(tzinfo=UTC)
    label = NUMBER.sub(lambda found: found[0].zfill(20), offer.version_label or "")
    # Of a version with two files, the same one always: else a list in another order would look restated.
    return offer.published or earliest, label, offer.digest or ""


def _told(offer: Offer, name: str) -> Any:
    return getattr(offer, name) if name != "extras" else offer.extras or None


def _digest(told: Mapping[Period, Offer]) -> str:
    whole = msgspec.json.encode([told[period] for period in sorted(told)], order="deterministic")
    return sha256(whole).hexdigest()


def _observed(tx: Transaction, probe: Probe) -> datetime:
    if probe.observed is None:
        return tx.now
    if probe.observed > tx.now + SKEW:
        raise Invalid("a probe is of the past", {"observed": "is ahead of the server's clock: leave it out"})
    return min(probe.observed.astimezone(UTC), tx.now)


def _check_shrinking(gone: int, offered: int, guard: int) -> None:
    if gone * 100 > offered * guard:
        raise Shrunk(
            f"this would withdraw {gone} of {offered} offers, more than {guard} percent",
            {"confirm": "say true if the source really dropped them; or tell it as partial or failed"},
        )


async def _compared(
    tx: Transaction,
    dataset_id: int,
    before: Mapping[Period, Want],
    told: Mapping[Period, Offer],
    periods: Sequence[Period],
) -> dict[Period, bool | None]:
    """Returns of the offers that are another now whether something else was loaded, as far as is told."""
    if not periods:
        return {}
    recorded = await of_periods(tx, dataset_id, list(periods))
    return {p: _is_restated(before[p], told[p], recorded[p]) for p in periods if p in recorded}


def _is_restated(before: Want, now: Offer, recorded: DatasetRelease) -> bool | None:
    if recorded.state not in SETTLED:
        return None
    if before.version_label != now.version_label:
        was, told = before.version_label or recorded.version_label, now.version_label
        loaded = recorded.version_label
    elif before.digest != now.digest:
        was, told, loaded = before.digest, now.digest, recorded.digest
    else:
        return None
    if told is not None and told == loaded:
        return False
    # A source that begins, or ceases, to tell its versions has restated nothing by that.
    return True if was is not None and told is not None else None


def _there(
    before: Mapping[Period, Want],
    told: Mapping[Period, Offer],
    differs: Difference,
    compared: Mapping[Period, bool | None],
    observed: datetime,
) -> list[Want]:
    """Returns the rows of what is offered, of what is new or another now."""
    wants = []
    for period in [*differs.new, *differs.changed, *differs.returned]:
        want = before.get(period) or Want(period.start_date, period.end_date)
        facts = {name: _told(told[period], name) for name in TOLD}
        want = want._replace(**facts, gone=None, last_seen=None)
        if (is_restated := compared.get(period)) is not None:
            want = want._replace(restated=observed if is_restated else None)
        wants.append(want if want.first_seen else want._replace(first_seen=observed))
    return wants


async def _remember(
    tx: Transaction,
    dataset_id: int,
    probe: Probe,
    probed: datetime,
    whole: datetime | None,
    digest: str | None,
    offered: int,
) -> None:
    """Writes down that the source was probed."""
    said = {"probed": probed, "probed_whole": whole, "probe_outcome": probe.outcome, "offers": offered}
    asked = {"dataset": dataset_id, "probe_error": probe.error, "probe_digest": digest}
    await tx.rows(NOTE, said | asked)


async def _looked(
    tx: Transaction, dataset_id: int, held: Held, probe: Probe, observed: datetime, offered: int
) -> Probed:
    """Notes that a source could not be looked at, which says nothing about what it has."""
    asked = {"probed": observed, "outcome": probe.outcome, "error": probe.error}
    await tx.rows(LOOKED, {"dataset": dataset_id, **asked})
    done = Probed(probe.outcome, observed, offered)
    await _note(tx, dataset_id, held, done, Difference([], [], [], []), set(), probe.error)
    return done


async def _note(
    tx: Transaction,
    dataset_id: int,
    held: Held,
    done: Probed,
    differs: Difference,
    restated: set[Period],
    error: str | None = None,
) -> None:
    """Writes the entry of a probe that changed something, or failed."""
    said: dict[str, Any] = msgspec.to_builtins(done, builtin_types=(datetime,))
    for name, periods in (*differs._asdict().items(), ("restated", restated)):
        if periods:
            said[f"{name}_periods"] = sorted(periods)[:SHOWN]
    if error:
        said["error"] = error
    if differs.touched or error or done.outcome == "failed":
        after = msgspec.json.encode(said).decode()
        note = journal.Note("create", Probe, dataset_id, held.organisation_id, dataset_id, None, after)
        await journal.write(tx, [note])
