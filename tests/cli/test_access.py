"""Roles, keys and logging in, as they are typed."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from observatory import Account, Grant, Key, ObservatoryApi, Organisation
from observatory.cli.first_key import be_found, open_book
from observatory.client.saved import Saved, load, normal, store
from observatory.ledger import upgrade
from observatory.ledger.keys import EVERYTHING
from observatory.settings import Settings

from ..conftest import CREDENTIALS
from .conftest import Type

NOW = datetime.now(UTC)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: ObservatoryApi) -> Path:
    """Where this user's keys are: another place than that of the tests, whose key `api` knows already."""
    assert api.whoami()
    file = tmp_path / "config" / "credentials.json"
    monkeypatch.setenv("OBSERVATORY_CREDENTIALS", str(file))
    return file


@pytest.fixture
def secret(api: ObservatoryApi) -> str:
    """A key of an account that reads all."""
    return api.post_key(Key(account=api.post_account(Account(name="ann", grants=[Grant("reader")])))).secret


def test_an_account_is_made_with_its_roles(observatory: Type, api: ObservatoryApi) -> None:
    for name in ("Curtin Press", "a@b", "7"):
        api.post_organisation(Organisation(name=name))
    roles = ["--role=reader@Curtin Press", "--role=address:read@a@b", "--role=writer@3", "--role=auditor"]
    made = observatory("accounts", "create", "airflow", *roles)

    assert made.code == 0, made.err
    assert "name\tairflow\n" in made.out
    # As it could be typed again: the organisation that is called 7 is given by its id.
    assert "roles\treader@Curtin Press, address:read@a@b, writer@3, auditor\n" in made.out
    expected = [Grant("reader", 1), Grant("address:read", 2), Grant("writer", 3), Grant("auditor")]
    assert api.get_accounts(name="airflow")[0].grants == expected
    assert "2\tairflow\treader@Curtin Press" in observatory("accounts", "list").out
    assert json.loads(observatory("accounts", "get", "airflow", "-o", "json").out)["grants"][0] == {
        "role": "reader",
        "organisation_id": 1,
    }


def test_the_roles_that_are_given_are_then_all(observatory: Type, api: ObservatoryApi, secret: str) -> None:
    assert "roles\twriter\n" in observatory("accounts", "update", "ann", "--role", "writer").out
    assert "name\tbob\n" in observatory("accounts", "update", "ann", "--name", "bob").out
    assert api.get_accounts(name="bob")[0].grants == [Grant("writer")]
    assert observatory("accounts", "delete", "bob").out == "deleted account 2\n"
    assert observatory("accounts", "get", "bob").code == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--role=king", "'king' is no role: it is one of reader, writer,"),
        ("--role=reader@", "'reader@' names no organisation: write reader@NAME"),
        ("--role=reader@Nowhere", "there is no organisation 'Nowhere'"),
        ("--role=reader@99", "Organisation 99 does not exist"),
    ],
)
def test_a_wrong_role_is_named_with_the_cure(observatory: Type, typed: str, said: str) -> None:
    made = observatory("accounts", "create", "ann", typed)

    assert made.code in (1, 2)
    assert said in made.err
    assert observatory("accounts", "update", "admin").code == 2


def test_a_key_goes_alone_to_standard_output(observatory: Type, server_url: str, api: ObservatoryApi) -> None:
    api.post_account(Account(name="ann", grants=[Grant("reader")]))
    made = observatory("keys", "create", "ann", "--days", "10")

    [secret] = made.out.splitlines()
    with ObservatoryApi(server_url, secret) as ann:
        own = ann.whoami()
    assert abs(own.expires - NOW - timedelta(10)) < timedelta(hours=1)
    assert made.err.startswith(f"key {own.id} of 'ann', good until {own.expires:%Y-%m-%dT%H:%MZ}.")
    assert secret not in made.err
    listed = observatory("keys", "list", "ann").out
    assert listed.splitlines()[0].split("\t") == ["id", "account", "expires", "revoked", "last_used"]
    assert secret not in listed


