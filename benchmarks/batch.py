"""Many releases in one call: through our client, the same once more, and by bare COPY into the same table."""

from datetime import timedelta
from itertools import pairwise

import psycopg
from psycopg import sql

from observatory import Dataset, DatasetRelease

from . import fill, ours
from .calls import Bench
from .rounds import Sample, Samples, alternate, timed

RECORDED_INTO, COPIED_INTO = 12, 14
SIZE = 10_000
COPY = "COPY dataset_releases (start_date, end_date, dataset_id, {}) FROM STDIN"


def measure(bench: Bench) -> Samples:
    """Measures all three; raises RuntimeError where the number of rows is not what was recorded."""
    with (
        ours.client(bench.mine) as api,
        psycopg.connect(bench.mine.database_url, autocommit=True) as connection,
    ):
        columns, constant = _template(connection, api.post_dataset_release(hours(RECORDED_INTO, -9)[0]))
        copy = sql.SQL(COPY).format(columns)

        def new(turn: int) -> Sample:
            releases = hours(RECORDED_INTO, turn)
            return timed(SIZE, lambda: api.post_dataset_releases(releases))

        def again(turn: int) -> Sample:
            # Of the turn before, since it may have its turn before `new` in this one.
            releases = hours(RECORDED_INTO, turn - 1)
            before = _recorded(connection)
            sample = timed(SIZE, lambda: api.post_dataset_releases(releases))
            if _recorded(connection) != before:
                raise RuntimeError("a batch that was there already has written something")
            return sample

        def copied(turn: int) -> Sample:
            rows = "".join(f"{r.start_date}\t{r.end_date}\t{constant}\n" for r in hours(COPIED_INTO, turn))

            def work() -> None:
                with connection.cursor() as cursor, cursor.copy(copy) as into:
                    into.write(rows)

            return timed(SIZE, work)

        new(-1)
        samples = alternate({"new": new, "again": again, "copied": copied}, bench.rounds)
        if _recorded(connection) != (bench.rounds + 1) * SIZE + 1:
            raise RuntimeError("not every release was recorded exactly once")
        return samples


def hours(dataset: int, turn: int) -> list[DatasetRelease]:
    """Returns releases of an hour each, other ones for each turn."""
    first = ours.FIRST + timedelta(hours=turn * SIZE)
    starts = [first + timedelta(hours=i) for i in range(SIZE + 1)]
    of = Dataset(id=dataset)
    return [
        DatasetRelease(dataset=of, start_date=start, end_date=end, row_count=1000)
        for start, end in pairwise(starts)
    ]


def _template(
    connection: psycopg.Connection[tuple[object, ...]], release: DatasetRelease
) -> tuple[sql.Composed, str]:
    """Returns the columns that COPY fills beside the period, and their values in its format."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM dataset_releases WHERE id = %s", [release.id])
        names = [column.name for column in cursor.description or ()]
        kept = [name for name in names if name not in (*fill.OWN, "dataset_id")]
        chosen = sql.SQL(", ").join(map(sql.Identifier, kept))
        row = sql.SQL("COPY (SELECT {}, {} FROM dataset_releases WHERE id = {}) TO STDOUT").format(
            sql.Literal(COPIED_INTO), chosen, sql.Literal(release.id)
        )
        with cursor.copy(row) as lines:
            text = b"".join(bytes(line) for line in lines).decode()
    return chosen, text.rstrip("\n")


def _recorded(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    counted = connection.execute(
        "SELECT count(*) FROM dataset_releases WHERE dataset_id = %s", [RECORDED_INTO]
    ).fetchone()
    return counted and counted[0]
