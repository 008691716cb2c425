"""The routes of accounts and their keys: who may work with the book."""

from typing import Any

from litestar import Response, Router, delete, get, patch, post
from litestar.types import ControllerRouterHandler

from ..access import Right
from ..errors import Conflict
from ..ledger import Database, Transaction, accounts, keys
from ..ledger.replies import Reply, once
from ..records import Account, Key, NewKey
from .auth import Gate
from .bodies import Asked
from .resources import After, Limit, PathId, RelatedId, Text, page, with_id
from .tags import at_version, by_content, json, tag, told_version

LOOK = {"right": "audit"}
CHANGE: Right = "administer"


def routes(database: Database, gate: Gate) -> Router:
    """Returns the routes of accounts and of keys. Those that take a right away wait until it is gone."""

    @get("/me", operation_id="getMe", summary="Get Me", opt={"right": "read"}, tags=["Key"])
    async def me(request: Asked) -> Response[Key]:
        """Answers the key that the request shows, with its account."""
        return by_content(request, await database.read(request.caller, keys.own))

    return Router("/", route_handlers=[me, *_accounts(database, gate), *_keys(database, gate)])


def _accounts(database: Database, gate: Gate) -> list[ControllerRouterHandler]:
    async def again(tx: Transaction, id: int) -> Account:
        return await accounts.fetch(tx, id)

    created = Reply(lambda account: account.id, again)
    named: dict[str, Any] = {"tags": ["Account"]}

    @get("/accounts", operation_id="listAccounts", summary="List Accounts", opt=LOOK, **named)
    async def list_(
        request: Asked, limit: Limit = 100, after: After = 0, name: Text = None
    ) -> Response[list[Account]]:
        found = await database.read(request.caller, accounts.listed, limit, after, name)
        return page(request, found, limit, str(found[-1].id) if found else "")

    @get("/accounts/{id:int}", operation_id="getAccount", summary="Get Account", opt=LOOK, **named)
    async def fetch(id: PathId, request: Asked) -> Response[Account]:
        account = await database.read(request.caller, accounts.fetch, id)
        return by_content(request, account, account.version)

    @post(
        "/accounts",
        operation_id="createAccount",
        summary="Create Account",
        opt={"right": CHANGE, "body": Account},
        **named,
    )
    async def create(request: Asked) -> Response[Account]:
        told = await request.told(Account)
        account: Account = await database.write(
            request.caller, once, await request.token(), created, accounts.create, told
        )
        return json(account, 201, tag(request, account.version))

    @patch(
        "/accounts/{id:int}",
        operation_id="updateAccount",
        summary="Update Account",
        opt={"right": CHANGE, "body": Account},
        **named,
    )
    async def update(id: PathId, request: Asked) -> Response[Account]:
        told = at_version(request, with_id(await request.told(Account), id))
        account = await database.write(request.caller, accounts.change, told)
        await gate.settle()
        return json(account, etag=tag(request, account.version))

    @delete(
        "/accounts/{id:int}",
        operation_id="deleteAccount",
        summary="Delete Account",
        opt={"right": CHANGE},
        **named,
    )
    async def remove(id: PathId, request: Asked) -> None:
        """Removes an account with its keys, which open nothing from then on."""
        try:
            await database.write(request.caller, accounts.remove, id, told_version(request))
        finally:
            await gate.settle()  # also where it was removed a moment ago, and the answer was lost

    return [list_, fetch, create, update, remove]


def _keys(database: Database, gate: Gate) -> list[ControllerRouterHandler]:
    async def again(tx: Transaction, id: int) -> NewKey:
        raise Conflict(f"this made key {id}, whose secret is shown only once: revoke it and make another")

    made = Reply(lambda new: new.key.id, again)
    named: dict[str, Any] = {"tags": ["Key"]}

    @get("/keys", operation_id="listKeys", summary="List Keys", opt=LOOK, **named)
    async def list_(
        request: Asked, limit: Limit = 100, after: After = 0, account_id: RelatedId = None
    ) -> Response[list[Key]]:
        found = await database.read(request.caller, keys.listed, limit, after, account_id)
        return page(request, found, limit, str(found[-1].id) if found else "")

    @get("/keys/{id:int}", operation_id="getKey", summary="Get Key", opt=LOOK, **named)
    async def fetch(id: PathId, request: Asked) -> Response[Key]:
        key = await database.read(request.caller, keys.fetch, id)
        return by_content(request, key, key.version)

    @post(
        "/keys", operation_id="createKey", summary="Create Key", opt={"right": CHANGE, "body": Key}, **named
    )
    async def create(request: Asked) -> Response[NewKey]:
        """Makes a key, and shows its secret this once."""
        told = await request.told(Key)
        new: NewKey = await database.write(
            request.caller, once, await request.token(), made, keys.create, told
        )
        return json(new, 201)

    @patch(
        "/keys/{id:int}",
        operation_id="updateKey",
        summary="Update Key",
        opt={"right": CHANGE, "body": Key},
        **named,
    )
    async def update(id: PathId, request: Asked) -> Response[Key]:
        """Changes until when a key opens the book."""
        told = at_version(request, with_id(await request.told(Key), id))
        key = await database.write(request.caller, keys.change, told)
        await gate.settle()
        return json(key, etag=tag(request, key.version))

    @delete("/keys/{id:int}", operation_id="revokeKey", summary="Revoke Key", opt={"right": CHANGE}, **named)
    async def revoke(id: PathId, request: Asked) -> None:
        """Ends a key now; what is known of it stays."""
        await database.write(request.caller, keys.revoke, id, told_version(request))
        await gate.settle()

    return [list_, fetch, create, update, revoke]
