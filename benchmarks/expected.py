"""Datasets of which hours are expected, made inside PostgreSQL as the server would have written them."""

from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql

from observatory import Dataset

from . import ours
from .calls import Bench
from .fill import OWN
from .peers.turns import FIRST, Case, hour
from .server import CONNECTIONS, Server, answer, asked, json_request

# Which hours are settled, by their number; one of them is recorded by the server, and the others copied.
SECOND, AROUND, ALL = "i % 2 = 1", "i NOT BETWEEN {hours} / 4 AND {hours} - {hours} / 4 - 1", "true"

RELEASES = """
    INSERT INTO dataset_releases (start_date, end_date, {copied})
    SELECT {first} + i * interval '1 hour', {first} + (i + 1) * interval '1 hour', {copied}
    FROM (SELECT * FROM dataset_releases WHERE dataset_id = {dataset} LIMIT 1) AS copied,
        generate_series(0, {hours} - 1) AS i
    WHERE ({settled}) AND {first} + i * interval '1 hour' <> copied.start_date
"""
# The server has covered the one that it recorded.
FORGET = "DELETE FROM coverage WHERE dataset_id = {dataset}"
COVERAGE = """
    INSERT INTO coverage (dataset_id, start_date, end_date)
    SELECT {dataset}, min(start_date), max(end_date)
    FROM (
        SELECT start_date, end_date,
            start_date - row_number() OVER (ORDER BY start_date) * interval '1 hour' AS run
        FROM dataset_releases WHERE dataset_id = {dataset}
    ) AS numbered
    GROUP BY run
"""
# An hour is due once it is over, and late at once. Behind the others come some that are all missing.
WANTED = """
    INSERT INTO wanted (dataset_id, start_date, end_date, due, late, since, edge)
    SELECT {dataset}, at, at + interval '1 hour', at + interval '1 hour', at + interval '1 hour',
        CASE WHEN missing THEN at + interval '1 hour' END, CASE WHEN missing THEN nullif(begins + ends, 0) END
    FROM (
        SELECT {first} + i * interval '1 hour' AS at, missing,
            CASE WHEN lag(missing) OVER hours THEN 0 ELSE 1 END AS begins,
            CASE WHEN lead(missing) OVER hours THEN 0 ELSE 2 END AS ends
        FROM (
            SELECT i, NOT (i < {hours} AND ({settled})) AS missing
            FROM generate_series(0, {hours} + {behind} - 1) AS i
        ) AS each_hour
        WINDOW hours AS (ORDER BY i)
    ) AS all_hours
"""
# Time alone changes nothing here: nothing more is expected.
HOLDINGS = """
    UPDATE holdings SET widest = 3600000000, next_look = NULL, horizon = NULL,
        newest = (SELECT max(end_date) FROM coverage WHERE dataset_id = {dataset}),
        late_since = late.first, status = CASE WHEN late.first IS NULL THEN 'complete' ELSE 'late' END
    FROM (SELECT min(late) AS first FROM wanted WHERE dataset_id = {dataset} AND since IS NOT NULL) AS late
    WHERE dataset_id = {dataset}
"""

SETTLED = (FORGET, RELEASES, COVERAGE)
EXPECTED = (WANTED, HOLDINGS)

