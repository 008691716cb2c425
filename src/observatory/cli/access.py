"""`observatory accounts` and `observatory keys`: who may work with the book, and what they show."""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args

import typer

from ..client import ObservatoryApi
from ..records import Account, Grant, Key, NewKey, Organisation, Role, is_given
from .book import opened
from .keys import WrongUsage, id_of
from .resources import complete
from .show import write
from .tables import Output, write_fields, write_json, write_table

SPAN = re.compile(r"(\d{1,4})(m|h|d)")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

accounts = typer.Typer(
    no_args_is_help=True,
    help="Who works with the book: people and programs, each with its roles.",
    short_help="Accounts: list, get, create, update, delete.",
)
keys = typer.Typer(
    no_args_is_help=True,
    help="What accounts show to be let in. A key ends by itself, and an account has two good ones at most.",
    short_help="Keys: list, create, rotate, revoke; and the key ring of addresses.",
)


def typed_span(text: str) -> timedelta:
    """Returns the span of time that an option says."""
    if not (found := SPAN.fullmatch(text)):
        raise typer.BadParameter(f"{text!r} is no span of time: write 30m, 12h or 7d")
    return int(found[1]) * UNITS[found[2]]


Which = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name or its id.", show_default=False)]
WhichKey = Annotated[int, typer.Argument(metavar="KEY", help="Its id.", min=1, show_default=False)]
Roles = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        metavar="ROLE[@ORGANISATION]",
        help=f"One of {', '.join(get_args(Role))}; in one organisation, by its name or id, or in all, also"
        " those that are yet to come. May be repeated.",
    ),
]
Days = Annotated[
    int | None, typer.Option(min=1, max=366, metavar="NUMBER", help="After how many it ends.  [default: 90]")
]


@accounts.command("list")
def list_accounts(context: typer.Context, output: Output = "table") -> None:
    """Lists the accounts that the caller administers or audits."""
    with opened(context) as api:
        found = complete(api.get_accounts)
        names = organisation_names(api, (grant for one in found for grant in one.grants))
    if output == "json":
        write_json(found)
    else:
        write_table(["id", "name", "roles"], [[o.id, o.name, roles_text(o.grants, names)] for o in found])


@accounts.command("get")
def get_account(context: typer.Context, account: Which, output: Output = "table") -> None:
    """Shows an account."""
    with opened(context) as api:
        _write_account(api, api.get_account(id_of(api, Account, account)), output)


@accounts.command("create")
def create_account(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called; used once.", show_default=False)
    ],
    role: Roles = None,
    output: Output = "table",
) -> None:
    """Creates an account, and shows it. It opens nothing until it has a key: `observatory keys create`."""
    with opened(context) as api:
        account = Account(name=name, grants=_grants(api, role or []))
        _write_account(api, api.post_account(account), output)


@accounts.command("update")
def update_account(
    context: typer.Context,
    account: Which,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What it is called from now on.")] = None,
    role: Roles = None,
    output: Output = "table",
) -> None:
    """Changes the name of an account or its roles, and shows it; what is given of roles is then all it has.

    It counts from the next request on.
    """
    if name is None and not role:
        raise WrongUsage("say what to change of the account: --name or --role")
    with opened(context) as api:
        changed = Account(id=id_of(api, Account, account))
        if name is not None:
            changed.name = name
        if role:
            changed.grants = _grants(api, role)
        _write_account(api, api.put_account(changed), output)


@accounts.command("delete")
def delete_account(context: typer.Context, account: Which) -> None:
    """Removes an account with its keys, which open nothing from then on."""
    with opened(context) as api:
        id = id_of(api, Account, account)
        api.delete_account(id)
    write(f"deleted account {id}\n")


@keys.command("list")
def list_keys(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="Only those of this one: its name or its id.")
    ] = None,
    output: Output = "table",
) -> None:
    """Lists the keys, also those that have ended; `last_used` is exact to the hour."""
    with opened(context) as api:
        account_id = None if account is None else id_of(api, Account, account)
        found = complete(lambda: api.get_keys(account_id=account_id))
    if output == "json":
        write_json(found)
        return
    fields = ["id", "account", "expires", "revoked", "last_used"]
    rows = [[o.id, o.account.name, o.expires, o.revoked, o.last_used] for o in found]
    write_table(fields, [[_whole(value) for value in row] for row in rows])


