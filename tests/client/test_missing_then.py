"""What was missing at a time in the past, and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from observatory import Cadence, Dataset, DatasetRelease, ObservatoryApi
from observatory.errors import Invalid
from observatory.wants import Offer

DAY_0, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(1)


def told(api: ObservatoryApi, dataset: Dataset, as_of: datetime | None = None) -> Any:
    """Returns all that is missing, as periods, as runs, and counted."""
    asked: dict[str, Any] = {"dataset_id": dataset.id, "as_of": as_of}
    return api.get_missing(**asked), api.get_missing_runs(**asked), api.count_missing(**asked)


def test_what_was_missing_is_told_as_it_was_told_then(api: ObservatoryApi, dataset: Dataset) -> None:
    offers = [Offer(DAY_0 + n * DAY, DAY_0 + (n + 1) * DAY) for n in range(8)]
    made = [DatasetRelease(dataset=dataset, start_date=o.start_date, end_date=o.end_date) for o in offers]
    remembered = []

    def remember() -> None:
        remembered.append((datetime.now(UTC), told(api, dataset)))

    remember()
    api.probe(dataset.id, offers[:6])
    remember()
    [first, *_] = api.post_dataset_releases(made[:3])
    remember()
    api.put_dataset_release(DatasetRelease(id=first.id, state="withdrawn", reason="bad file"))
    remember()
    again = api.post_dataset_release(made[0])
    remember()
    api.probe(dataset.id, offers[1:], confirm=True)
    remember()
    api.put_dataset_release(DatasetRelease(id=again.id, state="withdrawn", reason="worse"))
    remember()
    last = api.post_dataset_release(made[7])
    remember()
    api.delete_dataset_release(last.id)
    remember()

    for when, answer in remembered:
        assert told(api, dataset, when) == answer
    assert len({str(answer) for _, answer in remembered}) >= 7


def test_what_was_expected_was_late_from_its_moment_on(api: ObservatoryApi, dataset: Dataset) -> None:
    api.put_dataset(Dataset(id=dataset.id, cadence=Cadence("0 0 * * *", datetime.now(UTC) - 2 * DAY)))
    now = datetime.now(UTC)
    answer = told(api, dataset)
    assert answer[2]
    assert told(api, dataset, now) == answer


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"as_of": datetime(2000, 1, 1, tzinfo=UTC)}, "as_of"),
        ({"as_of": datetime(2900, 1, 1, tzinfo=UTC)}, "as_of"),
        ({"as_of": "now", "dataset_id": None}, "dataset_id"),
        ({"as_of": "now", "tag": "sales"}, "dataset_id"),
    ],
)
def test_what_nobody_can_tell_of_the_past_is_refused(
    api: ObservatoryApi, dataset: Dataset, asked: dict[str, Any], field: str
) -> None:
    asked = {"dataset_id": dataset.id} | asked
    asked["as_of"] = datetime.now(UTC) if asked["as_of"] == "now" else asked["as_of"]
    with pytest.raises(Invalid) as error:
        api.count_missing(**asked)
    assert field in error.value.fields
