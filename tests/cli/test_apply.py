"""A catalogue file and a book: the one is put into the other, and got out again."""

import json
from pathlib import Path

import pytest

from observatory import ObservatoryApi

from .conftest import Type

EXAMPLE = Path(__file__).parents[2] / "examples" / "catalogue.yaml"


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.yaml"


def test_the_example_is_applied_once(observatory: Type, api: ObservatoryApi) -> None:
    first = observatory("apply", str(EXAMPLE), "--yes")
    assert (first.code, first.err) == (0, "")
    assert first.out.endswith("8 to create, 1 to change\n8 created, 1 changed\n")
    [codes, _] = api.get_datasets()
    assert codes.workflow.organisation.extras == {"contact": "data@example.org"}
    assert json.loads(codes.workflow.tags) == ["astronomy", "reference"]
    assert codes.dataset_type.table_type.name == "A table for each snapshot"

    versions = [dataset.version for dataset in api.get_datasets()]
    again = observatory("apply", str(EXAMPLE))
    assert (again.code, again.out) == (0, "nothing to do: 9 records are as the file says\n")
    assert [dataset.version for dataset in api.get_datasets()] == versions