@keys.command("create")
def create_key(context: typer.Context, account: Which, days: Days = None) -> None:
    """Makes a key for an account. The key alone goes to standard output, and it is shown only now."""
    with opened(context) as api:
        _write_key(api.post_key(_new(Account(id=id_of(api, Account, account)), days)))


@keys.command()
def rotate(
    context: typer.Context,
    key: WhichKey,
    grace: Annotated[
        timedelta,
        typer.Option(
            parser=typed_span,
            metavar="SPAN",
            help="How long the old one is still good: 30m, 12h, 7d; 0m ends it now.",
        ),
    ] = "7d",  # type: ignore[assignment] # the parser makes a span of it
    days: Days = None,
) -> None:
    """Makes a key that takes over from another one, which ends after the grace at the latest.

    The new key alone goes to standard output, and it is shown only now.
    """
    with opened(context) as api:
        old = api.get_key(key)
        now = datetime.now(UTC)
        if old.revoked or old.expires <= now:
            cure = f"make one with `observatory keys create {old.account.id}`"
            raise WrongUsage(f"key {key} of {old.account.name!r} has ended: {cure}")
        _write_key(api.post_key(_new(old.account, days)))
        # Shown before the old one is touched: whatever fails now, nobody is locked out.
        if not grace:
            api.revoke_key(key)
            _say(f"key {key} is revoked")
            return
        if now + grace < old.expires:
            old = api.put_key(Key(id=key, expires=now + grace))
        _say(f"key {key} is good until {_whole(old.expires)}")


@keys.command()
def revoke(context: typer.Context, key: WhichKey) -> None:
    """Ends a key now: from the next request on it opens nothing."""
    with opened(context) as api:
        api.revoke_key(key)
    write(f"revoked key {key}\n")


def organisation_names(api: ObservatoryApi, grants: Iterable[Grant]) -> dict[int, str]:
    """Returns the names of organisations by their ids, if any grant is in one."""
    if all(grant.organisation_id is None for grant in grants):
        return {}
    return {one.id: one.name for one in api.get_organisations()}


def roles_text(grants: Iterable[Grant], names: dict[int, str]) -> str:
    """Returns grants as --role takes them; organisations by name, unless it would be taken for an id."""

    def text(grant: Grant) -> str:
        if (id := grant.organisation_id) is None:
            return grant.role
        name = names.get(id, "")
        return f"{grant.role}@{id if not name or name.isdecimal() else name}"

    return ", ".join(map(text, grants))


def _grants(api: ObservatoryApi, said: list[str]) -> list[Grant]:
    found = []
    for text in said:
        # A name of an organisation may hold an @ itself, a role does not.
        role, at, organisation = text.partition("@")
        if role not in get_args(Role):
            raise WrongUsage(f"{role!r} is no role: it is one of {', '.join(get_args(Role))}")
        if at and not organisation:
            raise WrongUsage(f"{text!r} names no organisation: write {role}@NAME, or {role} for all of them")
        id = id_of(api, Organisation, organisation) if at else None
        found.append(Grant(role, id))  # type: ignore[arg-type] # it is one, as was just seen
    return found


def _new(account: Account, days: int | None) -> Key:
    key = Key(account=account)
    if days is not None:
        key.expires = datetime.now(UTC) + timedelta(days)
    return key


def _write_account(api: ObservatoryApi, account: Account, output: str) -> None:
    if output == "json":
        write_json(account)
        return
    roles = roles_text(account.grants, organisation_names(api, account.grants))
    fields: dict[str, Any] = {f: getattr(account, f) for f in account.__struct_fields__ if f != "grants"}
    write_fields({**fields, "roles": roles})


def _write_key(new: NewKey) -> None:
    until, account = _whole(new.key.expires), new.key.account.name
    _say(f"key {new.key.id} of {account!r}, good until {until}. It is shown only now:")
    write(f"{new.secret}\n")


def _whole(value: Any) -> Any:
    """Returns a time without the parts of a second, in which nobody is interested."""
    return f"{value:%Y-%m-%dT%H:%MZ}" if isinstance(value, datetime) and is_given(value) else value


def _say(text: str) -> None:
    print(text, file=sys.stderr)
