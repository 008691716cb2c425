"""Whether a book is sound: what it keeps of its releases is what follows from them, and all can be read.

All is of one moment, so servers go on writing meanwhile; and read in parts, so a large book needs no more
memory than a small one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Text,
    and_,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)

from ..intervals import Period
from ..records import SETTLED, State
from .coverage import microseconds
from .edges import differing
from .recount import runs
from .snapshot import current_version, snapshot, streamed
from .tables import JSONS, MOMENT, coverage, dataset_releases, derivations, holdings, metadata, wanted
from .wanted import since

# A time as SQLite keeps it: of fixed width, in UTC.
FORM = "####-##-##T##:##:##.######+00:00".replace("#", "[0-9]")
EXAMPLES = 10  # of faults of one sort that are told
WRITTEN_AS_JSON = ("tags", "grants", "before", "after")  # texts that are JSON all the same

Moment = Callable[[Any], datetime]
T = TypeVar("T", bound=tuple[Any, ...])


class Release(NamedTuple):
    """What of a release is looked at."""

    dataset_id: int
    start_date: datetime
    end_date: datetime
    revision: int
    state: str
    id: int
    version: int

    @property
    def where(self) -> str:
        """Which release it is, for people."""
        return f"release {self.id} of dataset {self.dataset_id}"


class Report:
    """What was looked at, and what is wrong; of faults of one sort a few are told, and all are counted."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.rows: dict[str, int] = {}
        self.found: Counter[str] = Counter()
        self.told: defaultdict[str, list[str]] = defaultdict(list)
        self.differ: set[int] = set()  # datasets of which is kept what does not follow from their releases

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found

    def add(self, sort: str, fault: str) -> None:
        """Notes a fault."""
        self.found[sort] += 1
        if len(self.told[sort]) < EXAMPLES:
            self.told[sort].append(fault)


def check(url: str) -> Report:
    """Looks at the whole book; raises Unavailable where there is none, or one of another version."""
    with snapshot(url) as connection:
        return check_on(connection, current_version(connection, url))


def check_on(connection: Connection, version: str) -> Report:
    """Looks at the whole book as it is in a transaction, in which nobody else writes."""
    report = Report(version)
    on_sqlite = connection.dialect.name == "sqlite"
    if on_sqlite:
        _check_file(connection, report)
    for table in metadata.sorted_tables:
        _check_values(connection, table, on_sqlite, report)
    # Where a time cannot be read, nothing can be counted.
    if "values" not in report.found:
        _check_releases(connection, datetime.fromisoformat if on_sqlite else _as_it_is, report)
        _check_derivations(connection, report)
        _check_wanted(connection, on_sqlite, report)
    return report


def _check_wanted(connection: Connection, on_sqlite: bool, report: Report) -> None:
    """Looks whether what is wanted is missing since when it follows, in the runs that follow from that."""
    for dataset_id, start, end in _wrongly_missing(connection, on_sqlite):
        report.differ.add(dataset_id)
        fault = f"{start} to {end} of dataset {dataset_id} is not told as it follows from the rest"
        report.add("missing", fault)


def _wrongly_missing(connection: Connection, on_sqlite: bool) -> Iterator[tuple[Any, ...]]:
    w = wanted.c
    order = (w.dataset_id, w.start_date, w.end_date)
    differs = select(*order).where(w.since.is_distinct_from(since(on_sqlite)))
    yield from streamed(connection, differs.order_by(*order))
    for [dataset_id] in connection.execute(select(w.dataset_id).distinct()).all():
        yield from streamed(connection, differing().params(dataset=dataset_id))


def _check_file(connection: Connection, report: Report) -> None:
    """Looks at the pages and the keys of a SQLite file; PostgreSQL has its own tools for its files."""
    for (told,) in connection.exec_driver_sql(f"PRAGMA integrity_check({EXAMPLES})"):
        if told != "ok":
            report.add("pages", told)
    for table, row, target, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        report.add("keys", f"row {row} of {table} refers to one of {target} that is not there")


