"""Accounts and roles over HTTP, as somebody who wants more than they have."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from observatory import (
    Account,
    Conflict,
    Forbidden,
    Grant,
    Key,
    NewKey,
    NotFound,
    ObservatoryApi,
    Organisation,
)
from observatory.access import operator
from observatory.errors import Outdated
from observatory.ledger import keys, open_database

from .conftest import As, account, key_for

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def press(api: ObservatoryApi) -> Organisation:
    return api.post_organisation(Organisation(name="Curtin Press"))


@pytest.fixture
def other(api: ObservatoryApi) -> Organisation:
    return api.post_organisation(Organisation(name="ANU Press"))


def changes(api: ObservatoryApi, account: Account, key: Key) -> list[Callable[[], object]]:
    """Returns all that may be done to an account and its keys."""
    return [
        lambda: api.post_key(Key(account=account)),
        lambda: api.put_key(Key(id=key.id, expires=NOW + HOUR)),
        lambda: api.revoke_key(key.id),
        lambda: api.put_account(Account(id=account.id, name="x")),
        lambda: api.put_account(Account(id=account.id, grants=[account.grants[0]] if account.grants else [])),
        lambda: api.delete_account(account.id),
    ]


def looks(api: ObservatoryApi, account: Account, key: Key) -> list[Callable[[], object]]:
    """Returns all ways to look at an account and its keys."""
    return [
        lambda: api.get_account(account.id),
        lambda: api.get_key(key.id),
        lambda: api.get_keys(account_id=account.id),
    ]


def test_everybody_may_know_themselves(api: ObservatoryApi, as_: As, press: Organisation) -> None:
    new = key_for(api, Grant("reader", press.id))
    own = as_(new.secret).whoami()

    assert (own.id, own.account) == (new.key.id, new.key.account)
    with pytest.raises(Forbidden, match="has not the right to audit"):
        as_(new.secret).get_key(new.key.id)


def test_an_administrator_of_one_organisation_sees_the_accounts_that_are_all_in_it(
    api: ObservatoryApi, as_: As, press: Organisation, other: Organisation
) -> None:
    mine = key_for(api, Grant("admin", press.id), name="mine")
    inside = account(api, "inside", Grant("reader", press.id))
    outside = [
        account(api, "both", Grant("reader", press.id), Grant("reader", other.id)),
        account(api, "theirs", Grant("reader", other.id)),
        account(api, "all", Grant("reader")),
        account(api, "none"),
    ]
    hidden = [api.post_key(Key(account=one)).key for one in outside]
    ann = as_(mine.secret)

    assert ann.get_accounts() == [mine.key.account, inside]
    assert [key.id for key in ann.get_keys()] == [mine.key.id]
    assert ann.get_accounts(name="theirs") == []
    for one, key in zip(outside, hidden, strict=True):
        for ask in [*changes(ann, one, key), *looks(ann, one, key)]:
            # Word for word what is said of one that does not exist.
            with pytest.raises(NotFound, match=r"^(Account|Key) \d+ does not exist$"):
                ask()
    assert [api.get_account(one.id) for one in outside] == outside


def test_nobody_gives_what_they_lack(
    api: ObservatoryApi, as_: As, press: Organisation, other: Organisation
) -> None:
    mine = key_for(api, Grant("admin", press.id), Grant("address:read", press.id), name="mine")
    inside = account(api, "inside", Grant("reader", press.id))
    ann = as_(mine.secret)

    for grant in (Grant("reader"), Grant("address:write", press.id), Grant("admin")):
        told = Account(name="b", grants=[Grant("admin", press.id), grant])
        for which in (None, inside.id, mine.key.account.id):
            if which:
                told = Account(id=which, grants=told.grants)
            with pytest.raises(Forbidden, match=r"grants\[1\]: you do not have it yourself there"):
                ann.put_account(told)
    with pytest.raises(NotFound, match=rf"grants\[0\]: Organisation {other.id} does not exist"):
        ann.post_account(Account(name="b", grants=[Grant("reader", other.id)]))
    with pytest.raises(Forbidden, match="say in which organisation"):
        ann.post_account(Account(name="b"))

    given = [Grant("writer", press.id), Grant("address:read", press.id)]
    assert ann.put_account(Account(id=inside.id, grants=given)).grants == given


def test_whoever_has_more_is_changed_by_nobody_who_has_less(
    api: ObservatoryApi, as_: As, press: Organisation
) -> None:
    """A key of such an account would be all that it has."""
    mine = key_for(api, Grant("admin", press.id), name="mine")
    more = key_for(api, Grant("reader", press.id), Grant("address:read", press.id), name="more")
    ann = as_(mine.secret)

    assert ann.get_account(more.key.account.id) == more.key.account
    for ask in changes(ann, more.key.account, more.key):
        with pytest.raises(Forbidden, match="'more' has more rights than 'mine' could give it"):
            ask()


def test_whoever_only_audits_changes_nothing(api: ObservatoryApi, as_: As, press: Organisation) -> None:
    new = key_for(api, Grant("auditor", press.id))
    ann = as_(new.secret)

    assert ann.get_accounts() == [new.key.account]
    for ask in (
        lambda: ann.post_account(Account(name="b", grants=[Grant("reader", press.id)])),
        lambda: ann.post_key(Key(account=new.key.account)),
        lambda: ann.revoke_key(new.key.id),
    ):
        with pytest.raises(Forbidden, match="has not the right to administer"):
            ask()


def test_nobody_locks_themselves_out(api: ObservatoryApi, as_: As, press: Organisation) -> None:
    own = api.whoami()
    with pytest.raises(Conflict, match="let another administrator remove it"):
        api.delete_account(own.account.id)
    with pytest.raises(Conflict, match="let another administrator take the role"):
        api.put_account(Account(id=own.account.id, grants=[Grant("admin", press.id), Grant("reader")]))
    with pytest.raises(Conflict, match=f"you ask with key {own.id}, and have no other"):
        api.revoke_key(own.id)

    # But whoever has a second key may end the first one with it, or each of them by itself.
    second = api.post_key(Key(account=own.account))
    as_(second.secret).revoke_key(own.id)
    assert as_(second.secret).get_key(own.id).revoked


def test_what_was_granted_in_an_organisation_that_is_gone_is_granted_to_nobody_else(
    api: ObservatoryApi, as_: As, press: Organisation
) -> None:
    new = key_for(api, Grant("reader", press.id))
    api.delete_organisation(press.id)
    later = api.post_organisation(Organisation(name="Curtin Press"))
    ann = as_(new.secret)

    assert later.id != press.id
    assert ann.get_organisations() == []
    with pytest.raises(NotFound):
        ann.get_organisation(later.id)
    # And the account can still be changed.
    assert api.put_account(Account(id=new.key.account.id, name="Ann")).name == "Ann"


def test_the_name_of_an_account_is_used_once(api: ObservatoryApi) -> None:
    account(api, "ann")
    with pytest.raises(Conflict, match="name"):
        account(api, "ann")


def test_an_account_is_changed_by_whoever_read_it_last(api: ObservatoryApi) -> None:
    ann = account(api, "ann")
    api.put_account(Account(id=ann.id, grants=[Grant("reader")], version=ann.version))

    with pytest.raises(Outdated, match="at version 2, not 1"):
        api.put_account(Account(id=ann.id, grants=[], version=ann.version))
    # What is granted twice is granted once.
    assert api.put_account(Account(id=ann.id, grants=[Grant("reader")] * 2)).grants == [Grant("reader")]


def test_whoever_has_the_database_is_never_locked_out(
    api: ObservatoryApi, as_: As, database_url: str
) -> None:
    async def make(name: str) -> NewKey:
        book = open_database(database_url)
        async with book.running():
            return await book.write(operator(), keys.for_admin, name)

    account(api, "ann", Grant("admin"))
    rescued = asyncio.run(make("rescue"))

    assert as_(rescued.secret).whoami().account.grants == keys.EVERYTHING
    with pytest.raises(Conflict, match="'ann' may not do everything: name another one"):
        asyncio.run(make("ann"))
    asyncio.run(make("rescue"))
    with pytest.raises(Conflict, match="revoke one of them first, or name another account"):
        asyncio.run(make("rescue"))
