"""The public names: each is documented, and has the types that a caller builds on."""

import inspect
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, assert_type

import msgspec
import pytest

import observatory
from observatory import (
    Conflict,
    Coverage,
    Dataset,
    DatasetRelease,
    Invalid,
    ListWasCut,
    NotFound,
    ObservatoryApi,
    ObservatoryError,
    Organisation,
    Period,
    Refused,
    TableType,
    Unavailable,
    Unknown,
    Workflow,
)
from observatory.records import KINDS, is_given
from observatory.rules import given

PUBLIC = [getattr(observatory, name) for name in observatory.__all__]
METHODS = [
    method
    for name, method in inspect.getmembers(ObservatoryApi, inspect.isfunction)
    if not name.startswith("_")
]
VERBS = ("get", "post", "put", "delete")


def test_the_public_names_are_in_order_and_there() -> None:
    assert observatory.__all__ == sorted(observatory.__all__)
    assert all(kind.__name__ in observatory.__all__ for kind in KINDS)


@pytest.mark.parametrize("public", [*PUBLIC, *METHODS], ids=lambda one: one.__qualname__)
def test_what_is_public_is_documented(public: Any) -> None:
    said = inspect.cleandoc(public.__doc__ or "")
    first = said.split("\n\n")[0].strip()

    assert first.endswith(".")
    # What a dataclass or a struct would say of itself says nothing.
    assert not first.startswith(f"{public.__name__}(")


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.__qualname__)
def test_what_a_method_takes_and_answers_is_typed(method: Callable[..., Any]) -> None:
    signature = inspect.signature(method)
    taken = [p for name, p in signature.parameters.items() if name != "self"]

    assert signature.return_annotation is not inspect.Signature.empty
    assert [p.name for p in taken if p.annotation is inspect.Parameter.empty] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_record_has_the_same_five_methods(kind: type[Any]) -> None:
    name = kind.path.removesuffix("s").replace("-", "_")
    expected = {f"{verb}_{name}" for verb in VERBS} | {f"get_{name}s"}

    assert expected <= {method.__name__ for method in METHODS}


def test_a_list_takes_its_limit_first_and_a_record_its_id() -> None:
    for method in METHODS:
        names = list(inspect.signature(method).parameters)[1:]
        if method.__name__.startswith("get_") and names[:1] not in ([], ["limit"], ["id"]):
            assert names[0] in ("dataset_id", "record"), method.__name__  # of what something is asked


def test_types_follow_through_what_is_nested(dataset: Dataset, api: ObservatoryApi) -> None:
    assert_type(api.get_dataset(1), Dataset)
    assert_type(api.get_datasets(), list[Dataset])
    assert_type(api.get_workflows(1000, 1), list[Workflow])
    assert_type(api.get_organisations(), list[Organisation])
    assert_type(api.get_table_type(type_id="sharded"), TableType)
    assert_type(dataset.workflow.organisation.name, str)
    assert_type(dataset.dataset_type.table_type.type_id, str)
    assert_type(dataset.dataset_type.extras.get("sales_field"), Any | None)
    assert_type(dataset.workflow.tags, str)
    assert_type(dataset.version, int)

    at = datetime(2021, 1, 1, tzinfo=UTC)
    release = api.post_dataset_release(DatasetRelease(dataset=dataset, start_date=at, end_date=at))
    assert_type(release, DatasetRelease)
    assert_type(release.start_date, datetime)
    assert_type(release.row_count, int | None)
    assert_type(release.period, Period)
    assert_type(api.post_dataset_releases([release]), list[DatasetRelease])
    assert_type(api.post_dataset_releases([release], atomic=False), list[DatasetRelease | ObservatoryError])
    assert_type(api.get_missing_releases(1, [(at, at), Period(at, at), release]), list[DatasetRelease])
    assert_type(api.get_coverage(1), Coverage)


def test_the_errors_form_one_tree_with_a_status_each() -> None:
    for error in (Conflict, Invalid, NotFound, Refused, Unavailable, Unknown):
        assert issubclass(error, ObservatoryError)
    assert issubclass(Unknown, Unavailable)
    assert [error.status for error in (Invalid, NotFound, Conflict, Unavailable)] == [422, 404, 409, 503]
    assert str(Invalid("no", {"name": "is required"})) == "no; name: is required"


def test_a_cut_list_warns_with_a_class_that_can_be_made_an_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ListWasCut)
        with pytest.raises(ListWasCut):
            warnings.warn("there is more", ListWasCut, stacklevel=1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_not_given_is_neither_sent_nor_shown(kind: type[Any]) -> None:
    record = kind(id=3)

    assert msgspec.json.encode(record) == b'{"id":3}'
    assert repr(record) == f"{kind.__name__}(id=3)"
    assert given(record) == {"id": 3}
    assert not is_given(record.version)


def test_a_client_overlooks_fields_of_a_later_server() -> None:
    said = b'{"id": 3, "name": "a", "colour": "red"}'

    assert msgspec.json.decode(said, type=Organisation) == Organisation(id=3, name="a")
