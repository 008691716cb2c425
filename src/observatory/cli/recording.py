"""`observatory releases add` and `revise`: what was loaded is recorded."""

from collections.abc import Callable
from datetime import datetime
from inspect import Parameter
from typing import Annotated, Any

import typer

from ..records import Dataset, DatasetRelease, Settled
from .book import opened
from .keys import id_of
from .options import json_object, option
from .releases import Which
from .resources import declared
from .tables import write_record
from .times import typed_time

PERIOD = "A date or a time, in UTC where it names no zone."
Start = Annotated[datetime, typer.Argument(parser=typed_time, metavar="START", help=PERIOD)]
End = Annotated[
    datetime, typer.Argument(parser=typed_time, metavar="END", help="The first moment behind it.")
]

ADD = """\
Records a release of the period from START to END, not including END; where both are equal, a snapshot.

A release that is in the book already is shown as it is there; with other facts it is refused.
"""
REVISE = """Records that a period was loaded anew: other facts than those in the book are a new revision.

The revision before it is kept as superseded. A release that is in the book already is shown as it is there.
"""


def _moment(name: str, help: str) -> Parameter:
    return option(name, datetime, help, parser=typed_time, metavar="TIME")


CLAIM = option("claim", int, "The claim with which it was loaded.", min=1, metavar="CLAIM")
FACTS = [
    option("row_count", int, "How many rows it has.", min=0, metavar="NUMBER"),
    option("digest", str, "A checksum of its data.", metavar="DIGEST"),
    option("version_label", str, "What its source calls it.", metavar="TEXT"),
    _moment("published", "When its source published it."),
    _moment("ingestion_start", "When loading it began."),
    _moment("ingestion_end", "When loading it ended."),
    option("state", Settled, "What became of it.  [default: present]"),
    option("reason", str, "Why it is in this state.", metavar="TEXT"),
    option("extras", str, "What else is kept of it, as a JSON object.", metavar="JSON"),
    option("made_from", list[int], "A release that it was made from; may be repeated.", min=1, metavar="ID"),
]


def _recording(doc: str, revise: bool) -> Callable[..., None]:
    def command(
        context: typer.Context,
        dataset: str,
        start: datetime,
        end: datetime,
        output: str,
        claim: int | None,
        **facts: Any,
    ) -> None:
        given = {field: value for field, value in facts.items() if value not in (None, [])}
        if "extras" in given:
            given["extras"] = json_object("--extras", given["extras"])
        with opened(context) as api:
            of = Dataset(id=id_of(api, Dataset, dataset))
            release = DatasetRelease(dataset=of, start_date=start, end_date=end, **given)
            write_record(api.post_dataset_release(release, claim=claim, revise=revise), output)

    period = {"dataset": Which, "start": Start, "end": End}
    said = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in period.items()]
    return declared(command, doc, [*said, CLAIM, *FACTS])


add = _recording(ADD, revise=False)
revise = _recording(REVISE, revise=True)
