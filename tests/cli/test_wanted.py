"""What is missing and why, what a source is said to offer, and how it stands with datasets."""

import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi
from observatory.cli.periods import count_text, lasting, period_text
from observatory.cli.times import time_of
from observatory.intervals import Period, steps
from observatory.leases import Return
from observatory.records import Cadence

from .conftest import Type

BOOKS = "Curtin Press/sales/books"
FEBRUARY = Period(time_of("2023-02-01"), time_of("2023-03-15"))
HEAD = "dataset\tstart_date\tend_date\tcount\twhy\tsince\n"
CSV = "start_date,end_date,version_label,size\n2021-01-01,2021-02-01,v1,120\n2021-02-01,2021-03-01,v2,\n"


@pytest.fixture
def withdrawn(api: ObservatoryApi, dataset: Dataset) -> Dataset:
    """A dataset of which 42 days were found bad, and one was not."""
    days = [*steps(FEBRUARY, "day"), Period(time_of("2023-03-15"), time_of("2023-03-16"))]
    told = [DatasetRelease(dataset=dataset, start_date=d.start_date, end_date=d.end_date) for d in days]
    for release in api.post_dataset_releases(told)[:-1]:
        api.put_dataset_release(DatasetRelease(id=release.id, state="withdrawn", reason="bad file"))
    return dataset


def test_what_is_missing_is_told_in_runs_with_its_reason(observatory: Type, withdrawn: Dataset) -> None:
    said = observatory("missing", BOOKS)
    assert said.code == 3
    assert said.out.startswith(HEAD + 'books (1)\t2023-02-01\t2023-03-15\t42\twithdrawn, "bad file"\t')
    assert said.err == "42 periods missing: 42 withdrawn\n"
    [run] = json.loads(observatory("missing", "--all", "-o", "json").out)
    assert (run["periods"], run["reason"], run["note"]) == (42, "withdrawn", "bad file")
    plain = observatory("missing", BOOKS, "--no-why").out
    assert plain == "dataset\tstart_date\tend_date\tcount\nbooks (1)\t2023-02-01\t2023-03-15\t42\n"


def test_people_see_the_last_day_and_how_many_days(server_url: str, withdrawn: Dataset) -> None:
    out = seen(server_url, "missing", BOOKS)
    assert "2023-02-01..2023-03-14" in out
    assert "42 days" in out
    assert 'withdrawn, "bad file"' in out


def test_missing_is_narrowed_by_time_and_reason(observatory: Type, withdrawn: Dataset) -> None:
    some = observatory("missing", BOOKS, "--from", "2023-03-01", "--until", "2023-03-03", "--no-why")
    assert some.out.endswith("books (1)\t2023-03-01\t2023-03-03\t2\n")
    cut = observatory("missing", BOOKS, "--periods", "--limit", "2", "--from", "2023-03-01")
    assert cut.out.count("\n") == 3
    assert cut.err.startswith("note: more is missing than the limit of 2")
    assert cut.err.endswith("14 periods missing: 14 withdrawn\n")
    none = observatory("missing", BOOKS, "--reason", "late", "--reason", "offered")
    assert (none.code, none.out, none.err) == (0, HEAD, "nothing is missing\n")
    assert "give one of claimed, failed" in observatory("missing", BOOKS, "--reason", "lost").err


def test_missing_is_of_datasets_that_are_named(observatory: Type, withdrawn: Dataset) -> None:
    for of in (["--workflow", "Curtin Press/sales"], ["--organisation", "Curtin Press"], ["--all"]):
        assert observatory("missing", *of).code == 3
    assert observatory("missing", "--tag", "sales_partner").code == 3
    assert observatory("missing", "--tag", "nobody").code == 0
    said = observatory("missing")
    assert (said.code, "--all for all datasets" in said.err) == (2, True)
    assert observatory("missing", "99").code == 1


