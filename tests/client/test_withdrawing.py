"""All releases within a period are withdrawn in one call."""

from datetime import timedelta

import pytest

from observatory import Dataset, ObservatoryApi
from observatory.errors import Invalid
from observatory.intervals import Period
from observatory.ledger import withdrawing

from .test_releases import DAY_0, release


def test_all_releases_within_a_period_are_withdrawn_at_once(api: ObservatoryApi, dataset: Dataset) -> None:
    days = [release(dataset, n, n + 1) for n in range(5)]
    made = api.post_dataset_releases([*days, release(dataset, 0, 9)])
    found = api.withdraw_releases(dataset.id, DAY_0 + timedelta(1), DAY_0 + timedelta(4), "bad file")
    assert [(r.id, r.state, r.reason, r.version) for r in found] == [
        (one.id, "withdrawn", "bad file", 2) for one in made[1:4]
    ]
    assert api.get_dataset_releases(dataset_id=dataset.id, state="withdrawn") == found
    [run] = api.get_missing_runs(dataset_id=dataset.id)
    assert (run.periods, run.reason, run.note) == (3, "withdrawn", "bad file")
    entries = [one for one in api.get_journal(dataset_id=dataset.id) if one.action == "change"]
    assert [one.record_id for one in entries] == [one.id for one in found]
    assert api.get_coverage(dataset.id).runs == [Period(DAY_0, DAY_0 + timedelta(9))]
    assert api.withdraw_releases(dataset.id, DAY_0 + timedelta(1), DAY_0 + timedelta(4), "again") == []
    assert api.get_dataset_releases(dataset_id=dataset.id, state="withdrawn") == found
    api.post_dataset_releases(days[1:4])
    assert api.count_missing(dataset_id=dataset.id) == {}


def test_nothing_is_withdrawn_without_a_period_and_a_reason(api: ObservatoryApi, dataset: Dataset) -> None:
    with pytest.raises(Invalid):
        api.withdraw_releases(dataset.id, DAY_0 + timedelta(1), DAY_0, "bad")
    with pytest.raises(Invalid):
        api.withdraw_releases(dataset.id, DAY_0, DAY_0 + timedelta(1), "")


def test_a_withdrawal_that_is_sent_again_is_answered_as_the_first_time(
    api: ObservatoryApi, dataset: Dataset
) -> None:
    made = api.post_dataset_releases([release(dataset, n, n + 1) for n in range(3)])
    asked = (dataset.id, DAY_0, DAY_0 + timedelta(2), "bad file")
    found = api.withdraw_releases(*asked, token="once")
    assert [one.id for one in found] == [one.id for one in made[:2]]
    assert api.withdraw_releases(*asked, token="once") == found


def test_more_than_can_be_withdrawn_at_once_are_refused(
    api: ObservatoryApi, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.post_dataset_releases([release(dataset, n, n + 1) for n in range(3)])
    monkeypatch.setattr(withdrawing, "BATCH", 2)
    with pytest.raises(Invalid, match="more than 2 releases: withdraw those of a part"):
        api.withdraw_releases(dataset.id, DAY_0, DAY_0 + timedelta(3), "bad file")
    assert api.count_missing() == {}
    assert len(api.withdraw_releases(dataset.id, DAY_0, DAY_0 + timedelta(2), "bad file")) == 2
