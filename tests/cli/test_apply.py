"""A catalogue file and a book: the one is put into the other, and got out again."""

import json
from pathlib import Path
from typing import Any

import pytest

from observatory import (
    Conflict,
    Dataset,
    DatasetType,
    Invalid,
    ObservatoryApi,
    Organisation,
    Workflow,
    WorkflowType,
)
from observatory.cli.catalogue.entries import KINDS, OPTIONAL
from observatory.cli.keys import fields_of, plural, singular
from observatory.records import relations

from .conftest import Type

EXAMPLE = Path(__file__).parents[2] / "examples" / "catalogue.yaml"

PRESS = """
organisations:
  - {name: Curtin Press, extras: {contact: press@example.org, since: 2021-01-31}}
workflow_types:
  - {type_id: sales, name: Sales}
dataset_types:
  - {type_id: book_sales, name: Book sales, table_type: sharded}
workflows:
  - {name: sales, organisation: Curtin Press, workflow_type: sales, tags: [books]}
datasets:
  - name: books
    workflow: Curtin Press/sales
    dataset_type: book_sales
    service: bigquery
    address: a.b.c
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    file = tmp_path / "catalogue.yaml"
    file.write_text(PRESS)
    return file


def test_the_example_is_applied_once(observatory: Type, api: ObservatoryApi) -> None:
    first = observatory("apply", str(EXAMPLE), "--yes")
    assert (first.code, first.err) == (0, "")
    [codes, _] = api.get_datasets()
    assert codes.workflow.organisation.extras == {"contact": "data@example.org"}
    assert json.loads(codes.workflow.tags) == ["astronomy", "reference"]
    assert codes.dataset_type.table_type.type_id == "sharded"

    versions = [dataset.version for dataset in api.get_datasets()]
    again = observatory("apply", str(EXAMPLE))
    assert (again.code, again.out.partition(":")[0]) == (0, "nothing to do")
    assert [dataset.version for dataset in api.get_datasets()] == versions


def test_an_export_makes_the_same_book_again(
    observatory: Type, api: ObservatoryApi, catalogue: Path, tmp_path: Path
) -> None:
    observatory("apply", str(catalogue), "--yes")
    make_it_difficult(api)
    whole = tmp_path / "whole.yaml"
    assert observatory("export", str(whole)).code == 0
    text = whole.read_text()
    assert observatory("apply", str(whole)).out == "nothing to do: 18 records are as the file says\n"

    for kind in (Dataset, Workflow, DatasetType, WorkflowType, Organisation):
        for record in getattr(api, f"get_{plural(kind)}")():
            getattr(api, f"delete_{singular(kind)}")(record.id)
    assert observatory("apply", str(whole), "--yes").code == 0
    assert observatory("export").out == text


def make_it_difficult(api: ObservatoryApi) -> None:
    """Adds two workflows of one path, equal values, and texts that YAML takes for something else."""
    [sales] = api.get_workflow_types()
    [kind] = api.get_dataset_types()
    extras = {
        "no": "no",
        "1": "1e5",
        "when": "12:30",
        "none": None,
        "many": [{"a": 1.5}, {"a": 1.5}],
        "": "é\u2028 ",
    }
    for name, workflow in {"a": "b/c", "a/b": "c"}.items():
        owner = api.post_organisation(Organisation(name=name, extras=extras))
        made = api.post_workflow(
            Workflow(name=workflow, organisation=owner, workflow_type=sales, extras=extras)
        )
        for number in ("1", "null", "x/y"):
            api.post_dataset(
                Dataset(
                    name=number, workflow=made, dataset_type=kind, service="~", address="- x: &y", extras={}
                )
            )


def test_only_what_differs_is_changed_and_shown(
    observatory: Type, api: ObservatoryApi, catalogue: Path
) -> None:
    observatory("apply", str(catalogue), "--yes")
    catalogue.write_text(
        PRESS.replace("a.b.c", "a.b.d").replace("press@", "sales@").replace("since: 2021-01-31", "open: true")
    )
    said = observatory("apply", str(catalogue), "--yes")
    assert said.out == (
        "~ organisation Curtin Press\n"
        "    extras.contact: press@example.org → sales@example.org\n"
        "    extras.open: true\n"
        "    extras.since: 2021-01-31 → (removed)\n"
        "~ dataset Curtin Press/sales/books\n"
        "    address: a.b.c → a.b.d\n"
        "2 to change, 3 as the file says\n"
        "0 created, 2 changed\n"
    )
    [dataset] = api.get_datasets()
    assert (dataset.address, dataset.version) == ("a.b.d", 2)
    assert api.get_organisations()[0].extras == {"contact": "sales@example.org", "open": True}
    assert api.get_workflows()[0].version == 1


def test_what_the_file_does_not_say_stays(observatory: Type, api: ObservatoryApi, catalogue: Path) -> None:
    observatory("apply", str(catalogue), "--yes")
    catalogue.write_text("datasets: [{name: books, workflow: Curtin Press/sales, service: duckdb}]")
    assert observatory("apply", str(catalogue), "--yes").code == 0
    [dataset] = api.get_datasets()
    assert (dataset.service, dataset.address) == ("duckdb", "a.b.c")
    assert len(api.get_organisations()) == 1


def test_nothing_is_done_without_a_yes(observatory: Type, api: ObservatoryApi, catalogue: Path) -> None:
    assert observatory("apply", str(catalogue), "--dry-run").code == 0
    assert observatory("apply", str(catalogue), answer="n\n").code == 0
    piped = observatory("apply", str(catalogue))
    assert (piped.code, "say --yes" in piped.err) == (2, True)
    assert "+ dataset Curtin Press/sales/books\n" in piped.out
    assert api.get_organisations() == []

    assert observatory("apply", str(catalogue), answer="y\n").code == 0
    assert len(api.get_datasets()) == 1


def test_a_file_comes_through_a_pipe(observatory: Type, api: ObservatoryApi) -> None:
    assert observatory("apply", "-", "--yes", stdin=PRESS).code == 0
    assert len(api.get_datasets()) == 1


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    observatory: Type, api: ObservatoryApi, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observatory("apply", str(catalogue), "--yes")
    [dataset] = api.get_datasets()
    catalogue.write_text(PRESS.replace("a.b.c", "a.b.d"))

    def agreed(*_: object) -> bool:
        api.put_dataset(Dataset(id=dataset.id, address="x.y.z"))
        return True

    monkeypatch.setattr("observatory.cli.catalogue.agreed", agreed)
    said = observatory("apply", str(catalogue))
    assert (said.code, "somebody changed it since" in said.err) == (1, True)
    assert "0 of 1 done; apply the file again" in said.err
    assert api.get_dataset(dataset.id).address == "x.y.z"


def test_what_was_begun_is_finished_by_applying_the_file_again(
    observatory: Type, api: ObservatoryApi, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Conflict("not now")

    with monkeypatch.context() as broken:
        broken.setattr("observatory.client.ObservatoryApi.put_workflow", fail)
        said = observatory("apply", str(catalogue), "--yes")
    assert said.err == "3 of 5 done; apply the file again to go on from there\nerror: not now\n"
    assert observatory("apply", str(catalogue), "--yes").out.endswith("2 created, 0 changed\n")


def test_what_a_new_record_must_say_is_what_the_book_asks_for(observatory: Type, api: ObservatoryApi) -> None:
    observatory("apply", "-", "--yes", stdin=PRESS)
    for kind in KINDS:
        post = getattr(api, f"post_{singular(kind)}")
        whole: dict[str, Any] = {field: "x" for field in fields_of(kind) if field not in OPTIONAL}
        whole |= {field: other(id=1) for field, other in relations(kind).items()}
        for field in whole:
            said = {name: value for name, value in whole.items() if name != field}
            with pytest.raises(Invalid, match=f"{field}: is required"):
                post(kind(**said))
        post(kind(**whole))


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("", ["f.yaml: is empty: it has lists under organisations"]),
        ("- x", ["f.yaml:1: is no catalogue"]),
        ("workflow: []", ["f.yaml:1: workflow: is no part of a catalogue: did you mean workflows?"]),
        ("\ndatasets: {a: 1}", ["f.yaml:2: datasets: must be a list: begin each dataset with a dash"]),
        (
            "datasets:\n- x",
            ["f.yaml:2: datasets[0]: must say name, workflow, dataset_type, service, address"],
        ),
        (
            "organisations:\n- {nam: x}\n- name: 5\n- name: ''\n- {name: x, extras: 3}\n"
            "- {name: 'a\tb', id: 1}",
            [
                "f.yaml:2: organisations[0].nam: is not a field of an organisation: did you mean name?",
                "f.yaml:3: organisations[1].name: must be a text: put it in quotes",
                "f.yaml:4: organisations[2].name: must not be empty",
                "f.yaml:5: organisations[3].extras: must be a mapping",
                "f.yaml:6: organisations[4].id: is not a field of an organisation: it is one of name, extras",
                "f.yaml:6: organisations[4].name: holds a control character",
            ],
        ),
        (
            "table_types:\n- {type_id: x, name: X, granularity: days}\nworkflows:\n- tags: a\n- tags: [1]",
            [
                "f.yaml:2: table_types[0].granularity: must be one of hour, day, month, year",
                "f.yaml:4: workflows[0].tags: must be a list, as in [sales, books]",
                'f.yaml:5: workflows[1].tags: must be a JSON list of texts, as in ["sales"]',
            ],
        ),
    ],
)
def test_each_mistake_is_told_with_its_line_and_its_cure(
    anywhere: Type, catalogue: Path, text: str, errors: list[str]
) -> None:
    assert_told(anywhere, catalogue, text, errors)


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        (
            "organisations:\n- name: a\n- name: b\n- name: a",
            ["f.yaml:4: organisations[2].name: 'a' is described on line 2 already"],
        ),
        (
            "workflows:\n- {name: w, organisation: nobody}\n- {organisation: 3}\n"
            "datasets:\n- {workflow: {name: w}}",
            [
                "f.yaml:2: workflows[0].organisation: there is no organisation 'nobody' in this file or",
                "f.yaml:2: workflows[0].workflow_type: is required",
                "f.yaml:3: workflows[1].organisation: must be a text: the name of an organisation, in quotes",
                "f.yaml:3: workflows[1].name: is required",
                "f.yaml:3: workflows[1].workflow_type: is required",
                "f.yaml:5: datasets[0].workflow: must be a text: the organisation/workflow of a workflow",
                "f.yaml:5: datasets[0].name: is required",
                "f.yaml:5: datasets[0].dataset_type: is required",
                "f.yaml:5: datasets[0].service: is required",
                "f.yaml:5: datasets[0].address: is required",
            ],
        ),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_mistake_that_only_the_book_shows_is_told_too(
    observatory: Type, api: ObservatoryApi, catalogue: Path, text: str, errors: list[str]
) -> None:
    assert_told(observatory, catalogue, text, errors)
    assert api.get_organisations() == []


def assert_told(type_: Type, file: Path, text: str, errors: list[str]) -> None:
    file.write_text(text)
    said = type_("apply", str(file), "--yes")
    assert said.code == 2
    for line, error in zip(said.err.splitlines(), errors, strict=True):
        assert line.replace(str(file), "f.yaml").startswith(f"error: {error}")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_path_that_two_workflows_have_is_asked_about(observatory: Type, catalogue: Path) -> None:
    catalogue.write_text("""
organisations: [{name: a}, {name: a/b}]
workflow_types: [{type_id: t, name: T}]
dataset_types: [{type_id: d, name: D, table_type: regular}]
workflows:
  - {name: b/c, organisation: a, workflow_type: t}
  - {name: c, organisation: a/b, workflow_type: t}
datasets:
  - {name: x, workflow: a/b/c, dataset_type: d, service: s, address: x}
""")
    assert (
        "'a/b/c' names several: write {organisation: …, name: …}" in observatory("apply", str(catalogue)).err
    )
    catalogue.write_text(catalogue.read_text().replace("a/b/c", "{organisation: a/b, name: c}"))
    assert observatory("apply", str(catalogue), "--yes").code == 0


def test_a_file_that_cannot_be_read_is_named(anywhere: Type, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("organisations: [{name: é}]".encode("latin-1"))
    assert anywhere("apply", "/nowhere").err == "error: /nowhere: cannot be read: No such file or directory\n"
    assert "is not UTF-8" in anywhere("apply", str(tmp_path / "latin.yaml")).err
    assert "is larger than 16 MiB" in anywhere("apply", "-", stdin="#" * (16 * 2**20 + 1)).err