def test_single_periods_tell_who_is_at_them_and_what_failed(
    observatory: Type, api: ObservatoryApi, withdrawn: Dataset
) -> None:
    failed, held = (api.claim(withdrawn.id, holder=name).claim for name in ("Ann", "Ben"))
    assert failed
    assert held
    api.give_back_claim(failed, Return("failed", error="no disk"))
    said = observatory("missing", BOOKS, "--periods")
    heading, *rows = [line.split("\t") for line in said.out.splitlines()]
    lines = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [(one["why"], one["holder"], one["failures"]) for one in lines[:3]] == [
        ('failed, "no disk"', "", "1"),
        ('claimed, "bad file"', "Ben", ""),
        ('withdrawn, "bad file"', "", ""),
    ]
    assert lines[0]["retry_at"]
    assert lines[1]["claimed_until"]
    assert said.err == "42 periods missing: 1 claimed, 1 failed, 40 withdrawn\n"


@pytest.mark.parametrize(
    "told",
    [
        CSV,
        "\n" + CSV.replace(",", "\t"),
        '{"start_date": "2021-01-01", "end_date": "2021-02-01", "version_label": "v1", "size": 120}\n\n'
        '{"start_date": "2021-02-01T00:00Z", "end_date": "2021-03-01", "version_label": "v2"}\n',
    ],
)
def test_a_source_is_probed(observatory: Type, dataset: Dataset, tmp_path: Path, told: str) -> None:
    said = observatory("probe", BOOKS, "--offers", "-", "-o", "json", stdin=told)
    assert said.code == 0
    assert (json.loads(said.out)["new"], json.loads(said.out)["offers"]) == (2, 2)
    file = tmp_path / "offers"
    file.write_text(told)
    assert "new\t0\n" in observatory("probe", BOOKS, "--offers", str(file)).out

    first, second = observatory("offers", BOOKS).out.splitlines()[1:]
    cut = observatory("offers", BOOKS, "--limit", "1").err
    assert cut == "note: there are more offers than the limit of 1: leave it out for all of them\n"
    assert first.startswith("2021-01-01\t2021-02-01\tv1\t\t120\t\t")
    assert second.startswith("2021-02-01\t2021-03-01\tv2\t\t\t\t")
    missing = observatory("missing", BOOKS, "--no-why")
    assert missing.out.endswith("books (1)\t2021-01-01\t2021-03-01\t2\n")


def test_what_a_source_drops_is_gone_after_a_confirmation(observatory: Type, dataset: Dataset) -> None:
    observatory("probe", BOOKS, "--offers", "-", stdin=CSV)
    one = "".join(CSV.splitlines(keepends=True)[:2])
    assert "gone\t0\n" in observatory("probe", BOOKS, "--offers", "-", "--partial", stdin=one).out
    said = observatory("probe", BOOKS, "--offers", "-", stdin=one)
    assert (said.code, "this would withdraw 1 of 2 offers" in said.err) == (1, True)
    assert observatory("probe", BOOKS, "--failed", "--error", "a login page").code == 0
    assert observatory("missing", BOOKS).err == "2 periods missing: 2 offered\n"
    assert "gone\t1\n" in observatory("probe", BOOKS, "--offers", "-", "--confirm", stdin=one).out
    assert observatory("missing", BOOKS).err == "1 period missing: 1 offered\n"


