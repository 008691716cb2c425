"""What is missing, claimed from Python: kept while it is loaded, and given back whatever happens."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from observatory import Conflict, Dataset, DatasetRelease, Invalid, NotFound, ObservatoryApi, Period
from observatory.client.claims import ClaimedReleases
from observatory.leases import Claiming, Granted, Return
from observatory.wants import Offer, Probe, Probed

DAY_0, DAY = datetime(2021, 1, 1, tzinfo=UTC), timedelta(1)
Offering = Callable[[int], Dataset]


def numbers(releases: Iterable[Any]) -> list[int]:
    return [(release.start_date - DAY_0).days for release in releases]


@pytest.fixture
def offering(api: ObservatoryApi, dataset: Dataset) -> Offering:
    """Lets the source of a dataset offer so many days."""

    def offer(days: int) -> Dataset:
        told = [
            Offer(DAY_0 + n * DAY, DAY_0 + (n + 1) * DAY, f"v{n}", size=n, extras={"url": f"https://a/{n}"})
            for n in range(days)
        ]
        api._transport.call("POST", f"datasets/{dataset.id}/probes", Probed, body=Probe("complete", told))
        return dataset

    return offer


def days(api: ObservatoryApi, state: Any = None) -> list[int]:
    return numbers(api.get_dataset_releases(state=state))


def test_what_is_claimed_is_ready_to_be_loaded_and_recorded(api: ObservatoryApi, offering: Offering) -> None:
    dataset = offering(5)
    with api.claim_releases(dataset.id, limit=3, holder="ann") as claim:
        assert claim.claim
        assert (claim.claim.holder, claim.claim.periods) == ("ann", 3)
        assert [(one.reason, one.size, one.failures) for one in claim.granted] == [
            ("offered", 0, 0),
            ("offered", 1, 0),
            ("offered", 2, 0),
        ]
        with pytest.raises(Conflict, match="'ann' holds it"):
            api.post_dataset_release(claim.releases[0])
        for release in claim.releases[:2]:
            assert release.extras["url"].startswith("https://a/")
            api.post_dataset_release(release, claim=claim)
        assert [one.id for one in api.get_claims(dataset_id=dataset.id, live=True)] == [claim.id]
    assert api.get_claim(claim.id).ended
    assert api.get_claims(live=True) == []
    assert [one.version_label for one in api.get_dataset_releases()] == ["v0", "v1"]
    # What was left was given back, and did not fail.
    left = api.claim(dataset.id, 9)
    assert left.claim
    assert (numbers(left.releases), {one.failures for one in left.releases}) == ([2, 3, 4], {0})
    ready = [
        DatasetRelease(dataset=dataset, start_date=o.start_date, end_date=o.end_date) for o in left.releases
    ]
    api.post_dataset_releases(ready, claim=left.claim)
    assert api.get_claim(left.claim.id).ended


def test_where_nothing_is_left_there_is_nothing_to_do(api: ObservatoryApi, dataset: Dataset) -> None:
    with api.claim_releases(dataset.id) as claim:
        assert (claim.claim, claim.releases) == (None, [])
        with pytest.raises(NotFound, match="nothing was claimed"):
            claim.id  # noqa: B018 # it is asked for
    with pytest.raises(NotFound):
        api.claim(dataset.id + 1)
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"seconds": 0}, {"seconds": 86_401}, {"holder": ""}):
        with pytest.raises(Invalid):
            api.claim(dataset.id, **wrong)


def test_an_error_gives_back_what_is_left_as_failed_and_goes_on(
    api: ObservatoryApi, offering: Offering
) -> None:
    dataset = offering(4)
    claim = api.claim_releases(dataset.id, limit=4)

    def load() -> None:
        with claim:
            api.post_dataset_release(claim.releases[0], claim=claim)
            claim.fail(claim.releases[1], "no disk", retry_after=0)
            print(1 / 0)

    with pytest.raises(ZeroDivisionError):
        load()
    assert api.get_claim(claim.id).ended
    assert days(api) == [0]
    again = api.claim(dataset.id, 9)
    assert [(one.failures, one.error) for one in again.releases] == [(1, "no disk")]
    [_, failed, last] = [entry.after for entry in api.get_journal(kind="Claim")][:3]
    assert failed
    assert last
    assert (failed["error"], last["error"]) == ("no disk", "ZeroDivisionError: division by zero")


def test_single_ones_are_told_apart(api: ObservatoryApi, offering: Offering) -> None:
    offering(4)
    with api.claim_releases(1, limit=4) as claim:
        one, two, three, four = claim.releases
        claim.empty(one, "nobody sold any")
        claim.unobtainable(two, "gone")
        claim.fail(three, OSError("no\ndisk"))
        api.post_dataset_release(four, claim=claim.id)
    assert api.get_claim(claim.id).ended
    assert (days(api, "empty"), days(api, "unobtainable"), days(api, "present")) == ([0], [1], [3])
    assert api.claim(1, 4).claim is None


def test_a_claim_is_renewed_for_as_long_as_it_takes(api: ObservatoryApi, offering: Offering) -> None:
    dataset = offering(1)
    with api.claim_releases(dataset.id, seconds=1) as claim:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert api.claim(dataset.id).claim is None
            time.sleep(0.1)
        api.post_dataset_release(claim.releases[0], claim=claim)
    assert claim.lost is None
    assert "observatory-claim" not in {thread.name for thread in threading.enumerate()}


def test_who_lost_a_claim_is_told_so_at_its_next_use(api: ObservatoryApi, offering: Offering) -> None:
    dataset = offering(1)
    claim = api.claim_releases(dataset.id, seconds=1)
    time.sleep(1.1)  # as a machine that slept for a while
    taken = api.claim(dataset.id)
    assert [(one.failures, one.reason) for one in taken.releases] == [(1, "failed")]

    def load() -> None:
        with claim:
            claim._renewing.join(10)
            api.post_dataset_release(claim.releases[0], claim=claim)

    with pytest.raises(Conflict, match="others took over all"):
        load()
    assert claim.claim
    assert api.get_claim(claim.claim.id).ended
    assert [one.id for one in api.get_claims(live=True)] == [taken.claim and taken.claim.id]


LOADER = """
import os, sys, time
from observatory import ObservatoryApi
api = ObservatoryApi(sys.argv[1])
with api.claim_releases(int(sys.argv[2]), limit=3, seconds=2, holder="loader") as claim:
    api.post_dataset_release(claim.releases[0], claim=claim)
    print(claim.id, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_held_is_free_when_its_time_is_over(
    api: ObservatoryApi, offering: Offering, server_url: str
) -> None:
    dataset = offering(3)
    loader = subprocess.Popen(
        [sys.executable, "-c", LOADER, server_url, str(dataset.id)], stdout=subprocess.PIPE, text=True
    )
    assert loader.stdout
    id = int(loader.stdout.readline())
    time.sleep(2.5)  # it lives, and renews its claim
    assert api.claim(dataset.id).claim is None
    os.kill(loader.pid, signal.SIGKILL)
    loader.wait()
    loader.stdout.close()
    died = time.monotonic()
    while (taken := api.claim(dataset.id, 9)).claim is None:
        assert time.monotonic() < died + 10
        time.sleep(0.1)
    assert numbers(taken.releases) == [1, 2]
    assert {one.error for one in taken.releases} == {"the claim of loader ran out"}
    at = taken.releases[0]
    late = DatasetRelease(dataset=dataset, start_date=at.start_date, end_date=at.end_date)
    with pytest.raises(Conflict, match="does not hold this period"):
        api.post_dataset_release(late, claim=id)
    api.post_dataset_release(late, claim=taken.claim)


def test_sixteen_that_race_over_http_are_granted_each_period_once(
    api: ObservatoryApi, offering: Offering, server_url: str
) -> None:
    dataset = offering(400)
    found: list[int] = []

    def load() -> None:
        with ObservatoryApi(server_url) as mine:
            while (granted := mine.claim(dataset.id, 10)).claim:
                found.extend(numbers(granted.releases))

    threads = [threading.Thread(target=load) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(found) == Counter(range(400))


def test_a_request_that_is_repeated_takes_no_second_set(api: ObservatoryApi, offering: Offering) -> None:
    dataset = offering(5)

    def ask(token: str) -> Granted:
        body = Claiming(Dataset(id=dataset.id), limit=2)
        return api._transport.call("POST", "claims", Granted, body=body, token=token)

    first, again, other = ask("one"), ask("one"), ask("two")
    assert first == again
    assert (numbers(first.releases), numbers(other.releases)) == ([0, 1], [2, 3])


def test_just_the_periods_that_are_named_are_claimed(api: ObservatoryApi, offering: Offering) -> None:
    dataset = offering(5)
    days = [DAY_0 + n * DAY for n in range(7)]
    mine = api.claim(
        dataset.id, 9, releases=[(days[3], days[4]), Period(days[1], days[2]), (days[1], days[3])]
    )
    assert numbers(mine.releases) == [1, 3]
    # What others hold is not granted, and nothing in its place.
    assert api.claim(dataset.id, releases=[(days[1], days[2])]) == Granted(None, [])
    [one] = api.claim_releases(dataset.id, releases=[(days[2].date(), days[3].date())]).releases
    assert numbers([one]) == [2]
    assert numbers(api.claim(dataset.id, 9, releases=[(days[5], days[6])], order="newest").releases) == []
    # What failed is passed over for a while, unless it is named.
    assert mine.claim
    api.give_back_claim(mine.claim, Return("failed", error="no disk"), [(days[1], days[2])])
    assert numbers(api.claim(dataset.id, 9, start_date=days[1], end_date=days[2]).releases) == []
    again = api.claim(dataset.id, releases=[(days[1], days[2])]).releases
    assert (numbers(again), again[0].failures) == ([1], 1)
    with pytest.raises(Invalid, match=r"releases\[0\]\.end_date"):
        api._transport.call(
            "POST", "claims", Granted, body=Claiming(dataset, releases=[Period(days[1], days[0])])
        )


def test_what_is_given_back_by_its_period_is_the_claims(api: ObservatoryApi, offering: Offering) -> None:
    dataset = offering(3)
    mine = api.claim(dataset.id, 2)
    assert mine.claim
    last = Period(DAY_0 + 2 * DAY, DAY_0 + 3 * DAY)
    with pytest.raises(Conflict, match="does not hold this period"):
        api.give_back_claim(mine.claim, Return("failed", error="e"), [last])
    api.give_back_claim(mine.claim, releases=[(DAY_0.date(), (DAY_0 + DAY).date())])
    assert numbers(api.renew_claim(mine.claim).releases) == [1]
    assert numbers(api.claim(dataset.id, 9).releases) == [0, 2]
    assert isinstance(api.claim_releases(dataset.id), ClaimedReleases)


def test_a_claim_is_held_by_its_number_in_another_process_and_not_given_back_there(
    api: ObservatoryApi, offering: Offering, server_url: str
) -> None:
    dataset = offering(2)
    taken = api.claim(dataset.id, 2, seconds=1)
    assert taken.claim
    with ObservatoryApi(server_url) as other:
        with other.hold(taken.claim.id, seconds=1) as held:
            time.sleep(1.5)  # it is renewed
            assert api.claim(dataset.id).claim is None
            first = held.periods[0]
            release = DatasetRelease(dataset=dataset, start_date=first.start_date, end_date=first.end_date)
            other.post_dataset_release(release, claim=held)
        with pytest.raises(OSError, match="no disk"), other.hold(taken.claim) as held:
            raise OSError("no disk")
        assert held.periods == [Period(DAY_0 + DAY, DAY_0 + 2 * DAY)]
        assert [one.id for one in api.get_claims(live=True)] == [taken.claim.id]
        other.renew_claim(taken.claim, seconds=1)
        time.sleep(1.1)
        assert numbers(api.claim(dataset.id, 9).releases) == [1]
        with pytest.raises(Conflict, match="others took over all"):
            other.hold(taken.claim)
