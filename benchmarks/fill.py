"""Many releases made inside PostgreSQL, as copies of one that the server recorded."""

from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from . import ours
from .server import Server, answer

MINUTE = timedelta(minutes=1)
OWN = ("id", "start_date", "end_date")

INSERT = """
    INSERT INTO dataset_releases (start_date, end_date, {copied})
    SELECT {first} + i * interval '1 minute', {first} + (i + 1) * interval '1 minute', {copied}
    FROM (SELECT * FROM dataset_releases WHERE dataset_id = {dataset} LIMIT 1) AS copied,
        generate_series(1, {last}) AS i
    WHERE NOT EXISTS (SELECT FROM unnest({gaps}::bigint[]) AS gap WHERE gap = i)
"""
# The runs that the server would have kept: minutes that follow one another have the same difference from
# their own number in the order.
COVER = """
    INSERT INTO coverage (dataset_id, start_date, end_date)
    SELECT {dataset}, min(start_date), max(end_date)
    FROM (
        SELECT start_date, end_date,
            start_date - row_number() OVER (ORDER BY start_date) * interval '1 minute' AS run
        FROM dataset_releases WHERE dataset_id = {dataset}
    ) AS numbered
    GROUP BY run
"""


def minutes(server: Server, dataset: int, first: datetime, last: int, gaps: list[int]) -> None:
    """Records releases of a minute each, from `first` on up to the `last`, without the gaps."""
    request = ours.post_release(dataset, first.isoformat(), (first + MINUTE).isoformat())
    if answer(server, request).status != 201:
        raise RuntimeError("the release to be copied is not recorded")
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        # Without the triggers of the foreign keys, which would take longer than all else.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        columns = connection.execute("TABLE dataset_releases LIMIT 0").description or ()
        copied = sql.SQL(", ").join(sql.Identifier(c.name) for c in columns if c.name not in OWN)
        said = {"first": sql.Literal(first), "dataset": sql.Literal(dataset), "last": sql.Literal(last)}
        connection.execute(sql.SQL(INSERT).format(copied=copied, gaps=sql.Literal(gaps), **said))
        connection.execute("DELETE FROM coverage WHERE dataset_id = %s", [dataset])
        connection.execute(sql.SQL(COVER).format(dataset=sql.Literal(dataset)))
        connection.execute("VACUUM ANALYZE dataset_releases, coverage")