@pytest.mark.parametrize(
    ("offered", "error"),
    [
        ("", "no offers were given"),
        ("start,end\n2021-01-01,2021-02-01\n", "no header that names start_date"),
        ("start_date,end_date,label\n2021-01-01,2021-02-01,x\n", "line 2 of the offers has 'label'"),
        ("start_date,end_date\n2021-01-01,2021-02-01,x\n", "line 2 of the offers has more values"),
        ("start_date,end_date\n\n2021-01-32,2021-02-01\n", "line 3 of the offers: '2021-01-32' is no time"),
        ("start_date,end_date,size\n2021-01-01,2021-02-01,big\n", "line 2 of the offers: Expected `int"),
        ("start_date,end_date\n2021-01-01,\n", "line 2 of the offers: Object missing required field"),
        ('{"start_date": "2021-01-01"\n', "line 1 of the offers is not JSON"),
        ('{"start_date": 5, "end_date": "2021-01-01"}', "line 1 of the offers: Expected `datetime`"),
        ('{"start_date": "2021-01-01", "end_date": "2021-02-01"}\n[]', "line 2 of the offers is no object"),
    ],
)
def test_what_is_no_offer_is_named(anywhere: Type, offered: str, error: str) -> None:
    said = anywhere("probe", "1", "--offers", "-", stdin=offered)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert error in said.err


def test_a_probe_is_of_one_outcome(anywhere: Type) -> None:
    for wrong in ([], ["--partial"], ["--partial", "--failed"], ["--failed", "--offers", "-"]):
        assert anywhere("probe", "1", *wrong, stdin=CSV).code == 2


def test_the_status_of_datasets_is_told(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, server_url: str
) -> None:
    said = observatory("status")
    assert (said.code, said.out.splitlines()[1].split("\t")[1]) == (0, "unknown")
    daily = Cadence("0 0 * * *", time_of("2021-01-01"), expected_until=time_of("2021-01-03"))
    api.put_dataset(Dataset(id=dataset.id, cadence=daily))
    api.probe(dataset.id, outcome="failed", error="a login page")
    said = observatory("status", "--status", "late", "--organisation", "Curtin Press")
    [heading, line] = [line.split("\t") for line in said.out.splitlines()]
    told = dict(zip(heading, line, strict=True))
    assert (told["dataset"], told["status"], told["late_since"]) == ("books (1)", "late", "2021-01-02")
    assert (told["newest"], told["lag"], told["probe"]) == ("", "", "failed: a login page")
    assert (said.code, said.err) == (3, "of 1 dataset, 1 late\n")
    assert "\x1b[31mlate" in seen(server_url, "status")

    for day in steps(Period(time_of("2021-01-01"), time_of("2021-01-03")), "day"):
        api.post_dataset_release(
            DatasetRelease(dataset=dataset, start_date=day.start_date, end_date=day.end_date)
        )
    said = observatory("status", "--workflow", "Curtin Press/sales")
    assert (said.code, said.out.splitlines()[1].split("\t")[1:3]) == (0, ["complete", "2021-01-03"])
    assert said.out.splitlines()[1].split("\t")[3].endswith("years")


