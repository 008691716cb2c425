"""Who may work with the book, and the keys that they show: each call a method, as in catalogue.py."""

from uuid import uuid4

from ..records import Account, Key, NewKey
from ..rules import normal
from .connection import Connection, number


class Access(Connection):
    """The methods of accounts and keys. All but `whoami` are for administrators and, to look, auditors."""

    def whoami(self) -> Key:
        """Returns the key that this client shows, with its account and what is granted to that."""
        return self._transport.call("GET", "me", Key)

    def get_account(self, id: int) -> Account:
        """Returns an account."""
        return self._get(Account, id)

    def get_accounts(self, limit: int | None = None, *, name: str | None = None) -> list[Account]:
        """Returns the accounts by id, the one of a name if it is given."""
        return self._list(Account, limit, name=name)

    def post_account(self, account: Account) -> Account:
        """Creates an account; it opens nothing until it has a key."""
        return self._post(account)

    def put_account(self, account: Account) -> Account:
        """Changes the name of an account, or all of its grants, from its next request on."""
        return self._put(account)

    def delete_account(self, id: int) -> None:
        """Removes an account with its keys, which open nothing from then on."""
        self._delete(Account, id)

    def get_key(self, id: int) -> Key:
        """Returns what is known of a key, with its account; its secret is known to nobody."""
        return self._get(Key, id)

    def get_keys(self, limit: int | None = None, account_id: int | None = None) -> list[Key]:
        """Returns the keys by id, also those that have ended; of one account if it is named."""
        return self._list(Key, limit, account_id=account_id)

    def post_key(self, key: Key) -> NewKey:
        """Makes a key for an account, until `expires` or for 90 days, and returns it with its secret.

        Raises Conflict where the account has two that are good. If the answer is lost on its way, so is the
        secret: the Conflict that is raised then says which key to revoke.
        """
        return self._transport.call("POST", Key.path, NewKey, body=normal(key), token=str(uuid4()))

    def put_key(self, key: Key) -> Key:
        """Changes until when a key opens the book."""
        number(key.id)
        return self._put(key)

    def revoke_key(self, id: int) -> None:
        """Ends a key now; it is still listed."""
        self._transport.call("DELETE", f"{Key.path}/{number(id)}", type(None))
