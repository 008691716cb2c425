"""A source on the web that fails in all the ways in which sources do, and a telescope that probes it."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from observatory import Dataset, DatasetRelease, ObservatoryApi
from observatory.errors import Invalid, Shrunk
from observatory.records import Outcome
from observatory.wants import Missing, Offer, Probed

DAY_0, DAY = datetime(2021, 1, 1, tzinfo=UTC), timedelta(1)
Listing = list[dict[str, Any]]
PATIENCE = 0.2  # seconds


class Source(ThreadingHTTPServer):
    """Publishes lists of releases, page by page; what is no list it answers as it stands."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.pages: list[Listing | str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of callers who did not wait."""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Source)
        number = int(self.path.strip("/") or 0)
        page = self.server.pages[number]
        if page is None:
            time.sleep(2 * PATIENCE)  # it takes longer than anybody waits
        elif isinstance(page, str):
            status, _, text = page.partition(" ")
            self.answer(int(status), text)
        else:
            next_ = number + 1 if number + 1 < len(self.server.pages) else None
            self.answer(200, json.dumps({"releases": page, "next": next_}))

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        # A list that is cut off says at its head how long it was to be.
        self.send_header("Content-Length", str(len(text) + text.count("…cut off")))
        self.end_headers()
        self.wfile.write(text.encode("ascii", "ignore"))

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def source() -> Iterator[Source]:
    with Source() as source:
        thread = threading.Thread(target=source.serve_forever, args=[0.01])
        thread.start()
        yield source
        source.shutdown()
        thread.join()


def look(source: Source, seen: list[Offer]) -> None:
    """Reads the list of a source to its end; what was seen of it stays where it fails."""
    number: int | None = 0
    while number is not None:
        answer = httpx2.get(f"{source.url}/{number}", timeout=PATIENCE)
        page = answer.raise_for_status().json()
        for one in page["releases"]:
            published = one.get("published") and datetime.fromisoformat(one["published"])
            start, end = map(datetime.fromisoformat, one["period"])
            seen.append(Offer(start, end, one["version"], published, extras={"url": one["version"]}))
        number = page["next"]


def probe(api: ObservatoryApi, dataset: Dataset, source: Source, **told: Any) -> Probed:
    """Tells the book what a source offers, as any telescope does."""
    # Noted before: whoever looks later knows better, also where this is told last.
    observed, seen = datetime.now(UTC), list[Offer]()
    try:
        look(source, seen)
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome: Outcome = "partial" if seen else "failed"
        return api.probe(dataset.id, seen, outcome=outcome, observed=observed, error=why)
    return api.probe(dataset.id, seen, observed=observed, **told)


def days(first: int, last: int, version: str = "v1", **facts: Any) -> Listing:
    """Returns what a source says of some days."""
    found = ((DAY_0 + n * DAY, DAY_0 + (n + 1) * DAY) for n in range(first, last))
    return [{"period": list(map(str, ends)), "version": version, **facts} for ends in found]


def release(dataset: Dataset, number: int, version: str = "v1") -> DatasetRelease:
    start = DAY_0 + number * DAY
    return DatasetRelease(dataset=dataset, start_date=start, end_date=start + DAY, version_label=version)


def stands(api: ObservatoryApi) -> tuple[list[Missing], list[Any], list[DatasetRelease]]:
    """Returns all that a source that fails must not change."""
    told = [(one.start_date, one.end_date, one.version_label, one.gone) for one in api.get_offers(1)]
    return api.get_missing(), told, api.get_dataset_releases(state=None, history=True)


TEN = days(0, 10)
FAILURES: dict[str, Sequence[Listing | str | None]] = {
    "does not answer in time": [None],
    "answers that it is broken": ["500 internal error"],
    "answers nothing": ["200 "],
    "shows a login page": ["200 <html><form action='/login'>Please sign in</form></html>"],
    "says in JSON that one should sign in": ['200 {"error": "sign in first"}'],
    "ends in the middle of its list": ['200 {"releases": [{"period": ["2021-01-01T00…cut off'],
    "does not answer for the second page": [TEN[:5], None],
    "shows a login page after the first": [TEN[:5], "200 <html>Your session is over</html>"],
    "has an empty list": [[]],
    "has half of its list": [TEN[:5]],
    "tells all twice": [TEN, TEN],
    "tells all in another order": [TEN[7:], TEN[:7][::-1]],
    "tells each in an earlier version too": [TEN[::-1], days(0, 10, "v0")],
}
SEEN_WHOLE = {name for name in FAILURES if name.startswith("tells")}
LOOKS_WHOLE = {"has an empty list", "has half of its list"}


