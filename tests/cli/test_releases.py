"""What of a dataset is there, what is missing, and what was found bad."""

import json
from pathlib import Path

import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi
from observatory.cli.times import time_of

from .conftest import Type

BOOKS = "Curtin Press/sales/books"
HEAD = "id\tstart_date\tend_date\tstate\trevision\tversion_label\trow_count\treason\n"


@pytest.fixture
def months(api: ObservatoryApi, dataset: Dataset) -> Dataset:
    """A dataset with January, February and April of 2021, and a snapshot of its first of May."""
    for start, end in ("01", "02"), ("02", "03"), ("04", "05"), ("05", "05"):
        first, behind = time_of(f"2021-{start}-01"), time_of(f"2021-{end}-01")
        api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=first, end_date=behind))
    return dataset


def test_a_release_is_recorded_with_its_facts(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    facts = ["--row-count", "10", "--version-label", "v1", "--published", "2021-02-03T10:00+02:00"]
    said = observatory("releases", "add", BOOKS, "2021-01-01", "2021-02-01", *facts, "-o", "json")
    assert said.code == 0
    [release] = api.get_dataset_releases()
    assert release.id == json.loads(said.out)["id"]
    assert (release.row_count, release.version_label) == (10, "v1")
    assert release.published == time_of("2021-02-03T08:00Z")

    assert observatory("releases", "add", BOOKS, "2021-01-01", "2021-02-01", *facts).code == 0
    said = observatory("releases", "add", BOOKS, "2021-01-01", "2021-02-01", "--row-count", "11")
    assert (said.code, "is 10 in the book, not 11" in said.err) == (1, True)
    why = ["--state", "empty", "--reason", "nothing was sold"]
    assert observatory("releases", "add", BOOKS, "2021-02-01", "2021-03-01", *why).code == 0
    assert [release.state for release in api.get_dataset_releases()] == ["present", "empty"]


def test_releases_are_listed_by_period(observatory: Type, months: Dataset) -> None:
    assert observatory("releases", "list", BOOKS).out == (
        HEAD
        + "1\t2021-01-01\t2021-02-01\tpresent\t1\t\t\t\n"
        + "2\t2021-02-01\t2021-03-01\tpresent\t1\t\t\t\n"
        + "3\t2021-04-01\t2021-05-01\tpresent\t1\t\t\t\n"
        + "4\t2021-05-01\t2021-05-01\tpresent\t1\t\t\t\n"
    )
    span = observatory(
        "releases", "list", BOOKS, "--from", "2021-02-10", "--until", "2021-04-10", "-o", "json"
    )
    assert [release["id"] for release in json.loads(span.out)] == [2, 3]
    assert observatory("releases", "list", BOOKS, "--limit", "1").err.startswith("note: there are more")
    assert observatory("releases", "list", "1", "--state", "withdrawn").out == HEAD
    assert observatory("releases", "list", "99").err == "error: Dataset 99 does not exist\n"
    assert "state\tpresent\n" in observatory("releases", "get", "3").out


def test_coverage_is_runs_and_gaps(observatory: Type, months: Dataset) -> None:
    said = observatory("coverage", BOOKS)
    assert said.out == (
        "what\tstart_date\tend_date\n"
        "covered\t2021-01-01\t2021-03-01\n"
        "gap\t2021-03-01\t2021-04-01\n"
        "covered\t2021-04-01\t2021-05-01\n"
    )
    assert said.err == "snapshots beside these, each of one moment: 1\n"
    span = json.loads(observatory("coverage", BOOKS, "--from", "2020-01-01", "-o", "json").out)
    assert [gap["start_date"] for gap in span["gaps"]][:2] == ["2020-01-01T00:00:00Z", "2021-03-01T00:00:00Z"]


@pytest.mark.parametrize(
    "offered",
    [
        "2021-01-01 2021-02-01\n# no sales\n\n2021-03-01\t2021-04-01 # late\n2021-05-01 2021-05-01",
        "2021-01-01 00:00:00, 2021-02-01 00:00:00+00:00\n2021-03-01, 2021-04-01\n2021-05-01,2021-05-01\n",
        "name,start_date,end_date\na,2021-01-01,2021-02-01\nb,2021-03-01,2021-04-01\nc,2021-05-01,2021-05-01\n",
        "\nstart_date\tend_date\n2021-01-01\t2021-02-01\n2021-03-01\t2021-04-01\n2021-05-01\t2021-05-01\n",
        '[["2021-01-01", "2021-02-01T00:00Z"], {"start_date": "2021-03-01", "end_date": "2021-04-01"},'
        ' ["2021-05-01", "2021-05-01"]]',
    ],
)
def test_missing_is_what_is_offered_and_not_there(observatory: Type, months: Dataset, offered: str) -> None:
    said = observatory("releases", "missing", BOOKS, stdin=offered)
    assert said.code == 3
    assert said.out == "start_date\tend_date\n2021-03-01\t2021-04-01\n"
    assert said.err == "1 of 3 periods are missing\n"
    # What it writes, it reads.
    assert observatory("releases", "missing", BOOKS, stdin=said.out).out == said.out
    in_json = observatory("releases", "missing", BOOKS, "-o", "json", stdin=offered).out
    assert observatory("releases", "missing", BOOKS, stdin=in_json).out == said.out


def test_nothing_is_missing(observatory: Type, months: Dataset, tmp_path: Path) -> None:
    offered = tmp_path / "offered"
    offered.write_text("2021-01-01 2021-02-01\n")
    said = observatory("releases", "missing", BOOKS, "--file", str(offered))
    assert (said.code, said.out) == (0, "start_date\tend_date\n")
    assert observatory("releases", "missing", BOOKS, stdin="[]").code == 0


@pytest.mark.parametrize(
    ("offered", "error"),
    [
        ("", "no periods were given"),
        ("2021-01-01 2021-02-01\n2021-02-01\n", "line 2 of the periods holds no start and end"),
        ("2021-01-01 10:00 2021-02-01\n", "line 1 of the periods holds no start and end"),
        ("# x\n2021-01-32 2021-02-01\n", "line 2 of the periods: '2021-01-32' is no time: write 2021-01-31"),
        ("2021-02-01 2021-01-01", "line 1 of the periods ends before it starts"),
        ("start_date,end\n2021-01-01,2021-01-02", "line 2 of the periods holds no start and end"),
        ('[{"start_date": 5, "end_date": "2021-01-01"}]', "[0] of the periods holds no start and end"),
        ('["2021-01-01"]', "[0] of the periods holds no start and end"),
        ("[1", "the periods are not JSON"),
    ],
)
def test_what_is_no_period_is_named(anywhere: Type, offered: str, error: str) -> None:
    said = anywhere("releases", "missing", "1", stdin=offered)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert error in said.err


def test_a_release_is_withdrawn_and_missing_again(
    observatory: Type, api: ObservatoryApi, months: Dataset
) -> None:
    said = observatory("releases", "withdraw", "2", "--reason", "twice the rows")
    assert (said.code, said.out) == (
        0,
        HEAD + "2\t2021-02-01\t2021-03-01\twithdrawn\t1\t\t\ttwice the rows\n",
    )
    assert observatory("releases", "missing", "1", stdin="2021-02-01 2021-03-01").code == 3
    assert observatory("releases", "withdraw", "2").code == 2
    assert api.get_dataset_release(2).reason == "twice the rows"


def test_all_releases_of_a_period_are_withdrawn_after_a_yes(
    observatory: Type, api: ObservatoryApi, months: Dataset
) -> None:
    period = ["releases", "withdraw", BOOKS, "2021-01-01", "2021-04-10", "--reason", "wrong"]
    said = observatory(*period)
    assert (said.code, "say --yes" in said.err) == (2, True)
    assert observatory(*period, answer="n\n").out == ""
    assert len(api.get_dataset_releases()) == 4

    said = observatory(*period, "--output", "json", answer="y\n")
    assert [(release["id"], release["state"]) for release in json.loads(said.out)] == [
        (1, "withdrawn"),
        (2, "withdrawn"),
    ]
    assert "note: 1 more reach beyond the period and are left as they are" in said.err
    said = observatory(*period, "--yes")
    assert (said.code, "no release lies within 2021-01-01 to 2021-04-10" in said.err) == (1, True)


def test_a_snapshot_is_withdrawn_by_its_moment(
    observatory: Type, api: ObservatoryApi, months: Dataset
) -> None:
    said = observatory("releases", "withdraw", BOOKS, "2021-05-01", "2021-05-01", "--reason", "wrong")
    assert said.code == 0
    assert [release.id for release in api.get_dataset_releases()] == [1, 2, 3]


def test_a_wrong_id_withdraws_nothing(observatory: Type, api: ObservatoryApi, months: Dataset) -> None:
    assert observatory("releases", "withdraw", "1", "99", "--reason", "x", "--yes").code == 1
    assert observatory("releases", "withdraw", BOOKS, "2021-01-01", "--reason", "x").code == 2
    assert observatory("releases", "withdraw", BOOKS, "2021-01-01", "tomorrow", "--reason", "x").code == 2
    assert len(api.get_dataset_releases()) == 4


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2021-01-31", "2021-01-31T00:00:00+00:00"),
        ("2021-01-31T12:00", "2021-01-31T12:00:00+00:00"),
        ("2021-01-31T12:00:00+02:00", "2021-01-31T10:00:00+00:00"),
        ("20210131T120000Z", "2021-01-31T12:00:00+00:00"),
    ],
)
def test_a_time_without_zone_is_utc(text: str, utc: str) -> None:
    assert time_of(text).isoformat() == utc