def test_a_period_that_was_loaded_anew_is_a_revision(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    period = [BOOKS, "2021-01-01", "2021-02-01"]
    assert observatory("releases", "add", *period, "--row-count", "10").code == 0
    assert observatory("releases", "add", *period, "--row-count", "11").code == 1
    said = observatory("releases", "revise", *period, "--row-count", "11", "-o", "json")
    assert (said.code, json.loads(said.out)["revision"]) == (0, 2)
    assert [release.row_count for release in api.get_dataset_releases()] == [11]
    history = api.get_dataset_releases(history=True)
    assert [(one.row_count, one.state) for one in history] == [(10, "superseded"), (11, "present")]


def test_what_is_missing_in_a_span_is_marked(
    observatory: Type, api: ObservatoryApi, withdrawn: Dataset
) -> None:
    span = ["--from", "2023-02-01T12:00", "--until", "2023-02-04", "--reason", "a holiday"]
    said = observatory("releases", "mark", "empty", BOOKS, *span)
    assert (said.code, said.err) == (0, "2 of 2 missing periods marked empty\n")
    found = api.get_dataset_releases(state="empty")
    assert [(one.start_date.day, one.reason) for one in found] == [(2, "a holiday"), (3, "a holiday")]
    assert observatory("missing", BOOKS).err == "40 periods missing: 40 withdrawn\n"
    again = observatory("releases", "mark", "empty", BOOKS, *span)
    assert (again.code, again.err) == (0, "0 of 0 missing periods marked empty\n")


def test_what_nobody_expected_is_marked_by_its_length(
    observatory: Type, api: ObservatoryApi, withdrawn: Dataset
) -> None:
    gone = ["--from", "2023-03-14", "--until", "2023-03-18", "--step", "day", "--reason", "deleted there"]
    assert observatory("releases", "mark", "unobtainable", BOOKS, *gone).code == 0
    found = api.get_dataset_releases(start_date=time_of("2023-03-14"))
    states = ["unobtainable", "present", "unobtainable", "unobtainable"]
    assert [one.state for one in found] == states
    for wrong in (["--until", "2023-03-01"], ["--until", "2023-03-15T12:00"]):
        assert observatory("releases", "mark", "empty", BOOKS, *gone, *wrong).code == 2
    assert observatory("releases", "mark", "present", BOOKS, *gone).code == 2


def test_what_somebody_is_loading_is_not_marked(
    observatory: Type, api: ObservatoryApi, withdrawn: Dataset
) -> None:
    api.claim(withdrawn.id, holder="Ann")
    span = ["--from", "2023-02-01", "--until", "2023-02-03", "--reason", "a holiday"]
    said = observatory("releases", "mark", "empty", BOOKS, *span)
    assert (said.code, said.err.splitlines()[1]) == (1, "1 of 2 missing periods marked empty")
    assert said.err.startswith("error: 2023-02-01: ")
    assert [one.start_date.day for one in api.get_dataset_releases(state="empty")] == [2]


@pytest.mark.parametrize(
    ("periods", "start", "end", "text", "count"),
    [
        (1, "2021-01-01", "2021-01-02", "2021-01-01", "1 day"),
        (31, "2021-01-01", "2021-02-01", "2021-01-01..2021-01-31", "31 days"),
        (1, "2021-01-01", "2021-02-01", "2021-01-01..2021-01-31", "1 month"),
        (2, "2021-01-01", "2023-01-01", "2021-01-01..2022-12-31", "2 years"),
        (6, "2021-01-01", "2021-01-01T06:00", "2021-01-01..2021-01-01T06:00:00Z", "6 hours"),
        (2, "2021-01-01", "2021-01-15", "2021-01-01..2021-01-14", "2 periods"),
        (1, "2021-01-01", "2021-01-01", "2021-01-01", "1 snapshot"),
    ],
)
def test_periods_are_told_as_people_say_them(
    periods: int, start: str, end: str, text: str, count: str
) -> None:
    of = Period(time_of(start), time_of(end))
    assert (period_text(of.start_date, of.end_date), count_text(periods, of)) == (text, count)


def test_several_snapshots_are_told_up_to_the_last_of_them() -> None:
    of = Period(time_of("2021-01-01"), time_of("2021-01-08"))
    assert period_text(of.start_date, of.end_date, are_snapshots=True) == "2021-01-01..2021-01-08"
    assert count_text(3, of, are_snapshots=True) == "3 snapshots"


def test_a_lag_is_told_in_words() -> None:
    lags = {"0 seconds": 0.2, "1 second": 1, "90 seconds": 90, "36 hours": 36 * 3600, "3 days": 86400 * 3.5}
    assert {text: lasting(seconds) for text, seconds in lags.items()} == {text: text for text in lags}
    assert lasting(timedelta(days=800).total_seconds()) == "2 years"


def seen(server_url: str, *arguments: str) -> str:
    """Returns what a command shows at a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from observatory.cli import main; main()", *arguments]
    env = {**os.environ, "OBSERVATORY_URL": server_url, "COLUMNS": "160", "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(command, env=env, stdout=theirs, stderr=subprocess.DEVNULL):
        os.close(theirs)
        out = b""
        # A terminal that its last process has left is broken, which is how its end is told.
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while part := terminal.read(4096):
                    out += part
            except OSError:
                pass
    return out.decode()