def test_a_source_that_fails_changes_nothing_of_what_is_offered_missing_and_there(
    api: ObservatoryApi, dataset: Dataset, source: Source
) -> None:
    source.pages = [TEN]
    assert probe(api, dataset, source).new == 10
    api.post_dataset_releases([release(dataset, number) for number in (2, 3)])
    claim = api.claim(dataset.id).claim
    before = stands(api)
    for failure, pages in FAILURES.items():
        source.pages = list(pages)
        if failure in LOOKS_WHOLE:
            with pytest.raises(Shrunk, match="of 10 offers"):
                probe(api, dataset, source)
        else:
            done = probe(api, dataset, source)
            assert (done.outcome == "complete") == (failure in SEEN_WHOLE), failure
            assert done == Probed(done.outcome, done.observed, 10), failure
        assert stands(api) == before, failure
    api.post_dataset_release(release(dataset, 0), claim=claim)
    source.pages = [TEN, days(10, 11)]
    assert probe(api, dataset, source).new == 1
    assert api.count_missing() == {"offered": 8}


def test_a_source_that_is_not_there_is_told_with_the_status(api: ObservatoryApi, dataset: Dataset) -> None:
    with Source() as away:
        pass
    assert probe(api, dataset, away).outcome == "failed"
    [status] = api.get_statuses()
    assert (status.status, status.probe_outcome) == ("unknown", "failed")
    assert (status.probe_error or "").startswith("ConnectError")


def test_what_was_seen_first_takes_nothing_away_however_late_it_is_told(
    api: ObservatoryApi, dataset: Dataset, source: Source
) -> None:
    source.pages = [days(0, 10)]
    early, seen = datetime.now(UTC), list[Offer]()
    look(source, seen)
    source.pages = [days(0, 10, "v2"), days(10, 12)]
    assert probe(api, dataset, source).new == 12
    before = stands(api)
    outcomes: list[Outcome] = ["complete", "partial", "failed"]
    for outcome in outcomes:
        told: list[Offer] = [] if outcome == "failed" else seen
        done = api.probe(dataset.id, told, outcome=outcome, observed=early)
        assert (done.offers, done.new, done.changed, done.gone) == (12, 0, 0, 0)
        assert stands(api) == before


def test_two_periods_may_be_of_one_version_and_are_two_offers(
    api: ObservatoryApi, dataset: Dataset, source: Source
) -> None:
    month = {"period": ["2021-01-01T00:00:00+00:00", "2021-02-01T00:00:00+00:00"], "version": "v1"}
    source.pages = [[*days(0, 1), month]]
    assert probe(api, dataset, source).offers == 2
    api.post_dataset_release(release(dataset, 0))
    assert [one.end_date for one in api.get_missing()] == [datetime(2021, 2, 1, tzinfo=UTC)]
    # A version that moves to another period was there before in each, and neither is restated.
    source.pages = [[*days(0, 2), month]]
    done = probe(api, dataset, source)
    assert (done.new, done.changed, done.restated) == (1, 0, 0)


def test_a_clock_that_is_ahead_makes_nothing_due_late_or_restated(
    api: ObservatoryApi, dataset: Dataset, source: Source
) -> None:
    source.pages = [days(0, 3, published="2099-01-01T00:00:00+00:00")]
    assert probe(api, dataset, source).new == 3
    api.post_dataset_release(release(dataset, 0))
    # The clock of the source was set right: what it published is older by it than it was, and the same.
    source.pages = [days(0, 3, published="2021-02-01T00:00:00+00:00")]
    assert probe(api, dataset, source).restated == 0
    assert api.count_missing() == {"offered": 2}
    # Who probes may have a clock that goes a little fast; it then looked just now.
    done = api.probe(dataset.id, outcome="partial", observed=datetime.now(UTC) + timedelta(seconds=30))
    assert done.observed <= datetime.now(UTC)
    # But a probe cannot be of tomorrow, since all that is told until then would count for nothing.
    with pytest.raises(Invalid, match="ahead of the server's clock"):
        api.probe(dataset.id, [], observed=datetime.now(UTC) + DAY)
    assert api.count_missing() == {"offered": 2}
