"""Coverage against a plain model: the set of settled periods, merged anew each time."""

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory import Dataset, DatasetRelease, ObservatoryApi, Period
from observatory.intervals import gaps, merge

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)
NUMBERS = count()

spans = st.tuples(st.integers(0, 15), st.integers(0, 4)).map(lambda s: (s[0], s[0] + s[1]))
calls = st.one_of(
    st.tuples(st.just("record"), st.lists(spans, max_size=5)),
    st.tuples(st.just("withdraw"), st.integers(0, 30)),
    st.tuples(st.just("restore"), st.integers(0, 30)),
    st.tuples(st.just("delete"), st.integers(0, 30)),
)


def period(start: int, end: int) -> Period:
    return Period(DAY_0 + timedelta(start), DAY_0 + timedelta(end))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(calls, max_size=12), spans)
def test_coverage_is_what_merging_the_settled_periods_gives(
    api: ObservatoryApi, dataset: Dataset, steps: list[tuple[str, object]], span: tuple[int, int]
) -> None:
    # Each example has a dataset of its own, so that one database serves them all.
    mine = api.post_dataset(
        Dataset(
            name=f"books {next(NUMBERS)}",
            service="s",
            address="a",
            workflow=dataset.workflow,
            dataset_type=dataset.dataset_type,
        )
    )
    for verb, what in steps:
        if isinstance(what, list):
            told = [
                DatasetRelease(dataset=mine, start_date=p.start_date, end_date=p.end_date)
                for p in (period(*one) for one in what)
            ]
            api.post_dataset_releases(told)
            continue
        assert isinstance(what, int)
        states = {"withdraw": "present", "restore": "withdrawn", "delete": "present"}
        candidates = api.get_dataset_releases(dataset_id=mine.id, state=states[verb])  # type: ignore[arg-type]
        if not candidates:
            continue
        chosen = candidates[what % len(candidates)]
        if verb == "delete":
            if chosen.revision == 1:
                api.delete_dataset_release(chosen.id)
        else:
            state = {"withdraw": "withdrawn", "restore": "present"}[verb]
            api.put_dataset_release(DatasetRelease(id=chosen.id, state=state, reason="so"))  # type: ignore[arg-type]

    settled = {release.period for release in api.get_dataset_releases(dataset_id=mine.id)}
    runs = merge(p for p in settled if not p.is_instant)
    found = api.get_coverage(mine.id)
    assert found.runs == runs
    assert found.instants == sum(p.is_instant for p in settled)
    asked = period(*span)
    within = api.get_coverage(mine.id, asked.start_date, asked.end_date)
    assert within.gaps == gaps(asked, runs)
