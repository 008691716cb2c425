"""Every plain record is listed, shown, created, changed and removed in the same way."""

import json

import msgspec
import pytest

from observatory import Dataset, ObservatoryApi, Organisation, Workflow

from .conftest import Type

BOOKS = "Curtin Press/sales/books"


def test_records_are_made_by_the_keys_of_what_they_refer_to(observatory: Type, api: ObservatoryApi) -> None:
    observatory("organisations", "create", "--name", "Curtin Press", "--extras", '{"since": 2021}')
    observatory("workflow-types", "create", "--type-id", "sales", "--name", "Sales")
    observatory("dataset-types", "create", "--type-id", "d", "--name", "D", "--table-type", "sharded")
    tags = ["--tags", "sales, books", "--tag", "a,b"]
    of = ["--organisation", "Curtin Press", "--workflow-type-id", "1"]
    observatory("workflows", "create", "--name", "sales", *of, *tags)
    of = ["--workflow", "Curtin Press/sales", "--dataset-type", "d"]
    said = observatory(
        "datasets", "create", "--name", "x", "--service", "s", "--address", "a", *of, "-o", "json"
    )

    assert said.code == 0
    assert json.loads(said.out) == msgspec.to_builtins(api.get_dataset(1))
    workflow = api.get_workflow(1)
    assert json.loads(workflow.tags) == ["sales", "books", "a,b"]
    assert workflow.organisation.extras == {"since": 2021}


def test_only_the_given_fields_are_changed(observatory: Type, api: ObservatoryApi, dataset: Dataset) -> None:
    assert observatory("datasets", "update", BOOKS, "--address", "x.y.z").code == 0
    assert observatory("workflows", "update", "1", "--tags", "", "--name", "sold").code == 0
    assert observatory("table-types", "update", "sharded", "--granularity", "none").code == 0
    changed = api.get_dataset(dataset.id)
    assert (changed.service, changed.address, changed.version) == ("bigquery", "x.y.z", 2)
    assert (changed.workflow.tags, changed.workflow.name) == ("[]", "sold")
    assert changed.dataset_type.table_type.granularity is None
    assert observatory("table-types", "update", "sharded", "--granularity", "day").code == 0

    said = observatory("datasets", "update", "1", "--name", "y", "--version", "1")
    assert (said.code, "at version 2, not 1" in said.err) == (1, True)
    said = observatory("datasets", "update", "1")
    assert (said.code, "say what to change" in said.err) == (2, True)


def test_a_list_is_of_what_is_asked_for(observatory: Type, api: ObservatoryApi, dataset: Dataset) -> None:
    row = f"{dataset.id}\tbooks\tCurtin Press/sales\tbook_sales\tbigquery\ta.b.c\n"
    head = "id\tname\tworkflow\tdataset_type\tservice\taddress\n"
    for asked in (
        [],
        ["--organisation", "Curtin Press"],
        ["--workflow", "Curtin Press/sales", "--service", "bigquery"],
        ["--tag", "sales_partner", "--dataset-type", "book_sales", "--name", "books"],
        ["--workflow-id", "1", "--limit", "1"],
    ):
        assert observatory("datasets", "list", *asked).out == head + row
    assert observatory("datasets", "list", "--tag", "other").out == head
    said = observatory("datasets", "list", "--organisation", "Nobody")
    assert (said.code, "there is no organisation 'Nobody'" in said.err) == (1, True)
    said = observatory("workflows", "list", "--organisation", "Curtin Press", "--organisation-id", "1")
    assert (said.code, "give one of them" in said.err) == (2, True)


def test_a_list_that_was_cut_says_so(observatory: Type, api: ObservatoryApi) -> None:
    said = observatory("table-types", "list", "--limit", "2", "--output", "json")
    assert [kind["type_id"] for kind in json.loads(said.out)] == ["regular", "sharded"]
    assert said.err.startswith("note: there are more table-types than the limit of 2")


def test_a_record_is_shown_by_its_id_or_its_key(observatory: Type, dataset: Dataset) -> None:
    for which in (str(dataset.id), BOOKS):
        shown = dict(line.split("\t") for line in observatory("datasets", "get", which).out.splitlines())
        assert (shown["workflow"], shown["address"], shown["version"]) == ("Curtin Press/sales", "a.b.c", "1")
    assert "type_id\tsharded\n" in observatory("table-types", "get", "sharded").out
    said = observatory("datasets", "get", "Curtin Press/books")
    assert (said.code, "organisation/workflow/dataset" in said.err) == (1, True)


def test_a_slash_in_a_name_is_found(observatory: Type, api: ObservatoryApi, workflow: Workflow) -> None:
    for name, made in {"a": "b/c", "a/b": "c"}.items():
        owner = api.post_organisation(Organisation(name=name))
        api.post_workflow(Workflow(name=made, organisation=owner, workflow_type=workflow.workflow_type))
    api.put_workflow(Workflow(id=workflow.id, name="2021/22"))
    assert "name\t2021/22\n" in observatory("workflows", "get", "Curtin Press/2021/22").out
    said = observatory("workflows", "get", "a/b/c")
    assert (said.code, "give the id, one of" in said.err) == (2, True)


def test_what_nothing_refers_to_is_removed(observatory: Type, api: ObservatoryApi, dataset: Dataset) -> None:
    said = observatory("organisations", "delete", "Curtin Press")
    assert (said.code, "is referred to and cannot be deleted" in said.err) == (1, True)
    assert observatory("datasets", "delete", BOOKS).out == f"deleted dataset {dataset.id}\n"
    assert api.get_datasets() == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["organisations", "create", "--extras", "{a: 1}"], "--extras is not JSON"),
        (["organisations", "create", "--extras", "[1]"], "--extras must be a JSON object"),
        (["table-types", "create", "--granularity", "week"], "'week' is not one of 'hour', 'day'"),
        (["datasets", "list", "--limit", "-1"], "--limit"),
        (
            ["datasets", "list", "--colour", "red"],
            "No such option: --colour. See `observatory datasets list --help`.",
        ),
        (["datasts"], "'database'? See `observatory --help`."),
        (["status", "--status", "lat"], "Invalid value for '--status': 'lat' is not one of"),
        (["datasets", "get"], "Missing argument 'DATASET'. See `observatory datasets get --help`."),
    ],
)
def test_a_wrong_command_says_the_cure_in_a_line(anywhere: Type, arguments: list[str], error: str) -> None:
    said = anywhere(*arguments)
    assert (said.code, said.out) == (2, "")
    assert error in said.err
    assert said.err.count("\n") == 1


def test_what_would_command_a_terminal_is_shown_harmlessly(
    observatory: Type, api: ObservatoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "[red]\u202ename"  # rich's markup, and what turns the direction of writing
    made = api.post_organisation(Organisation(name=name, extras={"x": "\x9b31m"}))
    for terminal in (True, False):
        monkeypatch.setattr("observatory.cli.show.sys.stdout.isatty", lambda on=terminal: on, raising=False)
        assert "[red]\\u202ename" in observatory("organisations", "list").out
        assert "\x9b" not in observatory("organisations", "get", str(made.id)).out


def test_on_a_terminal_of_80_columns_nothing_is_cut_off(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put_dataset(Dataset(id=dataset.id, address="project.dataset." + "table" * 30))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("observatory.cli.show.sys.stdout.isatty", lambda: True, raising=False)
    lines = observatory("datasets", "list").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line[-20:].strip() for line in lines).endswith("table")
    assert "…" not in "".join(lines)
