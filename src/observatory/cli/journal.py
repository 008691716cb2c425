"""`observatory journal`: who did what to which record, and whether anybody has changed what is told of it."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ..client import ObservatoryApi
from ..records import ACCESS, KINDS, LEASES, Dataset, Entry, Organisation
from ..wants import DatasetStatus, Probe
from .book import opened
from .database import DatabaseUrl, said_settings
from .keys import WrongUsage, id_of
from .resources import complete
from .show import moment_text, safe, value_text, write
from .tables import Output, write_table
from .times import typed_time

journal = typer.Typer(
    no_args_is_help=True,
    help="Who did what to which record: an entry for each change, and for reads of addresses.",
    short_help="The journal: list, follow, verify, checkpoint.",
)

FIELDS = ["time", "actor", "action", "record", "what"]
KEPT = {"id", "created", "modified", "version"}  # which every change changes
TOLD_OF: list[type[msgspec.Struct]] = [*KINDS, *LEASES, Probe, DatasetStatus, *ACCESS]
NAMES = [kind.__name__ for kind in TOLD_OF]

Which = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="DATASET",
        help="Only what is about this dataset and its releases: its id, or organisation/workflow/dataset.",
    ),
]
Owner = Annotated[
    str | None,
    typer.Option(
        "--organisation", metavar="ORGANISATION", help="Only what is about this one's: its id or its name."
    ),
]
Kind = Annotated[
    str | None, typer.Option(metavar="KIND", help=f"Only what is about one of: {', '.join(NAMES)}.")
]
RecordId = Annotated[
    int | None, typer.Option(min=1, metavar="ID", help="Only what is about the record of this id and --kind.")
]
Actor = Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Only what this account did.")]
After = Annotated[
    str | None,
    typer.Option(metavar="CURSOR", help="Only what follows this entry; `now` for what is to come."),
]


def _time(help: str) -> Any:
    return typer.Option(parser=typed_time, metavar="TIME", help=help)


@journal.command("list")
def list_(
    context: typer.Context,
    dataset: Which = None,
    organisation: Owner = None,
    kind: Kind = None,
    record_id: RecordId = None,
    actor: Actor = None,
    since: Annotated[datetime | None, _time("Only what happened then or later.")] = None,
    until: Annotated[datetime | None, _time("Only what happened before.")] = None,
    after: After = None,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="The most to list; without it, all.")
    ] = None,
    output: Output = "table",
) -> None:
    """Lists entries, the oldest first. With --output json, each is a line, with its cursor and all of it."""
    with opened(context) as api:
        asked = _asked(api, dataset, organisation, kind, record_id, actor)
        found = complete(lambda: api.get_journal(limit, after, **asked, since=since, until=until))
    if output == "json":
        write("".join(map(_line, found)))
    else:
        write_table(FIELDS, [_row(entry) for entry in found])


@journal.command()
def follow(
    context: typer.Context,
    dataset: Which = None,
    organisation: Owner = None,
    kind: Kind = None,
    record_id: RecordId = None,
    actor: Actor = None,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="Behind which entry to begin.  [default: what comes next]")
    ] = "now",
    output: Output = "table",
) -> None:
    """Shows each entry as it is made, a line for each, until it is interrupted."""
    with opened(context) as api:
        asked = _asked(api, dataset, organisation, kind, record_id, actor)
        for entry in api.follow_journal(after, **asked):
            if not write(_line(entry) if output == "json" else _text(entry)):
                return


@journal.command()
def verify(
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Checkpoints to hold it against, one a line.", dir_okay=False),
    ] = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Checks that nobody has changed, removed or inserted an entry; ends with 1 where somebody has.

    The database itself is read, while servers go on. Entries are sealed some seconds after they are made. An
    end that was cut off, or a whole chain that was written anew, only a checkpoint can tell.
    """
    from ..ledger import open_database, seals

    try:
        lines = checkpoint.read_text().splitlines() if checkpoint else []
    except OSError as error:
        raise WrongUsage(f"the checkpoints cannot be read: {error}") from None
    kept = [seals.checkpoint_of(line) for line in lines if line.strip()]
    book = open_database(said_settings(database_url=database_url).database_url)

    async def work() -> seals.Report:
        async with book.running():
            return await seals.verify(book, kept)

    report = asyncio.run(work())
    if report.broken:
        write(f"{report.sound} entries are sound, and then: {report.broken}\n")
        return 1
    write(f"{report.sound} entries are sound, {report.unsealed} are not sealed yet\n")
    return 0


@journal.command()
def checkpoint(database_url: DatabaseUrl = None) -> None:
    """Shows what the journal is now, as a line to keep where the owner of the database cannot change it."""
    from ..ledger import open_database, seals

    book = open_database(said_settings(database_url=database_url).database_url)

    async def work() -> seals.Checkpoint:
        async with book.running():
            return await seals.checkpoint(book)

    write(f"{asyncio.run(work())}\n")


def _asked(
    api: ObservatoryApi,
    dataset: str | None,
    organisation: str | None,
    kind: str | None,
    record_id: int | None,
    actor: str | None,
) -> dict[str, Any]:
    """Returns what the client is asked for; what is named by its key is looked up."""
    if kind is not None and kind not in NAMES:
        raise WrongUsage(f"--kind is none of {', '.join(NAMES)}")
    return {
        "organisation_id": id_of(api, Organisation, organisation) if organisation else None,
        "dataset_id": id_of(api, Dataset, dataset) if dataset else None,
        "kind": kind,
        "record_id": record_id,
        "actor": actor,
    }


def _line(entry: Entry) -> str:
    return msgspec.json.encode(entry).decode() + "\n"


def _text(entry: Entry) -> str:
    time, *texts = _row(entry)
    return "\t".join([moment_text(time), *map(safe, texts)]) + "\n"


def _row(entry: Entry) -> list[Any]:
    return [entry.time, entry.actor, entry.action, _record(entry), _what(entry)]


def _record(entry: Entry) -> str:
    """Returns which record an entry is about: its kind and id, and what it is called."""
    told = entry.after or entry.before or {}
    called = told.get("name") or told.get("type_id")
    if entry.kind == "DatasetRelease" and "start_date" in told:
        called = (
            f"{told['dataset'].get('name', told['dataset']['id'])} {told['start_date']}/{told['end_date']}"
        )
    return f"{entry.kind} {entry.record_id}" + (f" ({called})" if called else "")


def _what(entry: Entry) -> str:
    """Returns what was changed from what to what; of an address, its fingerprints."""
    if entry.action != "change":
        return ""
    before, after = entry.before or {}, entry.after or {}
    fields: list[str] = [field for field in before if field not in KEPT]
    return "; ".join(f"{field}: {_value(before[field])} → {_value(after.get(field))}" for field in fields)


def _value(value: Any) -> str:
    is_record = isinstance(value, dict) and value.keys() == {"id"}
    return value_text(value["id"] if is_record else value)