def _check_values(connection: Connection, table: Table, on_sqlite: bool, report: Report) -> None:
    """Counts the rows of a table and looks at the values that SQLite, or we, keep as text."""
    report.rows[table.name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
    times = [column for column in table.c if column.type is MOMENT and on_sqlite]
    jsons = [c for c in table.c if (c.type is JSONS and on_sqlite) or c.name in WRITTEN_AS_JSON]
    if not times and not jsons:
        return
    # SQLite looks at them five times as fast as we; PostgreSQL may be too old to tell what is JSON.
    doubts: list[ColumnElement[bool]] = [and_(c.is_not(None), not_(_has_form(c))) for c in times]
    doubts += [and_(c.is_not(None), func.json_valid(c) == 0 if on_sqlite else true()) for c in jsons]
    keys, columns = list(table.primary_key), [*times, *jsons]
    readers = [_is_moment] * len(times) + [_is_json] * len(jsons)
    for row in streamed(connection, select(*keys, *columns).where(or_(*doubts))):
        for column, is_right, value in zip(columns, readers, row[len(keys) :], strict=True):
            if value is not None and not is_right(value):
                where = f"{table.name} {', '.join(map(str, row[: len(keys)]))}"
                report.add("values", f"{where}: {column.name} cannot be read: {value!r:.80}")


def _has_form(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Returns the condition that a text of SQLite is a time as we write it, on a day that there is."""
    written = type_coerce(column, Text)
    day = func.strftime("%Y-%m-%dT%H:%M:%S", written) == func.substr(written, 1, 19)
    return and_(written.bool_op("GLOB")(FORM), func.coalesce(day, literal(False)), written >= "0001")


def _is_moment(value: Any) -> bool:
    """Tells whether a text is a time in UTC of fixed width, which sorts as it should."""
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return bool(read.isoformat(timespec="microseconds") == value and value.endswith("+00:00"))


def _is_json(value: Any) -> bool:
    try:
        msgspec.json.decode(value)
    except (TypeError, msgspec.DecodeError):
        return False
    return True


def _as_it_is(value: Any) -> datetime:
    read: datetime = value
    return read


def _check_releases(connection: Connection, moment: Moment, report: Report) -> None:
    """Looks at each release, and whether what is kept beside them is what follows from them."""
    longest: dict[int, int] = defaultdict(int)
    counted = _counted(_looked_at(_releases(connection, moment), longest, report))
    for (dataset_id, start, end), is_kept in _differences(_kept(connection, moment), counted):
        report.differ.add(dataset_id)
        what = "has too much" if is_kept else "lacks"
        report.add("coverage", f"dataset {dataset_id} {what}: {start.isoformat()} to {end.isoformat()}")
    asked = select(holdings.c.dataset_id, holdings.c.longest)
    kept: dict[int, int] = dict(streamed(connection, asked))
    for dataset_id, length in sorted(longest.items()):
        # It may be longer: it is not made shorter when the longest release goes.
        if kept.get(dataset_id, 0) < length:
            report.differ.add(dataset_id)
            said = f"{kept.get(dataset_id, 0)} µs, but one has {length} µs"
            report.add("longest", f"dataset {dataset_id}: the longest period has {said}")


def _check_derivations(connection: Connection, report: Report) -> None:
    """Looks whether what is looked up of releases is what they say they were made from, and is there."""
    key, used = derivations.c.release_id, derivations.c.input_id
    releases = dataset_releases.c
    joined = select(key, used, releases.dataset_id).join_from(
        derivations, dataset_releases, releases.id == key
    )
    kept = streamed(connection, joined.order_by(key, used))
    made = select(releases.id, releases.dataset_id, cast(releases.made_from, Text))
    told = streamed(connection, made.where(releases.made_from.is_not(None)).order_by(releases.id))
    said = (
        (id, input_id, of) for id, of, text in told for input_id in sorted(msgspec.json.decode(text) or ())
    )
    for (id, input_id, dataset_id), is_kept in _differences(kept, said):
        report.differ.add(dataset_id)
        what = "is kept as made" if is_kept else "is not kept as made"
        report.add("derivations", f"release {id} {what} from {input_id}, and says otherwise")
    gone = select(key, used).outerjoin(dataset_releases, releases.id == used).where(releases.id.is_(None))
    for id, input_id in streamed(connection, gone):
        report.add("derivations", f"release {id} was made from {input_id}, which is not there")


def _releases(connection: Connection, moment: Moment) -> Iterator[Release]:
    columns = [dataset_releases.c[name] for name in Release._fields]
    for dataset_id, start, end, *rest in streamed(connection, select(*columns).order_by(*columns[:4])):
        yield Release(dataset_id, moment(start), moment(end), *rest)


def _looked_at(releases: Iterator[Release], longest: dict[int, int], report: Report) -> Iterator[Release]:
    """Yields the settled releases, having looked at all; notes the longest period of each dataset."""
    for _, revisions in groupby(releases, itemgetter(0, 1, 2)):
        before: Release | None = None
        for release in revisions:
            _check_release(release, before, report)
            before = release
            length = microseconds(Period(release.start_date, release.end_date))
            longest[release.dataset_id] = max(longest[release.dataset_id], length)
            if release.state in SETTLED and length >= 0:
                yield release


def _check_release(release: Release, before: Release | None, report: Report) -> None:
    """Looks at one release and the revision before it, if there is one."""
    if release.start_date > release.end_date:
        report.add("releases", f"{release.where} ends before it starts")
    if release.state not in get_args(State):
        report.add("releases", f"{release.where} is in no state: {release.state!r}")
    if release.version < 1:
        report.add("releases", f"{release.where} is at version {release.version}")
    # Revisions are deleted from the last one back, so none is missing in between.
    due = before.revision + 1 if before else 1
    if release.revision != due:
        report.add("releases", f"{release.where} is revision {release.revision}, and {due} is missing")
    if before and before.state != "superseded":
        report.add("releases", f"{before.where} is {before.state}, though release {release.id} replaced it")


def _counted(releases: Iterator[Release]) -> Iterator[tuple[int, datetime, datetime]]:
    for dataset_id, of_dataset in groupby(releases, itemgetter(0)):
        periods = (Period(release.start_date, release.end_date) for release in of_dataset)
        for run in runs(periods):
            yield dataset_id, run.start_date, run.end_date


def _kept(connection: Connection, moment: Moment) -> Iterator[tuple[int, datetime, datetime]]:
    asked = select(coverage.c.dataset_id, coverage.c.start_date, coverage.c.end_date)
    for dataset_id, start, end in streamed(connection, asked.order_by(*asked.selected_columns)):
        yield dataset_id, moment(start), moment(end)


def _differences(kept: Iterator[T], counted: Iterator[T]) -> Iterator[tuple[T, bool]]:
    """Yields the rows that are on one side only, and whether that is what is kept; both are in order."""
    sides = merge(((one, True) for one in kept), ((one, False) for one in counted))
    for one, found in groupby(sides, itemgetter(0)):
        on = [is_kept for _, is_kept in found]
        if len(on) == 1:
            yield one, on[0]
