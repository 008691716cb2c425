"""Times as they are typed: a date, or a time of day behind it; in UTC where no zone is given."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ..intervals import moment


def time_of(text: str) -> datetime:
    """Returns the time in UTC that a text says; raises ValueError, with the cure, where it says none."""
    try:
        said = datetime.fromisoformat(text.strip())
    except ValueError:
        cure = "write 2021-01-31, 2021-01-31T12:00 or 2021-01-31T12:00:00+02:00"
        raise ValueError(f"{text!r} is no time: {cure}") from None
    return moment(said if said.tzinfo else said.replace(tzinfo=UTC))


def typed_time(text: str) -> datetime:
    """Returns the time of an option or argument."""
    try:
        return time_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Since = Annotated[
    datetime | None,
    typer.Option(
        "--from", parser=typed_time, metavar="TIME", help="Only what touches the time from here on."
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        "--until", parser=typed_time, metavar="TIME", help="Only what touches the time before this."
    ),
]
