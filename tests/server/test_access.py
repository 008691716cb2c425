"""Keys over HTTP: what ends has ended in the next request, and no secret is kept or told again."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from observatory import (
    Account,
    Conflict,
    Forbidden,
    Grant,
    Invalid,
    Key,
    NewKey,
    ObservatoryApi,
    ObservatoryError,
    Organisation,
    Unauthorized,
    Unavailable,
)
from observatory.access import operator
from observatory.credentials import Shown, hash_of, text_of
from observatory.errors import Outdated
from observatory.ledger import Database, Transaction, keys, open_database
from observatory.ledger.statements import Statement
from observatory.ledger.tables import keys as table
from observatory.ledger.tables import metadata
from observatory.settings import Settings

from .conftest import As, account, key_for

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
EXPIRE = Statement(update(table).where(table.c.id == bindparam("key")).values(expires=bindparam("at")))
USE = Statement(update(table).where(table.c.id == bindparam("key")).values(last_used=bindparam("at")))
USED = Statement(select(table.c.last_used).where(table.c.id == bindparam("key")))


def do(url: str, statement: Statement, **values: Any) -> list[Any]:
    """Does something in the database itself."""

    async def work(tx: Transaction) -> list[Any]:
        return [list(row) for row in await tx.rows(statement, values)]

    async def run() -> list[Any]:
        book: Database = open_database(url)
        async with book.running():
            return await book.write(operator(), work)

    return asyncio.run(run())


def test_a_key_opens_the_book_for_90_days_unless_it_says_until_when(api: ObservatoryApi, as_: As) -> None:
    ann = account(api, "ann", Grant("reader"))
    usual = api.post_key(Key(account=ann))
    short = api.post_key(Key(account=ann, expires=NOW + HOUR))

    assert abs(usual.key.expires - NOW - timedelta(90)) < HOUR
    assert short.key.expires == NOW + HOUR
    assert as_(usual.secret).get_organisations() == []
    assert as_(short.secret).whoami().id == short.key.id


def test_no_key_is_for_more_than_a_year_or_for_the_past(api: ObservatoryApi) -> None:
    new = key_for(api, Grant("reader"))

    for wrong in (NOW + timedelta(370), NOW - HOUR):
        for ask in (api.post_key, api.put_key):
            told = Key(account=new.key.account, expires=wrong)
            if ask == api.put_key:
                told.id = new.key.id
            with pytest.raises(Invalid, match="expires: must be in the next 366 days"):
                ask(told)


def test_a_key_ends_at_its_very_moment() -> None:
    shown = Shown(7, hash_of("s"))
    known = keys.Known(hash_of("s"), NOW, None, None, 1, "ann", 1, '[{"role":"reader"}]', 0)

    assert keys.admit(known, shown, "read", "", NOW - timedelta.resolution).caller.account == "ann"
    with pytest.raises(Unauthorized, match=r"key 7 expired on \d{4}-\d\d-\d\d: ask for another one"):
        keys.admit(known, shown, "read", "", NOW)


def test_a_key_that_expired_opens_nothing(api: ObservatoryApi, as_: As, database_url: str) -> None:
    new = key_for(api, Grant("reader"))
    do(database_url, EXPIRE, key=new.key.id, at=NOW - HOUR)

    with pytest.raises(Unauthorized, match="expired"):
        as_(new.secret).get_organisations()


def test_what_is_ended_is_ended_in_the_next_request_to_every_server(
    api: ObservatoryApi, serve: Callable[[Settings], str], database_url: str
) -> None:
    new = key_for(api, Grant("reader"))
    second = api.post_key(Key(account=new.key.account))
    there = serve(Settings(database_url=database_url))
    with ObservatoryApi(there, new.secret) as revoked, ObservatoryApi(there, second.secret) as removed:
        revoked.get_organisations()
        api.revoke_key(new.key.id)
        with pytest.raises(Unauthorized, match=f"key {new.key.id} was revoked on"):
            revoked.get_organisations()

        removed.get_organisations()
        api.put_account(Account(id=new.key.account.id, grants=[Grant("address:read")]))
        with pytest.raises(Forbidden, match="has not the right to read"):
            removed.get_organisations()

        api.delete_account(new.key.account.id)
        with pytest.raises(Unauthorized, match="opens nothing here"):
            removed.get_organisations()


def test_a_revoked_key_is_still_listed_and_revoking_it_again_changes_nothing(api: ObservatoryApi) -> None:
    new = key_for(api, Grant("reader"))
    api.revoke_key(new.key.id)
    once = api.get_key(new.key.id)
    api.revoke_key(new.key.id)

    assert once.revoked is not None
    assert api.get_key(new.key.id) == once
    assert api.get_keys(account_id=new.key.account.id) == [once]


def test_an_account_has_two_good_keys_at_most(api: ObservatoryApi, database_url: str) -> None:
    first = key_for(api, Grant("reader"))
    told = Key(account=first.key.account)
    second = api.post_key(told)

    with pytest.raises(Conflict, match=f"has the keys {first.key.id} and {second.key.id}: revoke one of"):
        api.post_key(told)
    do(database_url, EXPIRE, key=first.key.id, at=NOW - HOUR)
    third = api.post_key(told)
    with pytest.raises(Conflict):
        api.post_key(told)
    api.revoke_key(third.key.id)
    api.post_key(told)


def test_what_has_ended_does_not_begin_anew(api: ObservatoryApi, database_url: str) -> None:
    """Else an account would come to three good keys, and a key that leaked would open the book again."""
    first = key_for(api, Grant("reader"))
    second = api.post_key(Key(account=first.key.account))
    do(database_url, EXPIRE, key=first.key.id, at=NOW - HOUR)
    api.revoke_key(second.key.id)

    for key in (first.key, second.key):
        with pytest.raises(Conflict, match=f"key {key.id} has ended: make another one"):
            api.put_key(Key(id=key.id, expires=NOW + timedelta(50)))


def test_of_a_key_only_its_end_can_be_changed(api: ObservatoryApi) -> None:
    new = key_for(api, Grant("reader"))
    bob = account(api, "bob", Grant("admin"))

    assert api.put_key(Key(id=new.key.id, expires=NOW + HOUR)).expires == NOW + HOUR
    with pytest.raises(Invalid, match="account: cannot be changed"):
        api.put_key(Key(id=new.key.id, account=bob))
    with pytest.raises(Invalid, match="revoked: delete the key"):
        api.put_key(Key(id=new.key.id, revoked=NOW))
    with pytest.raises(Outdated):
        api.put_key(Key(id=new.key.id, expires=NOW + 2 * HOUR, version=1))


def test_of_those_who_make_keys_at_the_same_time_two_succeed(
    api: ObservatoryApi, serve: Callable[[Settings], str], database_url: str
) -> None:
    ann = account(api, "ann", Grant("reader"))
    with ObservatoryApi(serve(Settings(database_url=database_url))) as there, ThreadPoolExecutor(8) as pool:

        def make(number: int) -> NewKey | ObservatoryError:
            try:
                return (api, there)[number % 2].post_key(Key(account=ann))
            except Conflict as error:
                return error

        made = list(pool.map(make, range(8)))

    assert len([one for one in made if isinstance(one, NewKey)]) == 2
    assert len(api.get_keys(account_id=ann.id)) == 2


def test_a_key_that_was_mistyped_is_told_apart_without_asking_the_database(
    as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def known(tx: Transaction, ids: Any) -> dict[int, keys.Known]:
        asked.append(ids)
        return {}

    monkeypatch.setattr("observatory.ledger.keys.known", known)
    right = text_of(7, "s" * 43)

    for wrong in (f"{right[:-1]}!", right[:-2], right.replace("s_", "S_"), "secret", "obs_7"):
        with pytest.raises(Unauthorized, match=r"mistyped|no key of Observatory"):
            as_(wrong).get_organisations()
    assert asked == []
    with pytest.raises(Unauthorized, match="opens nothing here"):
        as_(right).get_organisations()
    assert asked == [[7]]


def test_a_secret_is_compared_in_a_time_that_tells_nothing(
    api: ObservatoryApi, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(kept: str, shown: str) -> bool:
        compared.append((kept, shown))
        return compare_digest(kept, shown)

    new = key_for(api, Grant("reader"))
    monkeypatch.setattr("observatory.ledger.keys.compare_digest", compare)
    with pytest.raises(Unauthorized) as wrong:
        as_(text_of(new.key.id, "s" * 43)).get_organisations()
    with pytest.raises(Unauthorized) as unknown:
        as_(text_of(10**17, "s" * 43)).get_organisations()

    # That a key of this id exists is not to be told either.
    assert str(wrong.value) == str(unknown.value)
    assert [shown for _, shown in compared] == [hash_of("s" * 43)]


def test_a_number_that_no_database_holds_is_no_key(as_: As) -> None:
    with pytest.raises(Unauthorized):
        as_(text_of(10**18, "s" * 43)).get_organisations()


def test_when_a_key_was_used_is_noted_once_an_hour(api: ObservatoryApi, as_: As, database_url: str) -> None:
    new = key_for(api, Grant("reader"))
    ann = as_(new.secret)

    def used_after_asking() -> datetime:
        for _ in range(100):
            ann.get_organisations()
            if (used := api.get_key(new.key.id).last_used) is not None and used > NOW:
                break
        return api.get_key(new.key.id).last_used or NOW

    first = used_after_asking()
    assert used_after_asking() == first > NOW
    do(database_url, USE, key=new.key.id, at=NOW - HOUR / 2)
    for _ in range(5):
        ann.get_organisations()
    assert do(database_url, USED, key=new.key.id) == [[NOW - HOUR / 2]]
    do(database_url, USE, key=new.key.id, at=NOW - HOUR)
    assert used_after_asking() > first
    # It is no change of the key.
    assert api.get_key(new.key.id).version == 1


def test_that_a_use_cannot_be_noted_costs_no_request(
    api: ObservatoryApi, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    async def touch(tx: Transaction, id: int) -> None:
        tried.append(id)
        raise Unavailable("the disk is full")

    monkeypatch.setattr("observatory.ledger.keys.touch", touch)
    new = key_for(api, Grant("reader"))
    ann = as_(new.secret)

    for _ in range(3):
        assert ann.get_organisations() == []
    assert new.key.id in tried


def test_secrets_are_neither_in_the_database_nor_in_logs(
    api: ObservatoryApi, as_: As, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    new = key_for(api, Grant("reader"))
    ann, secret = as_(new.secret), new.secret.split("_")[2]
    ann.get_organisations()
    with pytest.raises(Forbidden):
        ann.post_organisation(Organisation(name="a"))
    with pytest.raises(Unauthorized) as refused:
        as_(new.secret[:-1]).get_organisations()
    api.revoke_key(new.key.id)

    kept = "".join(repr(do(database_url, Statement(select(one)))) for one in metadata.sorted_tables)
    assert hash_of(secret) in kept
    for text in (kept, caplog.text, str(refused.value), repr(new), repr(api.get_keys())):
        assert secret not in text


def test_a_key_that_was_answered_is_never_answered_again(api: ObservatoryApi, server_url: str) -> None:
    """Whoever repeats the request, because the answer was lost, is told which key to revoke."""
    ann = account(api, "ann", Grant("reader"))
    call = api._transport.call
    made = call("POST", "keys", NewKey, body=Key(account=Account(id=ann.id)), token="once")

    with pytest.raises(Conflict, match=f"this made key {made.key.id}, whose secret is shown only once"):
        call("POST", "keys", NewKey, body=Key(account=Account(id=ann.id)), token="once")
    assert len(api.get_keys(account_id=ann.id)) == 1
