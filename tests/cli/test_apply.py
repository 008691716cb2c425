"""A catalogue file and a book: the one is put into the other, and got out again."""

import json
import os
import subprocess
import sys
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

from .conftest import PRESS, Type

EXAMPLE = Path(__file__).parents[2] / "examples" / "catalogue.yaml"


def test_the_example_is_applied_once(observatory: Type, api: ObservatoryApi) -> None:
    first = observatory("apply", str(EXAMPLE), "--yes")
    assert (first.code, first.err) == (0, "")
    [codes] = api.get_datasets(name="observatory codes")
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


def test_a_reader_who_has_enough_does_not_stop_what_was_begun(
    server_url: str, api: ObservatoryApi, catalogue: Path
) -> None:
    command = [
        sys.executable,
        "-c",
        "from observatory.cli import main; main()",
        "apply",
        str(catalogue),
        "--yes",
    ]
    env = {**os.environ, "OBSERVATORY_URL": server_url}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)
    assert len(api.get_datasets()) == 1
