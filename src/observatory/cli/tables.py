"""Records as tables for people, as lines with tabs for pipes, and as the API's JSON for programs."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import typer

from ..records import Record, is_given
from .keys import label
from .show import is_for_people, painted, safe, value_text, write

Output = Annotated[
    Literal["table", "json"],
    typer.Option("--output", "-o", help="A table for people, or what the API answers, for programs."),
]
WHOLE = ("id", "start_date", "end_date", "period", "state")  # never broken, however narrow the terminal is


class Coloured(NamedTuple):
    """A text that has a colour where it is shown to people."""

    text: str
    colour: str


def write_records(records: Sequence[Record], fields: list[str], output: str) -> None:
    """Writes a list of records, a row for each, with these fields."""
    if output == "json":
        write_json(records)
    else:
        write_table(fields, [[getattr(record, field) for field in fields] for record in records])


def write_record(record: Record, output: str) -> None:
    """Writes one record, a line for each of its fields."""
    if output == "json":
        write_json(record)
        return
    write_fields({field: getattr(record, field) for field in record.__struct_fields__})


def write_fields(fields: dict[str, Any]) -> None:
    """Writes the fields that are given, a line for each."""
    shown = {field: _shown(value) for field, value in fields.items() if is_given(value)}
    if not is_for_people():
        write("".join(f"{field}\t{text}\n" for field, text in shown.items()))
        return
    width = max(map(len, shown))
    write("".join(f"{painted(field.ljust(width), 'cyan')}  {text}\n" for field, text in shown.items()))


def write_table(fields: list[str], rows: list[list[Any]]) -> None:
    """Writes rows: on a terminal as a table, without the columns in which nothing stands; else with tabs."""
    texts = [[_shown(value) for value in row] for row in rows]
    if not is_for_people():
        write("".join("\t".join(row) + "\n" for row in [fields, *texts]))
        return
    if not rows:
        write("none\n")
        return
    kept = [at for at in range(len(fields)) if any(row[at] is not None for row in rows)]
    styles = [[row[at].colour if isinstance(row[at], Coloured) else "" for at in kept] for row in rows]
    write(_drawn([fields[at] for at in kept], [[row[at] for at in kept] for row in texts], styles))


def write_json(answer: Any) -> None:
    """Writes records as the API answers them."""
    write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")


def _shown(value: Any) -> str:
    if value is None and not is_for_people():
        return ""
    if isinstance(value, Coloured):
        return safe(value.text)
    return safe(label(value)) if isinstance(value, Record) else value_text(value)


def _drawn(fields: list[str], rows: list[list[str]], styles: list[list[str]]) -> str:
    # Slow to import, and needed only here.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="cyan")
    for field in fields:
        # With spaces, a heading that is longer than what is below it takes two lines.
        table.add_column(field.replace("_", " "), overflow="fold", no_wrap=field in WHOLE)
    for row, style in zip(rows, styles, strict=True):
        table.add_row(
            *map(Text, row, style)
        )  # as Text, since a name may hold what rich would take for markup
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get()