def test_a_key_takes_over_without_a_pause(observatory: Type, server_url: str, api: ObservatoryApi) -> None:
    old = api.post_key(Key(account=api.post_account(Account(name="ann", grants=[Grant("reader")]))))
    made = observatory("keys", "rotate", str(old.key.id), "--grace", "12h")

    with ObservatoryApi(server_url, old.secret) as one, ObservatoryApi(server_url, made.out.strip()) as two:
        assert abs(one.whoami().expires - NOW - timedelta(hours=12)) < timedelta(hours=1)
        assert two.whoami().account.name == "ann"
        assert two.whoami().expires - NOW > timedelta(89)
    assert f"key {old.key.id} is good until" in made.err


def test_a_grace_does_not_lengthen_the_life_of_a_key(observatory: Type, api: ObservatoryApi) -> None:
    ann = api.post_account(Account(name="ann", grants=[Grant("reader")]))
    old = api.post_key(Key(account=ann, expires=NOW + timedelta(hours=2)))

    assert observatory("keys", "rotate", str(old.key.id)).code == 0
    assert api.get_key(old.key.id).expires == old.key.expires


def test_a_key_without_grace_ends_now_and_is_not_rotated_again(
    observatory: Type, api: ObservatoryApi
) -> None:
    own = api.whoami().id
    made = observatory("keys", "rotate", str(own), "--grace", "0m")
    assert made.err.endswith(f"key {own} is revoked\n")

    again = observatory("--api-key", made.out.strip(), "keys", "rotate", str(own))
    assert again.code == 2
    assert "has ended: make one with `observatory keys create" in again.err
    assert observatory("keys", "rotate", "1", "--grace", "soon").code == 2


def test_a_key_is_revoked(observatory: Type, api: ObservatoryApi, secret: str) -> None:
    assert observatory("keys", "revoke", "2").out == "revoked key 2\n"

    refused = observatory("--api-key", secret, "organisations", "list")
    assert refused.code == 1
    assert "error: key 2 was revoked on" in refused.err
    assert "help: `observatory login` keeps another key" in refused.err


# Logging in.


