"""The whole catalogue in one answer: it says what the lists say, to whoever may see it."""

import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest

from observatory import Cadence, Dataset, Grant, ObservatoryApi, Organisation, Workflow
from observatory.records import Contents, unset
from observatory.server.auth import LEASE

from .conftest import As, Caller, key_for

SECRET = "bigquery.partner.hidden"


def asked(caller: Caller, query: str = "", **headers: str) -> Contents:
    answer = caller.send("GET", f"catalogue{query}", **headers)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Contents)


def ids(records: list[Any]) -> list[int]:
    return [record.id for record in records]


def test_the_catalogue_has_all_that_the_lists_have(
    api: ObservatoryApi, dataset: Dataset, caller: Caller
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = Dataset(name="made", workflow=dataset.workflow, dataset_type=dataset.dataset_type)
    made.service, made.address, made.inputs = "s", "a", [dataset.id]
    made.cadence = Cadence("0 0 * * *", start, include=[start])
    api.post_dataset(made)
    contents = asked(caller)

    def flat(record: Any, *related: str) -> Any:
        for field in related:
            other = getattr(record, field)
            setattr(record, field, type(other)(id=other.id))
        if isinstance(record, Dataset):
            record.address = unset
        return record

    assert contents.organisations == api.get_organisations()
    assert contents.workflow_types == api.get_workflow_types()
    assert contents.workflows == [flat(one, "organisation", "workflow_type") for one in api.get_workflows()]
    assert contents.table_types == api.get_table_types()
    assert contents.dataset_types == [flat(one, "table_type") for one in api.get_dataset_types()]
    assert contents.datasets == [flat(one, "workflow", "dataset_type") for one in api.get_datasets()]


def test_its_position_grows_with_each_change_and_it_is_not_sent_again(
    api: ObservatoryApi, dataset: Dataset, caller: Caller
) -> None:
    time.sleep(LEASE)  # until the server looks up anew how often the catalogue was changed
    answer = caller.send("GET", "catalogue")
    before = msgspec.json.decode(answer.content, type=Contents)
    same = caller.send("GET", "catalogue", if_none_match=answer.headers["ETag"])
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", answer.headers["ETag"])

    api.put_dataset(Dataset(id=dataset.id, name="renamed"))
    after = asked(caller, if_none_match=answer.headers["ETag"])
    assert (after.book, after.position) == (before.book, before.position + 1)
    assert after.datasets[0].name == "renamed"


def test_addresses_are_there_when_asked_for_by_those_who_may_and_are_noted(
    api: ObservatoryApi, dataset: Dataset, as_: As, caller: Caller, server_url: str
) -> None:
    api.put_dataset(Dataset(id=dataset.id, address=SECRET))
    reader = key_for(api, Grant("reader"), name="reader")
    both = key_for(api, Grant("reader"), Grant("address:read"), name="both")
    without, allowed = Caller(server_url, reader.secret), Caller(server_url, both.secret)

    for query in "", "?addresses=false", "?addresses=true":
        assert SECRET not in without.send("GET", f"catalogue{query}").text
    assert not asked(without).may_read_addresses
    assert asked(allowed).may_read_addresses
    assert SECRET not in allowed.send("GET", "catalogue").text
    assert [one.after for one in api.get_journal(actor="both")] == []
    for _ in range(2):
        assert asked(allowed, "?addresses=true").datasets[0].address == SECRET
    [noted] = api.get_journal(actor="both")
    organisation = dataset.workflow.organisation.id
    assert (noted.action, noted.record_id, noted.organisation_id) == ("read", dataset.id, organisation)
    without.http.close()
    allowed.http.close()


def test_whoever_reads_in_one_organisation_is_told_of_no_other(
    api: ObservatoryApi, dataset: Dataset, server_url: str
) -> None:
    theirs = api.post_organisation(Organisation(name="theirs"))
    hidden = api.post_workflow(
        Workflow(name="hidden", organisation=theirs, workflow_type=dataset.workflow.workflow_type)
    )
    kept = Dataset(name="hidden", service="s", address="a", workflow=hidden)
    kept.dataset_type = dataset.dataset_type
    hidden_id = api.post_dataset(kept).id
    api.put_dataset(Dataset(id=dataset.id, inputs=[hidden_id]))
    where = dataset.workflow.organisation.id
    key = key_for(api, Grant("reader", where), Grant("address:read", theirs.id), name="one")
    caller = Caller(server_url, key.secret)
    contents = asked(caller, "?addresses=true")
    caller.http.close()

    assert not contents.may_read_addresses
    assert ids(contents.organisations) == [where]
    assert ids(contents.workflows) == [dataset.workflow.id]
    assert ids(contents.datasets) == [dataset.id]
    assert contents.datasets[0].inputs == []
    assert len(contents.table_types) == 3


@pytest.mark.parametrize("grants", [[], [Grant("address:read")]])
def test_whoever_may_read_nowhere_is_forbidden_and_not_told_that_it_is_empty(
    api: ObservatoryApi, dataset: Dataset, server_url: str, grants: list[Grant]
) -> None:
    caller = Caller(server_url, key_for(api, *grants, name="nobody").secret)
    assert caller.problem("GET", "catalogue").status == 403
    caller.http.close()


def test_ten_thousand_datasets_hold_up_nobody(
    database_url: str, dataset: Dataset, caller: Caller, server_url: str
) -> None:
    fill(database_url, 9_999)
    other, slowest = Caller(server_url), 0.0
    other.http.get("me")
    done = threading.Event()
    found: list[Contents] = []

    def ask() -> None:
        found.extend(asked(caller) for _ in range(3))
        done.set()

    asking = threading.Thread(target=ask)
    asking.start()
    while not done.is_set():
        began = time.monotonic()
        assert other.http.get("me").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    asking.join()
    other.http.close()

    assert len(found[0].datasets) == 10_000
    assert ids(found[0].datasets) == sorted(ids(found[0].datasets))
    # The whole takes about 0.2 s; in one piece, all others would wait for so long.
    assert slowest < 0.15


def fill(database_url: str, number: int) -> None:
    """Puts copies of the first dataset into the book behind the server: posting each takes a minute."""
    columns = "created, modified, version, service, address, extras, inputs, workflow_id, dataset_type_id"
    statement = f"""
        INSERT INTO datasets (name, {columns})
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {number})
        SELECT 'copy ' || n, {columns} FROM datasets, numbers WHERE datasets.id = 1
    """
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            connection.execute(statement)
            connection.commit()
    else:
        with psycopg.connect(database_url) as connection:
            connection.execute(statement.encode())
