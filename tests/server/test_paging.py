"""Lists are whole and in order while rows come and go between pages, and names come back as they were."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory import Dataset, DatasetRelease, ObservatoryApi, Organisation, Workflow

from .conftest import Caller

# One server serves all examples: what an example makes has a name of its own.
SERVED = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)
numbers = itertools.count()
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100)


def pages(caller: Caller, path: str) -> list[dict[str, object]]:
    """Returns one page after another, as a caller does that follows the links."""
    found: list[dict[str, object]] = []
    asked = path
    while True:
        response = caller.send("GET", asked)
        found += response.json()
        if "next" not in response.links:
            return found
        asked = path.partition("?")[0] + response.links["next"]["url"]


@SERVED
@given(size=st.integers(1, 4), steps=st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=6))
def test_a_list_has_each_record_that_stays_once_whatever_comes_and_goes(
    caller: Caller, api: ObservatoryApi, size: int, steps: list[tuple[bool, int]]
) -> None:
    ids = [api.post_organisation(Organisation(name=f"n{next(numbers)}")).id for _ in range(12)]
    gone: set[int] = set()
    found: list[int] = []
    # The page begins behind the last of the examples before.
    asked = f"/organisations?limit={size}&after={ids[0] - 1}"
    while True:
        response = caller.send("GET", asked)
        assert len(response.json()) <= size
        found += [one["id"] for one in response.json()]
        if "next" not in response.links:
            break
        asked = "/organisations" + response.links["next"]["url"]
        for is_new, place in steps[:2]:
            if is_new:
                api.post_organisation(Organisation(name=f"n{next(numbers)}"))
            elif ids[place] not in gone:
                api.delete_organisation(ids[place])
                gone.add(ids[place])
        del steps[:2]

    assert found == sorted(set(found))
    assert [id for id in found if id in ids and id not in gone] == [id for id in ids if id not in gone]


@SERVED
@given(size=st.integers(1, 4), periods=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1))
def test_releases_are_paged_in_their_order_also_behind_one_that_is_gone(
    caller: Caller, api: ObservatoryApi, dataset: Dataset, size: int, periods: set[tuple[int, int]]
) -> None:
    for release in api.get_dataset_releases(dataset_id=dataset.id):
        api.delete_dataset_release(release.id)
    told = [
        DatasetRelease(
            dataset=dataset, start_date=DAY_0 + timedelta(start), end_date=DAY_0 + timedelta(start + length)
        )
        for start, length in periods
    ]
    recorded = sorted(api.post_dataset_releases(told), key=lambda release: release.period)
    path = f"/dataset-releases?dataset_id={dataset.id}&limit={size}"

    assert [one["id"] for one in pages(caller, path)] == [release.id for release in recorded]

    first = caller.send("GET", path)
    if "next" in first.links:
        # The place of a release in the list stays when the release does not.
        api.delete_dataset_release(recorded[size - 1].id)
        behind = pages(caller, "/dataset-releases" + first.links["next"]["url"])
        assert [one["id"] for one in behind] == [release.id for release in recorded[size:]]


@SERVED
@given(
    name=printable,
    tags=st.lists(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), max_size=3),
)
def test_a_name_in_any_script_comes_back_as_it_was(
    api: ObservatoryApi, dataset: Dataset, name: str, tags: list[str]
) -> None:
    name = f"{next(numbers)}{name}"
    organisation = api.post_organisation(Organisation(name=name, extras={name: [name, {name: name}]}))
    workflow = api.post_workflow(
        Workflow(
            name=name,
            organisation=organisation,
            workflow_type=dataset.workflow.workflow_type,
            tags=json.dumps(tags),
        )
    )

    assert organisation.name == workflow.name == name
    assert organisation.extras == {name: [name, {name: name}]}
    assert api.get_organisation(organisation.id) == organisation
    assert api.get_organisations(name=name) == [organisation]
    assert api.get_workflows(name=name, organisation_id=organisation.id) == [workflow]
    assert json.loads(workflow.tags) == list(dict.fromkeys(tags))
    for tag in tags:
        assert workflow in api.get_workflows(tag=tag, organisation_id=organisation.id)


def test_the_link_to_the_next_page_keeps_what_was_asked(caller: Caller, dataset: Dataset) -> None:
    response = caller.send("GET", "/datasets?name=books&workflow_id=1&limit=1")
    asked = httpx2.URL(response.links["next"]["url"]).params

    assert dict(asked) == {"name": "books", "workflow_id": "1", "limit": "1", "after": "1"}
    assert caller.send("GET", "/datasets" + response.links["next"]["url"]).json() == []
