"""Accounts and keys from Python, and how the key of a server is found, kept, and sent to nobody else."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import run
from typing import assert_type

import pytest

from observatory import (
    Account,
    Grant,
    Invalid,
    Key,
    KeyIsSentInTheOpen,
    NewKey,
    ObservatoryApi,
    Unauthorized,
    Unavailable,
    make_observatory_api,
)
from observatory.client.connection import is_safe
from observatory.client.saved import Saved, changing, key_for, load, normal, place, store, url_for
from observatory.settings import Settings


class Server(HTTPServer):
    """Notes which keys it is sent, and knows nobody."""

    def __init__(self) -> None:
        self.shown: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers that nobody is let in."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.shown.append(self.headers["Authorization"])
        body = b'{"title": "Unauthorized", "status": 401, "detail": "no"}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Writes nothing to the terminal."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a user who has no keys yet, and nothing in the environment."""
    file = tmp_path / "config" / "credentials.json"
    monkeypatch.setenv("OBSERVATORY_CREDENTIALS", str(file))
    for name in ("OBSERVATORY_URL", "OBSERVATORY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return file


def ask(api: ObservatoryApi) -> None:
    with api, pytest.raises(Unauthorized):
        api.get_organisations()


# Accounts and keys.


def test_an_account_is_made_given_a_key_changed_and_removed(api: ObservatoryApi, server_url: str) -> None:
    ann = api.post_account(Account(name="ann", grants=[Grant("reader")]))
    new = api.post_key(Key(account=ann))
    assert_type(new, NewKey)
    assert_type(new.key.account.grants[0].organisation_id, int | None)

    with ObservatoryApi(server_url, new.secret) as hers:
        assert hers.whoami().account == ann
    assert api.get_account(ann.id) == ann
    assert api.get_accounts(name="ann") == [ann]
    assert api.get_accounts()[-1] == ann
    assert [key.id for key in api.get_keys(account_id=ann.id)] == [new.key.id]
    assert api.put_account(Account(id=ann.id, grants=[])).grants == []
    api.revoke_key(new.key.id)
    assert api.get_key(new.key.id).revoked
    api.delete_account(ann.id)
    assert api.get_accounts(name="ann") == []


def test_a_key_is_not_made_by_changing_none(api: ObservatoryApi) -> None:
    with pytest.raises(Invalid, match="is no id"):
        api.put_key(Key(account=api.whoami().account))


def test_a_secret_is_not_shown_by_accident(api: ObservatoryApi) -> None:
    new = api.post_key(Key(account=api.post_account(Account(name="ann", grants=[]))))

    assert new.secret.startswith(f"obs_{new.key.id}_")
    assert new.secret.split("_")[2] not in f"{new} {new!r} {[new]}"


# Which key is shown to whom.


def test_the_first_that_says_a_key_is_believed(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(ObservatoryApi(server.url))
    store(file, Saved(servers={server.url: "saved"}))
    ask(ObservatoryApi(server.url))
    ask(ObservatoryApi(server.url.replace("127.0.0.1", "LOCALHOST") + "/"))
    monkeypatch.setenv("OBSERVATORY_API_KEY", "environment")
    ask(ObservatoryApi(server.url))
    ask(ObservatoryApi(server.url, "argument"))

    said = [None, "saved", "saved", "environment", "argument"]
    assert server.shown == [key and f"Bearer {key}" for key in said]


def test_no_key_is_sent_to_another_server_than_it_is_for(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(
        file, Saved(url="http://127.0.0.1:1", servers={"http://127.0.0.1:1": "theirs", f"{server.url}0": "b"})
    )
    ask(ObservatoryApi(server.url))
    monkeypatch.setenv("OBSERVATORY_URL", "https://book.example.org")
    monkeypatch.setenv("OBSERVATORY_API_KEY", "for the one that is named beside it")
    ask(ObservatoryApi(server.url))

    assert server.shown == [None, None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://localhost:5002/", "http://127.0.0.1:5002"),
        ("http://0.0.0.0:5002", "http://127.0.0.1:5002"),
        ("HTTPS://Book.Example.org:443", "https://book.example.org"),
        ("https://ann:secret@example.org/book/", "https://example.org/book"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_a_server_is_known_however_its_address_is_written(one: str, other: str) -> None:
    assert normal(one) == normal(other) == other


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "https://127.0.0.1:5002",
        "http://127.0.0.1:5002/book",
        "http://localhost.example.org:5002",
        "http://127.0.0.1:5002@example.org",
        "http://example.org:5002",
    ],
)
def test_what_only_looks_like_a_server_is_another_one(url: str) -> None:
    assert normal(url) != normal("http://127.0.0.1:5002")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://[::1", "http://host:port"])
def test_what_is_no_address_is_named(url: str, file: Path) -> None:
    with pytest.raises(Invalid, match="is no address of a server"):
        key_for(Settings(), url)


def test_the_server_that_was_logged_in_to_is_asked_where_none_is_named(
    file: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert url_for(Settings()) == "http://127.0.0.1:5002"
    store(file, Saved(url=server.url, servers={server.url: "saved"}))
    ask(make_observatory_api())
    monkeypatch.setenv("OBSERVATORY_URL", "http://127.0.0.1:1")
    with make_observatory_api() as api:
        monkeypatch.setattr("observatory.client.transport.time.sleep", lambda seconds: None)
        with pytest.raises(Unavailable):
            api.get_organisations()

    assert server.shown == ["Bearer saved"]


# Over which wire.


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.org", True),
        ("http://127.0.0.2:5002", True),
        ("http://localhost:5002", True),
        ("http://[::1]:5002", True),
        ("http://example.org", False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1@example.org", False),
        ("http://2130706433.example.org", False),
    ],
)
def test_what_stays_on_this_machine_or_is_encrypted_is_safe(url: str, safe: bool) -> None:
    assert is_safe(url) == safe


def test_a_key_that_others_can_read_on_its_way_is_warned_of_once(file: Path) -> None:
    with ObservatoryApi("http://book.invalid", "secret", timeout=0.1) as api:
        with pytest.warns(KeyIsSentInTheOpen, match=r"sent to http://book\.invalid unencrypted") as warned:
            assert api._transport is api._transport
        assert len(warned) == 1
        assert "secret" not in str(warned[0].message)
    with warnings.catch_warnings(), ObservatoryApi("http://book.invalid") as nothing_is_sent:
        warnings.simplefilter("error")
        assert nothing_is_sent._transport


# The file.


def test_the_file_is_where_users_keep_their_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert place(Settings()) == tmp_path / ".config" / "observatory" / "credentials.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert place(Settings()) == tmp_path / "xdg" / "observatory" / "credentials.json"
    assert place(Settings(credentials="here.json")) == Path("here.json")


def test_a_user_without_a_home_has_no_keys_and_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    file = place(Settings())

    assert load(file) == Saved()
    with pytest.raises(NotADirectoryError), changing(file):
        pass


def test_only_its_owner_reads_the_file_and_only_whole(file: Path) -> None:
    with changing(file) as saved:
        saved.servers["http://a"] = "key"

    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert load(file) == Saved(servers={"http://a": "key"})
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, f"{file.name}.lock"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_with_the_cure(file: Path, mode: int) -> None:
    store(file, Saved(servers={"http://127.0.0.1:1": "key"}))
    file.chmod(mode)

    with pytest.raises(Invalid, match=f"others can read the keys in .*; credentials: run: chmod 600 {file}"):
        key_for(Settings(credentials=str(file)), "http://127.0.0.1:1")


def test_where_files_have_no_modes_none_is_asked_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(file, Saved(url="http://a"))
    file.chmod(0o666)
    monkeypatch.setattr("observatory.client.saved.os.name", "nt")

    assert load(file) == Saved(url="http://a")


@pytest.mark.parametrize("spoilt", [b"{", b"[]", b'{"servers": 1}', b'{"servers": {"a": "\xff"}}'])
def test_a_spoilt_file_is_named_with_the_cure(file: Path, spoilt: bytes) -> None:
    store(file, Saved())
    file.write_bytes(spoilt)

    with pytest.raises(Invalid, match=r"cannot be read: .*; credentials: remove it, and log in again"):
        load(file)


def test_what_cannot_be_written_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(file, Saved(url="http://a"))

    def full(number: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), changing(file) as saved:
        saved.url = "http://b"
    assert load(file) == Saved(url="http://a")
    assert len(list(file.parent.iterdir())) == 2


ADD = """
import sys
from pathlib import Path
from observatory.client.saved import changing
for number in range(20):
    with changing(Path(sys.argv[1])) as saved:
        saved.servers[f"http://{sys.argv[2]}-{number}"] = "key"
"""


def test_of_what_processes_write_at_the_same_time_nothing_is_lost(file: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(
            lambda n: run([sys.executable, "-c", ADD, str(file), str(n)], check=False), range(3)
        ):
            assert done.returncode == 0

    assert len(load(file).servers) == 60
