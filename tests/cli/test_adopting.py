"""What is in storage already, adopted at a terminal."""

import json

import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi
from observatory.cli.times import time_of

from .conftest import Type

BOOKS = "Curtin Press/sales/books"
MONTHS = ["adopt", BOOKS, "--from", "2021-01-01", "--until", "2021-04-01", "--step", "month"]
SEEN = ["--evidence", "table=a.b.c", "--evidence", "rows=120", "--reason", "moved in"]


def test_months_are_adopted_as_often_as_is_typed(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    said = observatory(*MONTHS, *SEEN)
    assert (said.code, said.out) == (0, "")
    assert said.err == "3 recorded, 0 there already, 0 in conflict\n"
    [first, *_] = api.get_dataset_releases()
    assert first.extras == {"evidence": {"table": "a.b.c", "rows": 120}}
    said = observatory(*MONTHS, *SEEN, "-o", "json")
    assert json.loads(said.out)["there_already"] == 3


def test_a_conflict_is_listed_and_ends_with_1(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    start, end = time_of("2021-02-01"), time_of("2021-03-01")
    api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=start, end_date=end, state="empty"))
    said = observatory(*MONTHS, *SEEN)
    assert said.code == 1
    assert said.out.startswith("start_date\tend_date\twhy\n2021-02-01\t2021-03-01\trelease 1 ")
    assert said.err == "2 recorded, 0 there already, 1 in conflict\n"


@pytest.mark.parametrize(
    ("typed", "code", "error"),
    [
        (["--evidence", "table", "--reason", "r"], 2, "write it as KEY=VALUE"),
        (["--reason", "r"], 2, "--evidence"),
        (["--evidence", "a=b"], 2, "--reason"),
        ([*SEEN, "--step", "year"], 1, "is not the beginning of a year in UTC"),
    ],
)
def test_what_is_typed_wrongly_is_named(
    observatory: Type, dataset: Dataset, typed: list[str], code: int, error: str
) -> None:
    said = observatory(*MONTHS, *typed)
    assert (said.code, error in said.err) == (code, True), said.err
