"""What is missing, claimed and given back at a terminal."""

import json

import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi
from observatory.cli.times import time_of

from .conftest import Type

BOOKS = "Curtin Press/sales/books"


@pytest.fixture
def withdrawn(api: ObservatoryApi, dataset: Dataset) -> None:
    """Two months that are missing, since they were withdrawn."""
    for start, end in (("2021-01-01", "2021-02-01"), ("2021-02-01", "2021-03-01")):
        made = DatasetRelease(dataset=dataset, start_date=time_of(start), end_date=time_of(end))
        bad = api.post_dataset_release(made)
        api.put_dataset_release(DatasetRelease(id=bad.id, state="withdrawn", reason="half of it"))


@pytest.mark.usefixtures("withdrawn")
def test_what_is_missing_is_claimed_renewed_and_given_back(observatory: Type) -> None:
    said = observatory("claim", BOOKS, "--limit", "2", "--holder", "ann", "--order", "newest")
    assert (said.code, said.err.startswith("claim 1: 2 periods until 20")) == (0, True)
    assert said.out.splitlines()[1:] == [
        "2021-01-01\t2021-02-01\twithdrawn\t\t0\t",
        "2021-02-01\t2021-03-01\twithdrawn\t\t0\t",
    ]
    said = observatory("claim", BOOKS)
    assert (said.code, said.err) == (0, "nothing is missing that nobody holds\n")
    listed = observatory("claims", "list", BOOKS, "--live", "-o", "json")
    assert [one["holder"] for one in json.loads(listed.out)] == ["ann"]
    told = ("--outcome", "failed", "--error", "no disk", "--retry-after", "0")
    assert observatory("give-back", "1", "2021-01-01", "2021-02-01", *told).code == 0
    said = observatory("claims", "renew", "1", "--seconds", "60")
    assert said.out == "start_date\tend_date\n2021-02-01\t2021-03-01\n"
    assert said.err.startswith("holds 1 of its 2 periods until 20")
    assert observatory("releases", "add", BOOKS, "2021-02-01", "2021-03-01").code == 1
    assert observatory("releases", "add", BOOKS, "2021-02-01", "2021-03-01", "--claim", "1").code == 0
    assert observatory("give-back", "1").code == 0
    assert observatory("claims", "list", "--live").out == "\t".join(
        ["id", "holder", "until", "ended", "periods", "dataset\n"]
    )
    again = observatory("claim", BOOKS, "--reason", "failed", "-o", "json")
    assert [one["error"] for one in json.loads(again.out)["releases"]] == ["no disk"]


@pytest.mark.parametrize(
    ("typed", "code", "error"),
    [
        (["give-back", "1", "2021-01-01"], 2, "a period has a START and an END"),
        (["give-back", "1"], 1, "Claim 1 does not exist"),
        (["claim", BOOKS, "--seconds", "86401"], 1, "seconds"),
        (["claim", BOOKS, "--reason", "bad"], 2, "--reason"),
    ],
)
def test_what_is_typed_wrongly_is_named(
    observatory: Type, dataset: Dataset, typed: list[str], code: int, error: str
) -> None:
    said = observatory(*typed)
    assert (said.code, error in said.err) == (code, True), said.err
