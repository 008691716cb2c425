"""A catalogue in memory answers as the server does: the same records, in the same order, the same errors."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory import (
    Dataset,
    DatasetType,
    Grant,
    ObservatoryApi,
    ObservatoryError,
    Organisation,
    TableType,
    Workflow,
    WorkflowType,
)
from observatory.records import Account, Key

from .reading import OPENED, Around, read_as
from .test_snapshot import key_of

Asked = tuple[str, dict[str, Any]]
NAMES = st.sampled_from(["a", "b", "n0", "n1", "Ünicode", "", "a\nb", "nobody"])
TAGS = st.sampled_from(["sales", "sal", 'with "quotes"', "a,b", "[]", "ünicode", ""])
IDS: st.SearchStrategy[Any] = st.one_of(st.integers(0, 9), st.sampled_from(["2", 2**63 - 1, -1, "x"]))
LIMITS = st.sampled_from([None, None, 0, 1, 2, 3, 1000])


def filters(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={"limit": LIMITS, **known})


QUESTIONS: st.SearchStrategy[Asked] = st.one_of(
    st.tuples(st.just("get_organisations"), filters(name=NAMES)),
    st.tuples(st.just("get_workflow_types"), filters()),
    st.tuples(st.just("get_table_types"), filters()),
    st.tuples(st.just("get_dataset_types"), filters(table_type_id=IDS)),
    st.tuples(
        st.just("get_workflows"), filters(organisation_id=IDS, workflow_type_id=IDS, tag=TAGS, name=NAMES)
    ),
    st.tuples(
        st.just("get_datasets"),
        filters(
            workflow_id=IDS,
            organisation_id=IDS,
            dataset_type_id=IDS,
            tag=TAGS,
            service=st.sampled_from(["s0", "s1"]),
            name=NAMES,
        ),
    ),
    *(
        st.tuples(st.just(f"get_{kind}"), st.fixed_dictionaries({"id": IDS}))
        for kind in ("organisation", "workflow_type", "workflow", "table_type", "dataset_type", "dataset")
    ),
    *(
        st.tuples(
            st.just(f"get_{kind}"),
            st.fixed_dictionaries({"type_id": st.sampled_from(["t0", "sharded", "x"])}),
        )
        for kind in ("workflow_type", "table_type", "dataset_type")
    ),
)


def fill(api: ObservatoryApi) -> None:
    organisations = [api.post_organisation(Organisation(name=name)) for name in ("a", "b", "Ünicode")]
    types = [api.post_workflow_type(WorkflowType(type_id=f"t{i}", name="t")) for i in range(2)]
    tables = api.get_table_types()
    kinds = [DatasetType(type_id=f"t{i}", name="t", table_type=tables[i], extras={"i": i}) for i in range(2)]
    kinds = [api.post_dataset_type(kind) for kind in kinds]
    tags = ('["sales"]', '["with \\"quotes\\"", "a,b", "a,b"]', "[]", '["ünicode", "sales"]')
    for i, tag in enumerate(tags):
        workflow = Workflow(name=f"n{i % 2}", tags=tag, organisation=organisations[i // 2])
        workflow.workflow_type = types[i % 2]
        made = api.post_workflow(workflow)
        for j in range(2):
            dataset = Dataset(name=f"n{j}", service=f"s{j}", address="a", workflow=made)
            dataset.dataset_type = kinds[(i + j) % 2]
            api.post_dataset(dataset)


def said(api: ObservatoryApi, asked: Asked) -> Any:
    """Returns all that a caller sees of an answer: the records, or the error, and the warnings."""
    name, how = asked
    method: Callable[..., Any] = getattr(api, name)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = method(**how)
        except ObservatoryError as error:
            # What of a parameter is wrong is said in other words where nobody is asked.
            return type(error), error.detail if error.status == 404 else sorted(error.fields)
    return found, [(str(one.message), one.filename, one.lineno) for one in warned]


@pytest.fixture
def both(
    api: ObservatoryApi, server_url: str, tmp_path: Any, request: pytest.FixtureRequest
) -> Iterator[tuple[ObservatoryApi, ObservatoryApi]]:
    """The book as it is asked, and as a DAG file sees it; with a key of all, or of one organisation."""
    fill(api)
    key = key_of(api)
    if request.param == "one":
        grants = [Grant("reader", 1), Grant("address:read", 1)]
        key = api.post_key(Key(account=api.post_account(Account(name="one", grants=grants)))).secret
    with ObservatoryApi(server_url, key) as plain:
        yield plain, read_as(server_url, Around(tmp_path), key, addresses=True)
    OPENED.pop().close()


@pytest.mark.parametrize("both", ["all", "one"], indirect=True)
def test_a_file_is_answered_as_the_server_answers(both: tuple[ObservatoryApi, ObservatoryApi]) -> None:
    plain, reading = both

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(QUESTIONS)
    def ask(asked: Asked) -> None:
        assert said(reading, asked) == said(plain, asked)

    ask()
    with pytest.raises(ValueError, match="must not be below 0"):
        reading.get_datasets(limit=-1)
    with pytest.raises(TypeError, match="by its id or its type_id"):
        reading.get_table_type()
    assert isinstance(reading.get_table_type(type_id="sharded"), TableType)
