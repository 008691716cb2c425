"""How things are called where they are stored: tables, addresses, DAG ids. Pure.

An address says where a dataset is, in the form that its service uses. Each ends with the name of the table,
so that `table_name(dataset.address, …)` is the address of one release. A partition of a table in BigQuery or
in a file is the table's address with `$` and a date behind it.

| service                | form                                                                      |
|------------------------|---------------------------------------------------------------------------|
| bigquery               | project.dataset.table                                                     |
| duckdb, sqlite         | path/to/file.duckdb:table, path/to/file.duckdb:schema.table               |
| postgresql             | schema.table, database.schema.table                                       |
| iceberg                | namespace.table, with any number of namespaces                            |
| elasticsearch          | index                                                                     |
| gcs, s3                | gs://bucket/path, s3://bucket/path                                        |
| file                   | /path/to/file or file:///path/to/file                                     |

Any other service has addresses that we do not know, and we leave them as they are.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple

from .errors import Invalid
from .intervals import Period, Step, begun, moment, step_from

# How many digits of 2021010203 say the hour, the day and so on.
DIGITS = {"hour": 10, "day": 8, "month": 6, "year": 4}

# Airflow takes 250, but its folder for logs is called `dag_id=…`, and a file name ends at 255 bytes.
LONGEST_DAG_ID = 200


class GcpFields(NamedTuple):
    """Where a table is in BigQuery."""

    project_id: str
    dataset_id: str
    table_id: str


class FileTable(NamedTuple):
    """Where a table is in a database that is a file."""

    path: str
    schema: str
    table: str


class BucketPath(NamedTuple):
    """Where an object, or a folder of them, is in a bucket."""

    bucket: str
    path: str


def table_name(
    name: str,
    table_type_id: str,
    granularity: str | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
) -> str:
    """Returns what the table is called that holds the release of a period.

    The name may be a whole address. A regular table has one name for all releases. A shard bears the end of
    the period, which is the date of a snapshot; a partition the start, which is the date of the data in it.
    Shards are by day unless a granularity is given. Times are taken in UTC. Of a table type such as
    `partitioned_month` what stands before the first underscore says how its tables are named, so that a book
    can hold one for each granularity.

    Raises Invalid for an unknown table type, for a partitioned one without granularity, and for a date that
    is needed and missing or has no time zone.
    """
    kind = table_type_id.partition("_")[0]
    if kind == "regular":
        return name
    if kind == "sharded":
        return name + _suffix(granularity or "day", "end_date", end_date)
    if kind == "partitioned":
        if granularity is None:
            raise Invalid(
                f"the table {name} is partitioned by nobody knows what",
                {"granularity": "give the table type one of hour, day, month, year"},
            )
        return f"{name}${_suffix(granularity, 'start_date', start_date)}"
    raise Invalid(
        f"the table type {table_type_id!r} says nothing about the names of tables",
        {"table_type_id": "regular, sharded or partitioned, or one that begins so, as partitioned_month"},
    )


def _suffix(granularity: str, field: str, value: date | None) -> str:
    if granularity not in DIGITS:
        raise Invalid(f"unknown granularity {granularity!r}", {"granularity": f"one of {', '.join(DIGITS)}"})
    if value is None:
        raise Invalid("the name of the table depends on a date that is missing", {field: "give it"})
    try:
        time = moment(value)
    except ValueError as error:
        raise Invalid("the name of the table depends on a wrong date", {field: str(error)}) from None
    # C's %Y writes the year 999 in three digits, which would sort behind 2021.
    return f"{time:%Y%m%d%H}".rjust(10, "0")[: DIGITS[granularity]]


def table_period(suffix: str, table_type_id: str, granularity: Step | None = None) -> Period | None:
    """Returns the period of the table with a date at its end: what table_name was told, as far as it says.

    A shard holds the snapshot of its date, which is an instant; a partition the period that begins there.
    None where no table of the type is called so.
    """
    kind = table_type_id.partition("_")[0]
    expected = granularity or ("day" if kind == "sharded" else None)
    if expected is None or not re.fullmatch(rf"[0-9]{{{DIGITS[expected]}}}", suffix):
        return None
    if (found := period_named(suffix)) is None or kind == "partitioned":
        return found
    return Period(found.start_date, found.start_date) if kind == "sharded" else None


def period_named(text: str, granularity: Step | None = None) -> Period | None:
    """Returns the hour, day, month or year of UTC that a text names, as 2021010203, 2021-01-02 or 2021.

    A time with minutes is where a period of the granularity begins. None for any other text.
    """
    step: Step
    try:
        if found := NAMED.fullmatch(text):
            parts = [int(part) for part in found.groups() if part is not None]
            step = STEPS[len(parts) - 1]
            year, month, day, hour = (*parts, *(0, 1, 1, 0)[len(parts) :])
            return step_from(datetime(year, month, day, hour, tzinfo=UTC), step)
        at = datetime.fromisoformat(text)
        start = moment(at if at.tzinfo else at.replace(tzinfo=UTC))
        if granularity is None or begun(start, granularity) != start:
            return None
        return step_from(start, granularity)
    except ValueError:
        return None


STEPS: tuple[Step, ...] = ("year", "month", "day", "hour")
NAMED = re.compile(r"([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2})(?:[T ]?([0-9]{2}))?)?)?")


def make_dag_id(prefix: str, organisation_name: str) -> str:
    """Returns the id of an organisation's DAG: readable, accepted by Airflow, different for every pair.

    `make_dag_id("onix", "curtin-press")` is `onix_curtin-press`. Where the name holds anything but letters,
    digits and dashes, or is too long, it is simplified, and a digest after a dot keeps it apart from others.
    """
    dag_id = f"{prefix}_{organisation_name}"
    # Without an underscore in the name, the last one says where it begins: no two pairs share such an id.
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", prefix) and re.fullmatch(r"[A-Za-z0-9-]+", organisation_name)
    if plain and len(dag_id) <= LONGEST_DAG_ID:
        return dag_id
    pair = f"{len(prefix)}:{prefix}{organisation_name}".encode(errors="surrogatepass")
    digest = hashlib.sha256(pair).hexdigest()[:16]
    parts = [_plain(prefix)[:80], _plain(organisation_name)[:80]]
    return f"{'_'.join(part for part in parts if part) or 'dag'}.{digest}"


def _plain(text: str) -> str:
    """Returns the letters and digits of a text without accents, with underscores between words."""
    # 10 kB of name need not be looked at, as 80 characters are kept.
    letters = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9-]+", "_", letters).strip("_")


def address_to_gcp_fields(address: str) -> GcpFields:
    """Returns the project, dataset and table of a BigQuery address such as `project.dataset.table`.

    Also understood are projects of a domain (`example.com:project.dataset.table`), backticks around the
    whole, the legacy form `project:dataset.table`, and a partition (`project.dataset.table$20210102`).
    Raises Invalid for anything else.
    """
    whole = address[1:-1] if len(address) > 2 and address[0] == address[-1] == "`" else address
    found = GCP.fullmatch(whole)
    if found is None:
        raise _malformed("bigquery", address, "project.dataset.table")
    fields = GcpFields(*found.groups())
    table, _, _ = fields.table_id.partition("$")
    if not all(unicodedata.category(letter)[0] in "LMN" or letter in "_- " for letter in table):
        raise _malformed("bigquery", address, "a table of letters, digits, underscores, dashes and spaces")
    if len(table.encode(errors="replace")) > 1024:
        raise _malformed("bigquery", address[:50] + "…", "a table name of at most 1024 bytes")
    return fields


# Of a project, BigQuery asks for lower case, of a dataset for at most 1024 letters, digits and underscores.
GCP = re.compile(
    r"((?:[a-z0-9][a-z0-9.-]*\.[a-z0-9-]+:)?[a-z](?:[a-z0-9-]*[a-z0-9])?)"
    r"[.:]"
    r"([A-Za-z0-9_]{1,1024})"
    r"\."
    r"([^.`:$]+(?:\$\w+)?)"
)


def address_to_fields(service: str, address: str) -> tuple[str, ...]:
    """Returns the parts of an address in the order they are written, for the services that we know.

    Another service's address is one part, whatever it is. Raises Invalid for a malformed or empty one.
    """
    if not address:
        raise Invalid("a dataset without address is nowhere", {"address": "say where it is"})
    return READERS.get(service, _opaque)(address)


def _opaque(address: str) -> tuple[str]:
    return (address,)


# A table, or a partition of one by its date.
FILE_TABLE = re.compile(r"\w+(?:\$(?:[0-9]{2}){2,5})?")


def _file_table(service: str) -> Callable[[str], FileTable]:
    def read(address: str) -> FileTable:
        # The last colon: there may be others in a path.
        path, _, name = address.rpartition(":")
        schema, _, table = name.rpartition(".")
        schema = schema or "main"
        if not path or not schema.isidentifier() or not FILE_TABLE.fullmatch(table):
            raise _malformed(
                service, address, f"path/to/file.{service}:table or path/to/file.{service}:schema.table"
            )
        return FileTable(path, schema, table)

    return read


def _bucket_path(service: str, scheme: str) -> Callable[[str], BucketPath]:
    def read(address: str) -> BucketPath:
        found = re.fullmatch(rf"{scheme}://([a-z0-9][a-z0-9._-]*[a-z0-9])/(.+)", address)
        if found is None:
            raise _malformed(service, address, f"{scheme}://bucket/path")
        return BucketPath(*found.groups())

    return read


def _dotted(service: str, fewest: int, most: int, form: str) -> Callable[[str], tuple[str, ...]]:
    def read(address: str) -> tuple[str, ...]:
        parts = tuple(address.split("."))
        if not fewest <= len(parts) <= most or not all(part.strip() for part in parts):
            raise _malformed(service, address, form)
        return parts

    return read


def _index(address: str) -> tuple[str]:
    wrong = address != address.lower() or address[0] in "-_+" or re.search(r'[\\/*?"<>|\s,#:]', address)
    if wrong or address in (".", "..") or len(address.encode(errors="replace")) > 255:
        raise _malformed("elasticsearch", address, "the name of an index, in lower case")
    return (address,)


def _file(address: str) -> tuple[str]:
    path = address.removeprefix("file://")
    if "://" in path or not path:
        raise _malformed("file", address, "/path/to/file or file:///path/to/file")
    return (path,)


READERS: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    "bigquery": address_to_gcp_fields,
    "duckdb": _file_table("duckdb"),
    "sqlite": _file_table("sqlite"),
    "postgresql": _dotted("postgresql", 2, 3, "schema.table or database.schema.table"),
    "iceberg": _dotted("iceberg", 2, 100, "namespace.table"),
    "elasticsearch": _index,
    "gcs": _bucket_path("gcs", "gs"),
    "s3": _bucket_path("s3", "s3"),
    "file": _file,
}


def _malformed(service: str, address: str, form: str) -> Invalid:
    return Invalid(f"{address!r} is no address of {service}", {"address": f"expected {form}"})
