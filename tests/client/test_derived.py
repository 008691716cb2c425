"""What is made from what, by the client: whole lists of what is stale, nothing of other organisations."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from observatory import (
    Account,
    Dataset,
    DatasetRelease,
    Grant,
    Key,
    ListWasCut,
    NotFound,
    ObservatoryApi,
    Organisation,
    Workflow,
)
from observatory.records import Role

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)


def day(dataset: Dataset, number: int, *inputs: DatasetRelease) -> DatasetRelease:
    at = DAY_0 + timedelta(number)
    made_from = [one.id for one in inputs]
    return DatasetRelease(dataset=dataset, start_date=at, end_date=at + timedelta(1), made_from=made_from)


def withdraw(api: ObservatoryApi, *found: DatasetRelease) -> None:
    for one in found:
        api.put_dataset_release(DatasetRelease(id=one.id, state="withdrawn", reason="bad"))


@pytest.fixture
def theirs(api: ObservatoryApi, dataset: Dataset) -> Dataset:
    """A dataset of another organisation."""
    other = api.post_organisation(Organisation(name="Ours no more"))
    kind = dataset.workflow.workflow_type
    flow = api.post_workflow(Workflow(name="theirs", organisation=other, workflow_type=kind))
    return more(api, dataset, "theirs", flow)


def more(
    api: ObservatoryApi, like: Dataset, name: str, workflow: Workflow | None = None, **facts: Any
) -> Dataset:
    kind = like.dataset_type
    flow = workflow or like.workflow
    told = Dataset(name=name, service="s", address="a", workflow=flow, dataset_type=kind, **facts)
    return api.post_dataset(told)


@pytest.fixture
def restricted(
    api: ObservatoryApi, dataset: Dataset, server_url: str
) -> Iterator[Callable[[Role], ObservatoryApi]]:
    """Opens the book as somebody who has a role in the first organisation only."""
    made: list[ObservatoryApi] = []

    def open_(role: Role) -> ObservatoryApi:
        grants = [Grant(role=role, organisation_id=dataset.workflow.organisation.id)]
        account = api.post_account(Account(name=role, grants=grants))
        made.append(ObservatoryApi(server_url, api.post_key(Key(account=account)).secret))
        return made[-1]

    yield open_
    for one in made:
        one.close()


Restricted = Callable[[Role], ObservatoryApi]


def test_stale_releases_are_listed_whole_and_warn_where_a_limit_cuts_them(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    books, sums = dataset, more(api, dataset, "sums")
    inputs = api.post_dataset_releases([day(books, number) for number in range(1100)])
    made = api.post_dataset_releases([day(sums, at, one) for at, one in enumerate(inputs)])
    # All is made from the first, too, which is then at fault for all.
    api.post_dataset_release(day(sums, 5000, *made[:3]))
    assert api.get_stale_releases() == []
    api.put_dataset_release(DatasetRelease(id=made[7].id, made_from=[inputs[7].id, inputs[0].id]))
    withdraw(api, inputs[0], inputs[2])

    found = api.get_stale_releases()
    assert [(one.release.id, one.inputs) for one in found] == [
        (made[0].id, [inputs[0].id]),
        (made[2].id, [inputs[2].id]),
        (made[7].id, [inputs[0].id]),
        (made[-1].id + 1, [inputs[0].id, inputs[2].id]),
    ]
    assert found[0].release.dataset == Dataset(id=sums.id, name="sums")
    with pytest.warns(ListWasCut, match="more stale releases than the limit of 3"):
        assert len(api.get_stale_releases(3, dataset_id=sums.id)) == 3
    assert api.get_stale_releases(dataset_id=books.id) == []
    below = api.get_derived_releases(inputs[0].id)
    assert [(one.release.id, one.depth, one.stale) for one in below] == [
        (made[0].id, 1, True),
        (made[7].id, 1, True),
        (made[-1].id + 1, 2, True),
    ]


def test_more_than_a_page_is_stale(api: ObservatoryApi, dataset: Dataset) -> None:
    first = api.post_dataset_release(day(dataset, 0))
    sums = more(api, dataset, "sums")
    api.post_dataset_releases([day(sums, number, first) for number in range(1001)])
    withdraw(api, first)
    assert len(api.get_stale_releases()) == len(api.get_derived_releases(first.id)) == 1001


def test_what_another_organisation_makes_or_is_made_from_does_not_exist(
    api: ObservatoryApi, dataset: Dataset, theirs: Dataset, restricted: Restricted
) -> None:
    ann = restricted("maintainer")
    ours = api.post_dataset_release(day(dataset, 0))
    of_theirs = api.post_dataset_release(day(theirs, 0, ours))
    both = api.post_dataset_release(day(dataset, 1, of_theirs))
    sums = more(api, dataset, "sums", inputs=[dataset.id, theirs.id])
    assert (both.made_from, sums.inputs) == ([of_theirs.id], [dataset.id, theirs.id])

    # What is hidden is not answered, in no way.
    assert ann.get_dataset_release(both.id).made_from is None
    assert [one.made_from for one in ann.get_dataset_releases(dataset_id=dataset.id)] == [None, None]
    assert ann.post_dataset_release(day(dataset, 1)).made_from is None
    assert ann.get_dataset(sums.id).inputs == [dataset.id]
    assert [one.inputs for one in ann.get_datasets(name="sums")] == [[dataset.id]]
    now = datetime.now(UTC)
    assert ann.get_dataset_release(both.id, as_of=now).made_from is None
    assert ann.get_dataset(sums.id, as_of=now).inputs == [dataset.id]
    for book, release_ids, dataset_ids in (
        (ann, None, [dataset.id]),
        (api, [of_theirs.id], [dataset.id, theirs.id]),
    ):
        [of_release], [of_dataset] = book.get_history(both), book.get_history(sums)[:1]
        assert (of_release.after or {})["made_from"] == release_ids
        assert (of_dataset.after or {})["inputs"] == dataset_ids

    # It cannot be named, as if it were none.
    for id in (of_theirs.id, 10**12):
        named = DatasetRelease(**_of(dataset, 9), made_from=[id])
        for told in (named, DatasetRelease(id=ours.id, made_from=[id])):
            with pytest.raises(NotFound) as raised:
                ann.put_dataset_release(told)
            assert raised.value.fields == {"made_from": f"there is no DatasetRelease {id}"}
        with pytest.raises(NotFound, match=f"DatasetRelease {id} does not exist"):
            ann.get_derived_releases(id)
    for id in (theirs.id, 10**12):
        with pytest.raises(NotFound) as raised:
            ann.put_dataset(Dataset(id=sums.id, inputs=[id]))
        assert raised.value.fields == {"inputs": f"there is no Dataset {id}"}

    # It stays where somebody who does not see it tells the others anew.
    other = ann.post_dataset_release(day(dataset, 2))
    assert ann.put_dataset_release(DatasetRelease(id=both.id, made_from=[other.id])).made_from == [other.id]
    assert api.get_dataset_release(both.id).made_from == sorted([of_theirs.id, other.id])
    assert ann.put_dataset(Dataset(id=sums.id, inputs=[])).inputs == []
    assert api.get_dataset(sums.id).inputs == [theirs.id]

    # What they made of ours is neither shown nor counted; that ours is stale is told, and not by what.
    withdraw(api, ours)
    assert [one.release.id for one in ann.get_derived_releases(ours.id)] == [both.id]
    assert [(one.release.id, one.inputs) for one in ann.get_stale_releases()] == [(both.id, [ours.id])]
    withdraw(api, of_theirs)
    assert [(one.release.id, one.inputs) for one in ann.get_stale_releases()] == [(both.id, [])]
    for asked in ({"dataset_id": theirs.id}, {"organisation_id": theirs.workflow.organisation.id}):
        with pytest.raises(NotFound):
            ann.get_stale_releases(**asked)


def _of(dataset: Dataset, number: int) -> dict[str, Any]:
    at = DAY_0 + timedelta(number)
    return {"dataset": dataset, "start_date": at, "end_date": at + timedelta(1)}


def test_who_refers_to_what_is_to_be_deleted_is_named_only_to_those_who_see_it(
    api: ObservatoryApi, dataset: Dataset, theirs: Dataset, restricted: Restricted
) -> None:
    ann = restricted("maintainer")
    ours = api.post_dataset_release(day(dataset, 0))
    of_theirs = api.post_dataset_release(day(theirs, 0, ours))
    empty = more(api, dataset, "empty")
    api.put_dataset(Dataset(id=theirs.id, inputs=[empty.id]))
    for book, who in ((ann, "of another organisation"), (api, str(of_theirs.id))):
        with pytest.raises(Exception, match="is referred to") as raised:
            book.delete_dataset_release(ours.id)
        cure = f"delete what refers to it first: dataset-releases {who}"
        assert getattr(raised.value, "fields") == {"dataset-releases": cure}  # noqa: B009 # of our errors
    with pytest.raises(Exception, match="is referred to") as raised:
        ann.delete_dataset(empty.id)
    cure = "delete what refers to it first: datasets of another organisation"
    assert getattr(raised.value, "fields") == {"datasets": cure}  # noqa: B009 # of our errors


def test_what_is_missing_may_include_what_is_stale_behind_the_rest(
    api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals, report = more(api, dataset, "totals"), more(api, dataset, "report")
    sales = [api.post_dataset_release(day(dataset, number)) for number in range(6)]
    made = [api.post_dataset_release(day(totals, number, one)) for number, one in enumerate(sales)]
    told = [api.post_dataset_release(day(report, number, one)) for number, one in enumerate(made)]
    withdraw(api, *sales[1:4])

    assert api.count_missing() == {"withdrawn": 3}
    assert api.count_missing(stale=True) == {"withdrawn": 3, "stale": 6}
    assert api.count_missing(reasons=["stale"], dataset_id=report.id) == {"stale": 3}
    periods = api.get_missing(stale=True)
    found = [(one.dataset.id, one.start_date, one.reason) for one in periods]
    days = [DAY_0 + timedelta(number) for number in (1, 2, 3)]
    stale = [(of.id, at, "stale") for of in (totals, report) for at in days]
    assert found == [*((dataset.id, at, "withdrawn") for at in days), *stale]
    assert periods[3].note == f"made from {sales[1].id}"
    assert periods[3].since == api.get_dataset_release(sales[1].id).modified
    runs = [(one.dataset.name, one.periods, one.reason) for one in api.get_missing_runs(stale=True)]
    assert runs == [("books", 3, "withdrawn"), ("totals", 3, "stale"), ("report", 3, "stale")]
    [run] = api.get_missing_runs(reasons=["stale"], dataset_id=totals.id, start_date=days[1])
    assert (run.start_date, run.end_date, run.periods) == (days[1], days[2] + timedelta(1), 2)
    # In whatever pages it is asked for, it is the same.
    for page in (1, 2, 3, 4):
        monkeypatch.setattr("observatory.client.wanted.PAGE", page)
        assert api.get_missing(stale=True) == periods
        assert [
            (one.dataset.name, one.periods, one.reason) for one in api.get_missing_runs(stale=True)
        ] == runs
    # What is made again is stale no longer.
    api.post_dataset_release(day(dataset, 1))
    api.put_dataset_release(DatasetRelease(id=made[1].id, state="withdrawn", reason="stale"))
    assert api.count_missing(stale=True) == {"withdrawn": 3, "stale": 5}
    assert told[1].id is not None


def test_what_is_stale_elsewhere_is_not_told_as_missing(
    api: ObservatoryApi, dataset: Dataset, theirs: Dataset, restricted: Callable[[Role], ObservatoryApi]
) -> None:
    source = api.post_dataset_release(day(dataset, 1))
    api.post_dataset_release(day(theirs, 1, source))
    withdraw(api, source)
    assert api.count_missing(stale=True) == {"withdrawn": 1, "stale": 1}
    reader = restricted("reader")
    assert reader.count_missing(stale=True) == {"withdrawn": 1}
    assert [one.reason for one in reader.get_missing(stale=True)] == ["withdrawn"]
