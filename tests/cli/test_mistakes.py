"""What is wrong in a catalogue file is told with its line and its cure, and nothing is done."""

from pathlib import Path

import pytest

from observatory import ObservatoryApi

from .conftest import Type


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


def test_of_many_mistakes_the_first_are_told(anywhere: Type, catalogue: Path) -> None:
    catalogue.write_text("organisations:\n" + "- name: 1\n" * 1000)
    lines = anywhere("apply", str(catalogue)).err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "error: and more: mend these first"


def test_a_file_that_cannot_be_read_is_named(anywhere: Type, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("organisations: [{name: é}]".encode("latin-1"))
    assert anywhere("apply", "/nowhere").err == "error: /nowhere: cannot be read: No such file or directory\n"
    assert "is not UTF-8" in anywhere("apply", str(tmp_path / "latin.yaml")).err
    assert "is larger than 16 MiB" in anywhere("apply", "-", stdin="#" * (16 * 2**20 + 1)).err