# Many datasets of a few hours each, all settled.
MANY = "SELECT id FROM datasets WHERE name LIKE 'one of many %'"
MANY_RELEASES = """
    INSERT INTO dataset_releases (dataset_id, start_date, end_date, {copied})
    SELECT many.id, {first} + i * interval '1 hour', {first} + (i + 1) * interval '1 hour', {copied}
    FROM (SELECT * FROM dataset_releases WHERE dataset_id = {dataset} LIMIT 1) AS copied,
        ({many}) AS many, generate_series(0, {hours} - 1) AS i
"""
MANY_COVERAGE = """
    INSERT INTO coverage (dataset_id, start_date, end_date)
    SELECT id, {first}, {first} + {hours} * interval '1 hour' FROM ({many}) AS many
"""
# Every fourth is late, and of every fourth nothing is expected.
MANY_HOLDINGS = """
    INSERT INTO holdings (dataset_id, longest, widest, newest, status, late_since)
    SELECT id, 3600000000, CASE WHEN id % 4 > 0 THEN 3600000000 END, {first} + {hours} * interval '1 hour',
        (ARRAY['unknown', 'complete', 'complete', 'late'])[id % 4 + 1], CASE WHEN id % 4 = 3 THEN {first} END
    FROM ({many}) AS many
    ON CONFLICT (dataset_id) DO UPDATE SET longest = excluded.longest, widest = excluded.widest,
        newest = excluded.newest, status = excluded.status, late_since = excluded.late_since
"""


def case(server: Server, of: Case) -> int:
    """Makes a dataset of a case and returns its id."""
    return hours(server, of.hours, AROUND if of.block else SECOND)


def hours(server: Server, count: int, settled: LiteralString, behind: int = 0) -> int:
    """Makes a dataset of so many expected hours, and some that are missing behind them; returns its id."""
    return _made(server, (*SETTLED, *EXPECTED), count, settled, behind)


def plain(server: Server, count: int) -> int:
    """Makes a dataset of so many settled hours of which nobody expected any; returns its id."""
    return _made(server, SETTLED, count, ALL, 0)


def many(bench: Bench, datasets: int, count: int) -> None:
    """Makes many datasets of so many hours; their releases are copies of one that is there."""
    with ours.client(bench.mine) as api:
        like = api.get_dataset(id=1)
    told = {"workflow": {"id": like.workflow.id}, "dataset_type": {"id": like.dataset_type.id}}
    posts = [
        json_request(
            "POST", "/v1/datasets", {"name": f"one of many {i}", "service": "none", "address": f"{i}", **told}
        )
        for i in range(datasets)
    ]
    spread = [posts[i::CONNECTIONS] for i in range(CONNECTIONS)]
    asked(bench.mine, bench.postgres, spread, datasets, (201,))
    said = {"dataset": sql.Literal(1), "hours": sql.Literal(count), "many": sql.SQL(MANY)}
    _fill(bench.mine, (MANY_RELEASES, MANY_COVERAGE, MANY_HOLDINGS), "dataset_id", **said)


def _made(
    server: Server, statements: tuple[LiteralString, ...], count: int, settled: LiteralString, behind: int
) -> int:
    dataset = _new(server)
    # The last of the hours is settled in each of the kinds.
    last = ours.post_release(dataset, hour(count - 1).isoformat(), hour(count).isoformat())
    if answer(server, last).status != 201:
        raise RuntimeError("the release to be copied is not recorded")
    said = {"dataset": sql.Literal(dataset), "behind": sql.Literal(behind), "hours": sql.Literal(count)}
    _fill(server, statements, settled=sql.SQL(settled).format(**said), **said)
    return dataset


def _new(server: Server) -> int:
    """Returns the id of a new dataset beside the first."""
    with ours.client(server) as api:
        like = api.get_dataset(id=1)
        name = f"hours of {uuid4()}"
        new = Dataset(name=name, service="none", address=name)
        new.workflow, new.dataset_type = like.workflow, like.dataset_type
        return api.post_dataset(new).id


def _fill(server: Server, statements: tuple[LiteralString, ...], *own: str, **said: sql.Composable) -> None:
    """Runs statements; a copied release keeps all but what it has of its own."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        # Without the triggers of the foreign keys, which would take longer than all else.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        columns = connection.execute("TABLE dataset_releases LIMIT 0").description or ()
        names = [sql.Identifier(c.name) for c in columns if c.name not in (*OWN, *own)]
        said |= {"copied": sql.SQL(", ").join(names), "first": sql.Literal(FIRST)}
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**said))
        connection.execute("VACUUM ANALYZE dataset_releases, coverage, wanted, holdings, datasets")