def test_who_logs_in_is_who_asks_from_then_on(
    anywhere: Type, server_url: str, secret: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBSERVATORY_URL")
    said = anywhere("login", f"{server_url}/", stdin=f"{secret}\n")

    assert (said.code, said.err) == (0, "")
    assert said.out == f"logged in to {server_url}/ as 'ann' (reader), with a key in {file}\n"
    assert load(file) == Saved(url=server_url, servers={server_url: secret})
    shown = dict(line.split("\t") for line in anywhere("whoami").out.splitlines())
    assert shown.keys() == {"url", "account", "roles", "key", "expires"}
    assert (shown["url"], shown["account"], shown["roles"]) == (server_url, "ann", "reader")
    assert json.loads(anywhere("whoami", "-o", "json").out)["account"]["name"] == "ann"

    gone = anywhere("logout")
    assert (gone.code, gone.out) == (0, f"logged out of {server_url}\n")
    assert gone.err == f"note: `observatory keys revoke {shown['key']}` ends the key itself\n"
    assert load(file) == Saved()
    assert "no key is kept for http://127.0.0.1:5002" in anywhere("logout").err


def test_a_key_is_kept_only_if_it_opens_the_book(
    anywhere: Type, server_url: str, secret: str, file: Path
) -> None:
    for wrong, why in (
        ("", "no key of Observatory"),
        (secret[:-1], "no key of Observatory"),
        (secret[:-1] + "-", "no key of Observatory"),
        (secret[:-1] + ("1" if secret[-1] == "0" else "0"), "mistyped or cut"),
    ):
        said = anywhere("login", server_url, stdin=wrong)
        assert (said.code, said.out) == (1, "")
        assert why in said.err
    assert not file.exists()


def test_a_key_is_asked_for_and_not_shown(server_url: str, secret: str, file: Path) -> None:
    mine, terminal = pty.openpty()
    command = [sys.executable, "-c", "from observatory.cli import main; main()", "login", server_url]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        written = b""
        while b"key for" not in written:
            written += os.read(mine, 1000)
        time.sleep(0.2)  # until the terminal shows nothing of what is typed
        os.write(mine, f"{secret}\n".encode())
        try:
            while more := os.read(mine, 1000):
                written += more
        except OSError:
            pass  # how Linux says that the other end is closed
        assert process.wait() == 0, written
    os.close(mine)

    assert written.startswith(f"key for {server_url}: ".encode())
    assert secret.encode() not in written
    assert load(file).servers == {server_url: secret}


def test_a_key_that_ends_soon_is_warned_of(
    anywhere: Type, server_url: str, file: Path, api: ObservatoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBSERVATORY_URL")
    ann = api.post_account(Account(name="ann", grants=[Grant("reader")]))
    soon = api.post_key(Key(account=ann, expires=NOW + timedelta(13)))
    late = api.post_key(Key(account=ann, expires=NOW + timedelta(15)))
    warning = (
        f"warning: this key ends on {soon.key.expires:%Y-%m-%d}: `observatory keys rotate {soon.key.id}`"
    )

    for command in (["login", server_url], ["--url", server_url, "whoami"]):
        assert anywhere(*command, stdin=soon.secret).err.startswith(warning)
    assert anywhere("login", server_url, stdin=late.secret).err == ""


def test_what_comes_before_a_login_is_said(
    anywhere: Type, server_url: str, secret: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:9")
    assert "OBSERVATORY_URL comes before this: http://127.0.0.1:9 is asked" in (
        anywhere("login", server_url, stdin=secret).err
    )
    monkeypatch.setenv("OBSERVATORY_URL", server_url)
    monkeypatch.setenv("OBSERVATORY_API_KEY", secret)
    assert "OBSERVATORY_API_KEY comes before this key" in anywhere("login", server_url, stdin=secret).err


def test_an_option_with_a_key_is_for_the_server_that_is_named(
    anywhere: Type, server_url: str, secret: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of the environment is for the server of the environment, whatever an option says."""
    monkeypatch.setenv("OBSERVATORY_API_KEY", secret)
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:9")

    assert "no key was given" in anywhere("--url", server_url, "whoami").err
    assert "account\tann\n" in anywhere("--url", server_url, "--api-key", secret, "whoami").out


def test_a_key_that_is_sent_in_the_open_is_warned_of_in_a_line(anywhere: Type, file: Path) -> None:
    said = anywhere("--url", "http://book.invalid", "--api-key", "secret", "whoami")

    assert said.err.startswith("warning: the key is sent to http://book.invalid unencrypted")
    assert said.err.count("warning") == 1
    assert "secret" not in said.err


# The first key.


@pytest.fixture
def new_book(tmp_path: Path) -> Callable[[str], Settings]:
    def make(name: str) -> Settings:
        url = f"sqlite:///{tmp_path}/{name}.db"
        upgrade(url)
        return Settings(database_url=url, credentials=str(tmp_path / "config" / "credentials.json"))

    return make


def test_a_new_book_shows_its_first_key_once_and_keeps_it(
    new_book: Callable[[str], Settings], capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    settings = new_book("first")
    id = open_book(settings)
    key = load(file).books[id]

    assert capsys.readouterr().err.splitlines() == [
        f"the first key of this book, which may do everything: {key}",
        f"it is kept in {file}, where the command line and Python find it",
    ]
    assert open_book(settings) == id
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_keep_the_key_is_named_before_there_is_one(
    new_book: Callable[[str], Settings], anywhere: Type, file: Path
) -> None:
    settings = new_book("first")
    store(file, Saved())
    file.chmod(0o644)
    refused = anywhere("serve", "--database-url", settings.database_url, "--port", "0")

    assert (refused.code, refused.out) == (1, "")
    assert "others can read the keys in" in refused.err
    file.chmod(0o600)
    open_book(settings)
    assert len(load(file).books) == 1


def test_the_key_of_a_book_is_found_where_it_is_served(
    serve: Callable[[Settings], str], new_book: Callable[[str], Settings], file: Path
) -> None:
    settings = new_book("first")
    url, id = serve(settings), open_book(settings)
    store(file, Saved(books=load(CREDENTIALS).books))
    be_found(settings, id, url.replace("127.0.0.1", "0.0.0.0"))

    with ObservatoryApi(url) as found:
        assert found.whoami().account.name == "admin"
    assert load(file).servers == {normal(url): load(file).books[id]}


def test_what_was_logged_in_with_stays_if_it_opens_the_book_that_is_served(
    serve: Callable[[Settings], str],
    new_book: Callable[[str], Settings],
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = new_book("first")
    url, id = serve(settings), open_book(settings)
    store(file, Saved(books=load(CREDENTIALS).books))
    be_found(settings, id, url)
    with ObservatoryApi(url) as admin:
        ann = admin.post_account(Account(name="ann", grants=[Grant("reader")]))
        hers = admin.post_key(Key(account=ann))
        store(file, Saved(servers={url: hers.secret}, books=load(file).books))
        be_found(settings, id, url)
        assert load(file).servers == {url: hers.secret}

        admin.revoke_key(hers.key.id)
    be_found(settings, id, url)
    assert load(file).servers == {url: load(file).books[id]}

    # Another book is served here now, whose key is not known: that of the one before opens nothing.
    store(file, Saved(url="https://elsewhere.example.org", servers={url: hers.secret}, books={}))
    capsys.readouterr()
    be_found(settings, "another", url)
    assert load(file).servers == {}
    note = f"note: commands ask https://elsewhere.example.org unless they say --url {url}\n"
    assert capsys.readouterr().err == note


def test_whoever_has_the_database_makes_a_key_when_all_are_lost(
    anywhere: Type, new_book: Callable[[str], Settings], serve: Callable[[Settings], str], file: Path
) -> None:
    settings = new_book("first")
    url = serve(settings)
    made = anywhere("database", "key", "--database-url", settings.database_url)

    assert made.err.startswith("key 2 of 'admin', until ")
    with ObservatoryApi(url, made.out.strip()) as admin:
        assert admin.whoami().account.grants == EVERYTHING
    third = anywhere("database", "key", "--database-url", settings.database_url)
    assert "revoke one of them first, or name another account" in third.err
    rescue = anywhere("database", "key", "--database-url", settings.database_url, "--account", "rescue")
    assert rescue.out.startswith("obs_3_")


# The key ring.


def test_a_line_of_a_key_ring_is_made_and_addresses_sealed_with_it(
    anywhere: Type,
    dataset: object,
    api: ObservatoryApi,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = anywhere("keys", "ring").out
    ring = tmp_path / "observatory.keys"
    ring.write_text(line + os.environ["OBSERVATORY_KEY_RING"] + "\n")
    ring.chmod(0o600)
    monkeypatch.delenv("OBSERVATORY_KEY_RING")
    monkeypatch.setenv("OBSERVATORY_KEY_RING_FILE", str(ring))
    done = anywhere("keys", "reencrypt", "--database-url", database_url)

    assert (done.code, done.out) == (0, "every address is sealed with the first key of the ring\n"), done.err
    book = Path(database_url.removeprefix("sqlite:///"))
    kept = book.read_bytes() + book.with_name(f"{book.name}-wal").read_bytes()
    assert f"sealed:{line.split()[0]}:".encode() in kept
    ring.write_text(line)
    assert anywhere("keys", "reencrypt", "--database-url", database_url).code == 0
