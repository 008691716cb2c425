"""Adoption: what is in storage already is taken into the book, with what shows that it is there.

Nothing is known of the data itself, so nothing is compared: a period that is settled is there already. What
the book says otherwise is left as it is, above all what was withdrawn, which may be the bad data still.
"""

from collections.abc import Sequence

from ..errors import Invalid, ObservatoryError
from ..intervals import EVER, Period, steps
from ..records import CANDIDATES, Adopted, Adoption, Dataset, DatasetRelease, Extras, Kept
from ..rules import normal, period
from .database import Transaction
from .holdings import hold
from .releases import OF_PERIODS, read, record_each

NAMED = 20  # so many conflicts are named


def periods_of(adoption: Adoption) -> list[Period]:
    """Returns the periods that are to be adopted, in UTC; raises Invalid where nobody can tell which."""
    if (adoption.periods is None) == (adoption.span is None):
        raise Invalid("what is adopted must be told in one way", {"periods": "give them, or a span"})
    if adoption.span is None:
        if adoption.step is not None:
            raise Invalid("the periods are told already", {"step": "is for a span: leave it out"})
        found = [period(one, f"periods[{at}].") for at, one in enumerate(adoption.periods or ())]
        # What was decoded strictly is of another class, whose periods are equal to none of ours.
        return [Period(one.start_date, one.end_date) for one in found]
    span = period(adoption.span, "span.")
    if adoption.step is None:
        return [Period(span.start_date, span.end_date)]
    found = []
    try:
        for one in steps(span, adoption.step):
            found.append(one)
            if len(found) > CANDIDATES:
                cure = f"has more than {CANDIDATES} of these: adopt it in several calls"
                raise Invalid("so much cannot be adopted at once", {"span": cure})
    except ValueError as error:
        raise Invalid("a span is made of whole steps", {"span": str(error)}) from None
    if not found:
        raise Invalid(
            "nothing would be adopted", {"span": "has no length: leave out the step for a snapshot"}
        )
    return found


def check_evidence(evidence: Extras) -> None:
    """Raises Invalid where the evidence cannot be kept."""
    if not evidence:
        raise Invalid("nothing shows that it is there", {"evidence": "say what was looked at, and by whom"})
    try:
        normal(_adopted(1, EVER, "", evidence))
    except Invalid as error:
        raise Invalid("the evidence cannot be kept", {"evidence": error.fields["extras"]}) from None


async def adopt(
    tx: Transaction, dataset_id: int, periods: Sequence[Period], reason: str, evidence: Extras
) -> Adopted:
    """Records the periods that are not settled; raises NotFound where there is no such dataset."""
    await hold(tx, dataset_id)
    asked = {"dataset": dataset_id, "given": list(dict.fromkeys(periods))}
    states = {known.period: known for known in await read(tx, OF_PERIODS, asked)} if periods else {}
    new = [one for one in periods if one not in states]
    told = [_adopted(dataset_id, one, reason, evidence) for one in new]
    done = Adopted(conflicts=[])
    for one, outcome in zip(new, await record_each(tx, told), strict=True):
        if isinstance(outcome, ObservatoryError):
            _keep(done, one, str(outcome))
        elif outcome.is_new:
            done.recorded += 1
        else:
            done.there_already += 1
    for one in periods:
        if one in states:
            _there(done, states[one])
    return done


def together(parts: Sequence[Adopted]) -> Adopted:
    """Returns what became of several parts of one adoption."""
    whole = Adopted(conflicts=[kept for part in parts for kept in part.conflicts][:NAMED])
    for part in parts:
        whole.recorded += part.recorded
        whole.there_already += part.there_already
        whole.in_conflict += part.in_conflict
    return whole


def _there(done: Adopted, release: DatasetRelease) -> None:
    if release.state == "present":
        done.there_already += 1
        return
    because = f": {release.reason}" if release.reason else ""
    said = f"release {release.id} of this period is {release.state} in the book{because}"
    _keep(done, release.period, f"{said}; record it by itself if it is to be present")


def _keep(done: Adopted, one: Period, why: str) -> None:
    done.in_conflict += 1
    if len(done.conflicts) < NAMED:
        done.conflicts.append(Kept(one.start_date, one.end_date, why))


def _adopted(dataset_id: int, one: Period, reason: str, evidence: Extras) -> DatasetRelease:
    return DatasetRelease(
        dataset=Dataset(id=dataset_id),
        start_date=one.start_date,
        end_date=one.end_date,
        reason=f"adopted: {reason}",
        extras={"evidence": evidence},
    )
