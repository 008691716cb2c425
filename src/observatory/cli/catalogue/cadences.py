"""A cadence as a catalogue file says it: a mapping, in which a date will do for its midnight in UTC."""

from typing import Any

import msgspec

from ...records import Cadence
from ..show import moment_text
from ..times import time_of

FIELDS = Cadence.__struct_fields__
FORM = 'must be a mapping, as in {cron: "0 6 * * *", expected_from: 2021-01-31}'


def cadence_of(said: Any) -> Cadence | None:
    """Returns the cadence that a file says; raises ValueError, with the cure, where it says none."""
    if said is None:
        return None
    told = dict(said) if isinstance(said, dict) else {}
    if not told:
        raise ValueError(FORM)
    if unknown := [field for field in told if field not in FIELDS]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(FIELDS)}")
    for field in ("expected_from", "expected_until"):
        if isinstance(told.get(field), str):
            told[field] = time_of(told[field])
    if isinstance(told.get("include"), list):
        told["include"] = [time_of(one) if isinstance(one, str) else one for one in told["include"]]
    try:
        return msgspec.convert(told, Cadence)
    except msgspec.ValidationError as error:
        raise ValueError(f"{error}: it {FORM}") from None


def said_of(cadence: Cadence) -> dict[str, Any]:
    """Returns what a file says of a cadence: what goes without saying is left out."""
    said: dict[str, Any] = msgspec.to_builtins(cadence)
    times = {"expected_from": cadence.expected_from, "expected_until": cadence.expected_until}
    said |= {field: moment_text(time) for field, time in times.items() if time}
    if cadence.include:
        said["include"] = [moment_text(time) for time in cadence.include]
    return said
