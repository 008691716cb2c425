"""A catalogue that says when periods of a dataset are expected, and what a dataset is made from."""

from pathlib import Path

import pytest

from observatory import Dataset, ObservatoryApi, Organisation, Workflow
from observatory.cli.times import time_of
from observatory.records import Cadence

from .conftest import PRESS, Type

BOOKS = "Curtin Press/sales/books"
EXPECTED = (
    PRESS
    + """\
    shrink_guard: 5
    cadence:
      cron: 0 6 * * 1-5
      expected_from: 2021-01-04
      timezone: Europe/London
      each: snapshot
      exclude: [2021-12-27, 2021-12-28]
      include: [2021-12-25, "2021-12-26T12:00:00+01:00"]
      grace: 3600
    inputs: [Curtin Press/sales/loans, Curtin Press/sales/authors]
  - name: loans
    workflow: Curtin Press/sales
    dataset_type: book_sales
    service: s
    address: a
    inputs: [Curtin Press/sales/authors]
  - {name: authors, workflow: Curtin Press/sales, dataset_type: book_sales, service: s, address: a}
"""
)
WEEKDAYS = Cadence(
    "0 6 * * 1-5",
    time_of("2021-01-04"),
    "Europe/London",
    "snapshot",
    [time_of("2021-12-27").date(), time_of("2021-12-28").date()],
    [time_of("2021-12-25"), time_of("2021-12-26T11:00")],
    None,
    3600,
)


@pytest.fixture
def file(observatory: Type, tmp_path: Path) -> Path:
    """A file that was applied, in which a dataset stands above those that it is made from."""
    file = tmp_path / "expected.yaml"
    file.write_text(EXPECTED)
    said = observatory("apply", str(file), "--yes")
    assert (said.code, said.err) == (0, "")
    return file


def by_name(api: ObservatoryApi) -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in api.get_datasets()}


def test_a_dataset_is_expected_and_made_from_others_as_a_file_says(
    observatory: Type, api: ObservatoryApi, file: Path
) -> None:
    found = by_name(api)
    assert found["books"].cadence == WEEKDAYS
    assert found["books"].shrink_guard == 5
    assert found["books"].inputs == sorted([found["loans"].id, found["authors"].id])
    assert found["loans"].inputs == [found["authors"].id]
    assert observatory("apply", str(file)).out == "nothing to do: 7 records are as the file says\n"


def test_an_export_says_what_is_expected_and_is_applied_unchanged(
    observatory: Type, api: ObservatoryApi, file: Path, tmp_path: Path
) -> None:
    owner = api.post_organisation(Organisation(name="Curtin Press/sales"))
    twice = Workflow(name="loans", organisation=owner, workflow_type=api.get_workflow_types()[0])
    kind = api.get_dataset_types()[0]
    made = {"dataset_type": kind, "service": "s", "address": "a"}
    other = api.post_dataset(Dataset(name="x", workflow=api.post_workflow(twice), **made))  # type: ignore[arg-type]
    nested = Workflow(
        name="sales/loans",
        organisation=api.get_organisations(name="Curtin Press")[0],
        workflow_type=api.get_workflow_types()[0],
    )
    api.post_dataset(Dataset(name="x", workflow=api.post_workflow(nested), **made))  # type: ignore[arg-type]
    api.put_dataset(Dataset(id=by_name(api)["authors"].id, inputs=[other.id]))

    whole = tmp_path / "whole.yaml"
    assert observatory("export", str(whole)).code == 0
    text = whole.read_text()
    assert "  - Curtin Press/sales/authors\n  - Curtin Press/sales/loans\n" in text
    assert "  - organisation: Curtin Press/sales\n    workflow: loans\n    name: x\n" in text
    assert "    expected_from: '2021-01-04'\n" in text
    assert observatory("apply", str(whole)).out.startswith("nothing to do")

    found = by_name(api)
    for name in ("books", "loans", "authors"):
        api.delete_dataset(found[name].id)
    said = observatory("apply", str(whole), "--yes")
    assert (said.code, said.out.splitlines()[-1]) == (0, "3 created, 0 changed")
    assert observatory("export").out == text


def test_what_is_expected_otherwise_is_shown_and_changed(
    observatory: Type, api: ObservatoryApi, file: Path
) -> None:
    changed = """
    datasets:
      - name: books
        workflow: Curtin Press/sales
        shrink_guard: null
        cadence: null
        inputs: [Curtin Press/sales/authors]
    """
    said = observatory("apply", "-", "--yes", stdin=changed)
    assert said.code == 0
    assert "    shrink_guard: 5 → –\n" in said.out
    authors, loans = "Curtin Press/sales/authors", "Curtin Press/sales/loans"
    assert f'    inputs: ["{authors}", "{loans}"] → ["{authors}"]\n' in said.out
    assert '    cadence: {"cron": "0 6 * * 1-5", "expected_from": "2021-01-04T00:00:00Z"' in said.out
    found = by_name(api)
    assert (found["books"].cadence, found["books"].shrink_guard) == (None, None)
    assert found["books"].inputs == [found["authors"].id]
    # What the file does not say stays.
    assert (
        observatory("apply", "-", stdin="datasets: [{name: loans, workflow: Curtin Press/sales}]").code == 0
    )
    assert found["loans"].inputs == [found["authors"].id]


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("cadence: daily", "datasets[0].cadence: must be a mapping, as in {cron:"),
        ("cadence: {cron: 0 6 * * *}", "datasets[0].cadence: Object missing required field `expected_from`"),
        ("cadence: {cron: 0 6 * * *, expected_from: soon}", "datasets[0].cadence: 'soon' is no time"),
        ("cadence: {cron: x, expected_from: 2021-01-01, gracious: 5}", "'gracious' is none of cron"),
        ("inputs: Curtin Press/sales/loans", "datasets[0].inputs: must be a list"),
        ("inputs: [Curtin Press/sales/loan]", "datasets[0].inputs[0]: there is no dataset"),
        ("inputs: [5]", "datasets[0].inputs[0]: must be a text: the organisation/workflow/dataset"),
        ("shrink_guard: 101", "datasets[0].shrink_guard: Expected `int` <= 100"),
    ],
)
def test_what_cannot_be_expected_is_named_with_its_line(
    observatory: Type, file: Path, told: str, error: str
) -> None:
    text = f"datasets:\n  - name: books\n    workflow: Curtin Press/sales\n    {told}\n"
    said = observatory("apply", "-", "--yes", stdin=text)
    assert (said.code, error in said.err) == (2, True), said.err
    assert said.err.startswith("error: standard input:4: ")


def test_a_circle_of_inputs_is_named(observatory: Type, file: Path) -> None:
    circle = EXPECTED.replace("service: s, address: a}", f"service: s, address: a, inputs: [{BOOKS}]}}")
    said = observatory("apply", "-", "--yes", stdin=circle)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"{BOOKS} from Curtin Press/sales/authors from {BOOKS}" in said.err


def test_a_dataset_with_all_that_is_expected_of_it_is_shown(observatory: Type, file: Path) -> None:
    said = observatory("datasets", "get", BOOKS)
    assert (said.code, 'cadence\t{"cron": "0 6 * * 1-5", ' in said.out) == (0, True)
    assert observatory("datasets", "list").code == 0
    said = observatory("datasets", "update", BOOKS, "--input", "Curtin Press/sales/loans", "-o", "json")
    assert '"inputs": [\n    2\n  ]' in said.out
