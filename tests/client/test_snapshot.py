"""What a DAG file is answered while it is read: the book's own words, or the last ones it said."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from observatory import Dataset, DatasetRelease, NotFound, ObservatoryApi, Organisation, Unavailable, Workflow
from observatory.client.kept import Folder, kept_now
from observatory.client.patience import WINDOW, OutOfTime, Patience
from observatory.client.snapshot import name_of
from observatory.errors import Refused, Unknown
from observatory.records import Contents, is_given
from observatory.server.auth import LEASE

from .reading import OPENED, WRONG, Around, deaf, read_as, said, serving

Reads = Callable[..., ObservatoryApi]


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def around(tmp_path: Path) -> Around:
    return Around(tmp_path / "home")


def file_of(around: Around) -> Path:
    [file] = (around.home() / "observatory").glob("*.catalogue")
    return file


def key_of(api: ObservatoryApi) -> str:
    transport = api._transport
    return transport._http.headers["Authorization"].removeprefix("Bearer ")


def move(around: Around, api: ObservatoryApi, old: str, new: str) -> None:
    """Makes the snapshot of one address that of another one, as if the server there went wrong."""
    file, key = file_of(around), key_of(api)
    assert file.name.startswith(name_of(old, key))
    file.rename(file.with_name(f"{name_of(new, key)}.catalogue"))


def test_a_file_that_asks_a_thousand_times_asks_the_book_once(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    time.sleep(LEASE)  # until the server looks up anew how often the catalogue was changed
    seen = read_as(server_url, around, key_of(api))
    calls = count_calls(seen)
    for _ in range(400):
        assert seen.get_organisations() == api.get_organisations()[:1]
        [workflow] = seen.get_workflows(organisation_id=1, limit=1000)
        assert seen.get_workflow(workflow.id) == workflow

    assert calls == ["catalogue 200"]
    again = read_as(server_url, around, key_of(api))
    calls = count_calls(again)
    assert again.get_organisations() == api.get_organisations()
    assert calls == ["catalogue 304"]


def count_calls(api: ObservatoryApi) -> list[str]:
    calls: list[str] = []
    http = api._transport._http
    http.event_hooks = {
        "response": [lambda r: calls.append(f"{r.url.path.removeprefix('/v1/')} {r.status_code}")]
    }
    return calls


def test_an_answer_is_not_the_same_object_twice(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    seen = read_as(server_url, around, key_of(api))
    seen.get_dataset(dataset.id).name = "changed by the file"
    assert seen.get_dataset(dataset.id).name == "books"


def test_inside_a_task_the_same_object_asks_the_book(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    seen = read_as(server_url, around, key_of(api))
    assert len(seen.get_organisations()) == 1
    calls = count_calls(seen)
    around.reads = False
    api.post_organisation(Organisation(name="new"))
    assert len(seen.get_organisations()) == 2
    around.reads = True
    assert len(seen.get_organisations()) == 1
    assert calls == ["organisations 200"]


def test_what_a_file_writes_it_reads(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    seen = read_as(server_url, around, key_of(api))
    assert len(seen.get_organisations()) == 1
    made = seen.post_organisation(Organisation(name="new"))
    assert seen.get_organisation(made.id) == made


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_takes_nothing_away_and_takes_no_longer_than_the_limit(
    wrong: str,
    api: ObservatoryApi,
    dataset: Dataset,
    server_url: str,
    around: Around,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = key_of(api)
    expected = read_as(server_url, around, key).get_workflows()
    before = file_of(around).read_bytes()
    with serving(WRONG[wrong]) as (url, _):
        move(around, api, server_url, url)
        seen = read_as(url, around, key, seconds=0.5)
        began = time.monotonic()
        for _ in range(20):
            assert seen.get_workflows() == expected
            assert len(seen.get_datasets(workflow_id=1)) == 1
        assert time.monotonic() - began < 1.5

    assert file_of(around).read_bytes() == before
    if wrong != "304 that nobody asked for":
        [warning] = [one for one in caplog.messages if "stands in for the book" in one]
        assert url in warning
        assert around.told
        assert 0 <= around.told[0] < 60


def test_who_cannot_connect_waits_no_longer_than_the_limit_in_all(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    key = key_of(api)
    read_as(server_url, around, key).get_workflows()
    with deaf() as url:
        move(around, api, server_url, url)
        seen = read_as(url, around, key, seconds=0.5)
        began = time.monotonic()
        assert len(seen.get_workflows()) == 1
        with pytest.raises(OutOfTime, match="are over"):
            seen.get_coverage(dataset.id)
        assert time.monotonic() - began < 1


def test_a_process_that_lives_on_may_wait_again() -> None:
    now = [0.0]
    patience = Patience(0.1, lambda: now[0])
    patience.wait(lambda until: now.__setitem__(0, 0.1))
    with pytest.raises(OutOfTime, match="are over"):
        patience.wait(lambda until: None)
    now[0] = WINDOW + 0.2
    assert patience.wait(lambda until: "answered") == "answered"


def test_without_service_and_snapshot_there_is_one_clear_error(around: Around) -> None:
    seen = read_as("http://127.0.0.1:9", around, seconds=1)
    with pytest.raises(Unavailable) as raised:
        seen.get_organisations()
    for part in "http://127.0.0.1:9", str(around.home() / "observatory"), "observatory snapshot DAG_FOLDER":
        assert part in str(raised.value)


def book(number: int = 1, **said: object) -> bytes:
    contents = Contents("this", 10, False, [], [], [], [], [], [])
    contents.organisations = [Organisation(id=i + 1, name=f"o{i}") for i in range(number)]
    for name, value in said.items():
        setattr(contents, name, value)
    return msgspec.json.encode(contents)


def heard(around: Around, url: str) -> int:
    """Returns how many organisations a new process sees."""
    return len(read_as(url, around, seconds=2).get_organisations())


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (book(2, book="another"), "serves another book"),
        (book(2, position=9), "was it restored"),
        (book(0), "does not confirm it"),
        (book(0, position=9), "was it restored"),
        (book(1, workflows=[Workflow(id=1, organisation=Organisation(id=7))]), "refers to nothing"),
        (book(1, organisations=[Organisation(name="without id")]), "has no id"),
    ],
)
def test_another_book_takes_no_place_of_what_is_known(
    second: bytes, why: str, around: Around, caplog: pytest.LogCaptureFixture
) -> None:
    told = [book(3)]
    with serving(lambda handler: said(200, told[0])(handler)) as (url, _):
        assert heard(around, url) == 3
        told[0] = second
        assert heard(around, url) == 3
        assert why in caplog.text
        if why.startswith(("serves", "was")):
            assert str(file_of(around)) in caplog.text  # to be removed, if it is right
            file_of(around).unlink()
            assert heard(around, url) == len(msgspec.json.decode(second, type=Contents).organisations)


def test_a_book_that_became_empty_is_believed_once_it_is_said_twice(around: Around) -> None:
    told = [book(3)]
    with serving(lambda handler: said(200, told.pop(0))(handler)) as (url, asked):
        assert heard(around, url) == 3
        told += [book(0, position=11), book(3, position=11)]
        assert heard(around, url) == 3  # the second answer says otherwise
        told += [book(0, position=11), book(0, position=11)]
        assert heard(around, url) == 0
        assert len(asked) == 5
        told += [book(2, position=12)]
        assert heard(around, url) == 2


def test_a_snapshot_is_its_owners_alone_and_says_no_secret(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    key = key_of(api)
    seen = read_as(server_url, around, key)
    assert seen.get_dataset(dataset.id).address == "a.b.c"
    assert seen.get_datasets(address="a.b.c")[0].address == "a.b.c"
    assert seen.get_coverage(dataset.id).gaps == []
    folder = around.home() / "observatory"
    files = list(folder.iterdir())

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert {file.suffix for file in files} == {".catalogue", ".answer"}
    for file in files:
        text = f"{file.name} {file.read_bytes()!r}"
        assert "a.b.c" not in text
        assert not any(part in text for part in key.split("_")[2:])


def test_others_of_one_key_and_server_have_snapshots_of_their_own() -> None:
    key = "obs_17_" + "a" * 43 + "_" + "b" * 6
    other_secret = "obs_17_" + "c" * 43 + "_" + "b" * 6
    names = {name_of("http://a", key), name_of("http://b", key), name_of("http://a", key.replace("17", "18"))}
    assert len(names) == 3
    assert name_of("http://a", key) == name_of("http://a", other_secret)


def test_a_folder_that_others_can_change_is_not_used_and_warned_of_once(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around, caplog: pytest.LogCaptureFixture
) -> None:
    folder = around.home() / "observatory"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    seen = read_as(server_url, around, key_of(api))
    assert len(seen.get_workflows()) == 1
    assert seen.get_coverage(dataset.id).gaps == []
    assert list(folder.iterdir()) == []
    [warning] = [one for one in caplog.messages if "no snapshot" in one]
    assert "OBSERVATORY_SNAPSHOTS" in warning


def test_a_folder_that_cannot_be_made_costs_a_warning_only(
    api: ObservatoryApi, dataset: Dataset, server_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").write_text("a file")
    seen = read_as(server_url, Around(tmp_path / "home"), key_of(api))
    assert len(seen.get_workflows()) == 1
    assert len([one for one in caplog.messages if "no snapshot" in one]) == 1


@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "not ours"])
def test_a_spoilt_snapshot_is_not_used_and_is_replaced(
    harm: str, api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    key = key_of(api)
    read_as(server_url, around, key).get_workflows()
    file = file_of(around)
    whole = file.read_bytes()
    spoilt = {
        "cut": whole[:-5],
        "changed": whole.replace(b"sales", b"Sales"),
        "empty": b"",
        "not ours": b"{}\n",
    }
    file.write_bytes(spoilt[harm])
    around.starts = True
    seen = read_as(server_url, around, key)
    assert seen.get_workflows()[0].name == "sales"
    assert file.read_bytes().partition(b"\n")[2] == whole.partition(b"\n")[2]


def test_the_age_of_a_snapshot_is_since_it_was_confirmed(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    key = key_of(api)
    read_as(server_url, around, key).get_workflows()
    long_ago = time.time() - 5000
    os.utime(file_of(around), (long_ago, long_ago))
    read_as(server_url, around, key).get_workflows()
    assert time.time() - file_of(around).stat().st_mtime < 60


def test_a_task_starts_with_what_was_confirmed_just_now_and_asks_after_a_minute(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    time.sleep(LEASE)
    key = key_of(api)
    read_as(server_url, around, key).get_workflows()
    around.starts = True
    seen = read_as(server_url, around, key)
    calls = count_calls(seen)
    assert len(seen.get_workflows()) == 1
    assert calls == []
    before = time.time() - 100
    os.utime(file_of(around), (before, before))
    seen = read_as(server_url, around, key)
    calls = count_calls(seen)
    assert len(seen.get_workflows()) == 1
    assert calls == ["catalogue 304"]


def test_addresses_are_asked_for_live_or_kept_where_that_is_wanted(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(api)
    seen = read_as(server_url, around, key)
    calls = count_calls(seen)
    for _ in range(5):
        assert seen.get_datasets()[0].address == "a.b.c"
        assert seen.get_dataset(dataset.id).dataset_type.table_type.type_id == "sharded"
    assert calls == ["catalogue 200", "catalogue 200"]

    with serving(WRONG["500"]) as (url, _):
        move(around, api, server_url, url)
        assert not is_given(read_as(url, around, key).get_dataset(dataset.id).address)
        assert "OBSERVATORY_SNAPSHOT_ADDRESSES" in caplog.text
        move(around, api, url, server_url)
        read_as(server_url, around, key, addresses=True).get_workflows()
        move(around, api, server_url, url)
        assert read_as(url, around, key, addresses=True).get_dataset(dataset.id).address == "a.b.c"
        # Who does not want them any more has them no longer.
        move(around, api, url, server_url)
        read_as(server_url, around, key).get_workflows()
    assert b"a.b.c" not in file_of(around).read_bytes()


def test_other_questions_are_answered_as_they_were_last(
    api: ObservatoryApi, dataset: Dataset, server_url: str, around: Around
) -> None:
    at = api.get_organisation(1).created
    api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=at, end_date=at))
    key = key_of(api)
    seen = read_as(server_url, around, key)
    releases = seen.get_dataset_releases(dataset_id=dataset.id)
    assert len(releases) == 1
    calls = count_calls(seen)
    assert seen.get_dataset_releases(dataset_id=dataset.id) == releases
    with pytest.raises(NotFound):
        seen.get_dataset_releases(dataset_id=99)
    assert calls == ["dataset-releases 304", "dataset-releases 404"]

    folder = around.home() / "observatory"
    with serving(WRONG["hanging"]) as (url, _):
        for file in folder.iterdir():
            file.rename(folder / file.name.replace(name_of(server_url, key), name_of(url, key)))
        seen = read_as(url, around, key, seconds=0.3)
        assert seen.get_dataset_releases(dataset_id=dataset.id) == releases
        with pytest.raises(Unavailable):
            seen.get_dataset_releases(dataset_id=77)
    with serving(WRONG["a list of another service"]) as (other, _):
        for file in folder.iterdir():
            file.rename(folder / file.name.replace(name_of(url, key), name_of(other, key)))
        # What a proxy answers is neither taken nor kept.
        for _ in range(2):
            assert read_as(other, around, key).get_dataset_releases(dataset_id=dataset.id) == releases
        for file in folder.iterdir():
            file.rename(folder / file.name.replace(name_of(other, key), name_of(url, key)))
    with serving(WRONG["hanging"]) as (url, _), pytest.raises(Unknown, match="may have done it"):
        read_as(url, around, key, seconds=0.3).post_organisation(Organisation(name="late"))


def test_a_write_is_not_repeated_beyond_the_limit(around: Around) -> None:
    with serving(WRONG["500"]) as (url, asked), pytest.raises(Refused):
        read_as(url, around, seconds=0.3).put_dataset(Dataset(id=1, name="a"))
    with serving(said(503, b"")) as (url, asked):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            read_as(url, around, seconds=0.3).put_dataset(Dataset(id=1, name="a"))
        assert time.monotonic() - began < 1
        assert len(asked) < 4


def test_only_so_many_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observatory.client.kept.MOST", 3)
    folder = Folder(tmp_path / "own")
    for i in range(6):
        kept = kept_now(f"releases?{i}", None, {}, b"[]")
        kept.confirmed = 1000.0 + i
        folder.keep(f"{i}.answer", kept)
    assert {file.name for file in (tmp_path / "own").iterdir()} == {"3.answer", "4.answer", "5.answer"}
