"""`observatory adopt-from bigquery`: shards and partitions, as BigQuery itself lists them."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ...intervals import Period
from ...naming import address_to_gcp_fields, table_period
from ...records import Dataset, DatasetRelease, is_given
from ..book import opened
from ..keys import WrongUsage, id_of
from .plan import DatasetName, DryRun, carry_out, read_text

NAMES = ("table_name", "table_id", "tableId")
ROWS = ("total_rows", "row_count", "numRows")


class Listed(NamedTuple):
    """A table or partition of a list: its name, as `books20210102` or `books$20210102`, and its rows."""

    name: str
    rows: int | None


def bigquery(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What `bq ls` prints, or INFORMATION_SCHEMA.PARTITIONS as CSV or JSON; - is standard input.",
        ),
    ],
    dataset: DatasetName,
    table: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What all begin with.  [default: the table of its address]"),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Records a release for each shard or partition of a table that is in a list.

    A shard is a snapshot of the date in its name; a partition is of the hour, day, month or year in its id.
    Which of the two they are, the table type of the dataset says. Other tables in the list are passed over.
    """
    listed = list(_listed(read_text(file)))
    with opened(context) as api:
        found = api.get_dataset(id_of(api, Dataset, dataset))
        name = table or _table_of(found)
        releases = list(_releases(found, name, listed))
        if passed := len(listed) - len(releases):
            print(f"note: {passed} others in the list are no tables of {name} with a date", file=sys.stderr)
        carry_out(api, found.id, releases, dry_run)


def _releases(dataset: Dataset, table: str, listed: list[Listed]) -> Iterator[DatasetRelease]:
    for one in listed:
        if period := _period(dataset, table, one.name):
            evidence = {"table": one.name} | ({"rows": one.rows} if one.rows is not None else {})
            yield DatasetRelease(
                dataset=Dataset(id=dataset.id),
                start_date=period.start_date,
                end_date=period.end_date,
                row_count=one.rows,
                reason="adopted: listed by BigQuery",
                extras={"evidence": evidence},
            )


def _period(dataset: Dataset, table: str, name: str) -> Period | None:
    """Returns the period of a table or partition; None where it is not one of the dataset's."""
    kind = dataset.dataset_type.table_type
    if not (name.startswith(table) and is_given(kind.type_id)):
        return None
    mark = "$" if kind.type_id.startswith("partitioned") else ""
    suffix = name.removeprefix(table)
    return (
        table_period(suffix[len(mark) :], kind.type_id, kind.granularity) if suffix.startswith(mark) else None
    )


def _table_of(dataset: Dataset) -> str:
    if not is_given(dataset.address):
        raise WrongUsage("this account may not read the address of the dataset: give --table")
    return address_to_gcp_fields(dataset.address).table_id


def _listed(text: str) -> Iterator[Listed]:
    begins = text.lstrip()
    lines = begins.splitlines()
    if begins.startswith(("[", "{")):
        yield from map(_of_fields, _of_json(begins))
    elif lines and any(name in lines[0].split(",") for name in NAMES):
        yield from map(_of_fields, csv.DictReader(lines))
    else:
        # Of what `bq ls` prints for people, the first word of a line; its head and its rule are no names.
        for line in lines:
            if (words := line.split()) and words[0] not in NAMES and set(words[0]) != {"-"}:
                yield Listed(_own_name(words[0]), None)


def _of_json(text: str) -> list[Any]:
    try:
        # Either one list, or an object on each line.
        said = json.loads(text) if text.startswith("[") else [json.loads(one) for one in text.splitlines()]
    except (ValueError, RecursionError) as error:
        raise WrongUsage(f"the list is not JSON: {error}") from None
    return list(said)


def _of_fields(fields: Mapping[str, Any]) -> Listed:
    if not isinstance(fields, Mapping):
        raise WrongUsage("the list holds something else than objects")
    reference = fields.get("tableReference")
    named = {**fields, **(reference if isinstance(reference, Mapping) else {})}
    name = next((str(named[key]) for key in NAMES if named.get(key)), None)
    if name is None:
        raise WrongUsage(f"an entry of the list names no table: it needs one of {', '.join(NAMES)}")
    if partition := named.get("partition_id"):
        name = f"{name}${partition}"
    rows = next((str(named[key]) for key in ROWS if named.get(key) not in (None, "")), "")
    return Listed(_own_name(name), int(rows) if rows.isdecimal() and rows.isascii() else None)


def _own_name(name: str) -> str:
    """Returns the name of a table without its project and dataset."""
    return name.strip("`").replace(":", ".").rpartition(".")[2]
