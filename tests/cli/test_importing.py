"""Releases that something else knows of: shown first, then taken into the book, as often as is typed."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from observatory import Dataset, DatasetRelease, DatasetType, ObservatoryApi
from observatory.cli.times import time_of

from .conftest import Type

BOOKS = "Curtin Press/sales/books"
TO = ["--dataset", BOOKS]
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_(text: str) -> str:
        file = tmp_path / "list"
        file.write_text(text)
        return str(file)

    return write_


def spans(api: ObservatoryApi) -> list[tuple[str, str]]:
    return [
        (one.start_date.strftime("%Y-%m-%dT%H"), one.end_date.strftime("%Y-%m-%dT%H"))
        for one in api.get_dataset_releases()
    ]


def test_a_file_is_shown_first_and_then_recorded_once(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, write: Write
) -> None:
    file = write(
        "start_date,end_date,row_count,version_label,published,state\n"
        "2021-01-01,2021-02-01,10,v1,2021-02-03T10:00:00+02:00,\n"
        "2021-02-01,2021-03-01,,,,empty\n"
        "2021-03-01T12:00:00Z,2021-03-01T12:00:00Z,5,,,present\n"
    )
    shown = observatory("adopt-from", "csv", file, *TO, "--dry-run")
    assert shown.code == 0
    assert shown.out.splitlines()[1] == "new\t2021-01-01\t2021-02-01\t10\tv1\t"
    assert shown.err == "3 would be recorded, 0 there already, 0 in conflict\n"
    assert api.get_dataset_releases() == []

    done = observatory("adopt-from", "csv", file, *TO)
    assert (done.code, done.out, done.err) == (0, "", "3 recorded, 0 there already, 0 in conflict\n")
    found = api.get_dataset_releases()
    assert [one.state for one in found] == ["present", "empty", "present"]
    assert found[0].published == time_of("2021-02-03T08:00Z")
    assert found[0].reason == "adopted: listed in a file"
    assert found[1].extras == {"evidence": {"listed": f"{file}, line 3"}}
    again = observatory("adopt-from", "csv", file, *TO)
    assert (again.code, again.err) == (0, "0 recorded, 3 there already, 0 in conflict\n")
    assert api.get_dataset_releases(history=True) == found


def test_what_the_book_says_otherwise_is_listed_and_left(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, write: Write
) -> None:
    for month, rows in ((1, 10), (2, 20)):
        start, end = time_of(f"2021-0{month}-01"), time_of(f"2021-0{month + 1}-01")
        release = DatasetRelease(dataset=dataset, start_date=start, end_date=end, row_count=rows)
        api.post_dataset_release(release)
    api.put_dataset_release(DatasetRelease(id=2, state="withdrawn", reason="half of it"))
    file = write("start_date,end_date,row_count\n2021-01-01,2021-02-01,11\n2021-02-01,2021-03-01,20\n")
    said = observatory("adopt-from", "csv", file, *TO)
    assert said.code == 1
    assert said.out.splitlines()[1:] == [
        "conflict\t2021-01-01\t2021-02-01\t11\t\trow_count is 10 in the book, not 11",
        "conflict\t2021-02-01\t2021-03-01\t20\t\trelease 2 is withdrawn in the book: half of it",
    ]
    assert said.err == "0 recorded, 0 there already, 2 in conflict\n"
    assert len(api.get_dataset_releases(history=True)) == 2


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("2021-01-01T10:00,2021-02-01,,", "has no offset: add one, or say --timezone"),
        ("2021-01-32,2021-02-01,,", "start_date '2021-01-32' is no time"),
        ("2021-02-01,2021-01-01,,", "end_date must not be before start_date"),
        ("2021-01-01,,,", "end_date must be given"),
        ("2021-01-01,2021-02-01,ten,", "row_count 'ten' is no number of rows"),
        ("2021-01-01,2021-02-01,,gone", "state 'gone' is none of present, empty"),
        ("2021-01-01,2021-02-01", "has more or fewer fields than the header"),
        ("2020-01-01,2020-02-01,,", "is of the same period as line 2"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_nothing_is_recorded(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, write: Write, line: str, error: str
) -> None:
    file = write(f"start_date,end_date,row_count,state\n2020-01-01,2020-02-01,,\n{line}\n")
    said = observatory("adopt-from", "csv", file, *TO)
    assert said.code == 2
    assert "error: line 3: " in said.err
    assert error in said.err
    assert api.get_dataset_releases() == []
    said = observatory("adopt-from", "csv", file, *TO, "--skip-wrong")
    assert (said.code, said.err.startswith("skipped: line 3: ")) == (0, True)
    assert len(api.get_dataset_releases()) == 1


def test_local_times_need_their_zone_and_are_not_guessed_when_clocks_change(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, write: Write
) -> None:
    file = write("start_date,end_date\n2021-06-01,2021-06-02\n2021-12-01 00:00,2021-12-02 00:00\n")
    assert observatory("adopt-from", "csv", file, *TO, "--timezone", "Europe/London").code == 0
    assert spans(api) == [("2021-05-31T23", "2021-06-01T23"), ("2021-12-01T00", "2021-12-02T00")]
    for local in ("2021-10-31 01:30", "2021-03-28 01:30"):
        file = write(f"start_date,end_date\n{local},2022-01-01\n")
        said = observatory("adopt-from", "csv", file, *TO, "--timezone", "Europe/London")
        assert (said.code, "is twice or never in Europe/London" in said.err) == (2, True)
    said = observatory("adopt-from", "csv", file, *TO, "--timezone", "Mars")
    assert (said.code, "is no time zone" in said.err) == (2, True)


def test_a_header_that_is_not_understood_is_refused(
    observatory: Type, dataset: Dataset, write: Write
) -> None:
    for header in ("start,end_date", "start_date,end_date,rows", ""):
        said = observatory("adopt-from", "csv", write(f"{header}\n"), *TO)
        assert (said.code, "known are start_date" in said.err) == (2, True)


BQ_LS = """   tableId       Type    Labels   Time Partitioning   Clustered Fields
 -------------- ------- -------- ------------------- ------------------
  c20210102      TABLE
  c20210109      TABLE
  other          VIEW
  c_old20210102  TABLE
"""


@pytest.mark.parametrize(
    "listed",
    [
        BQ_LS,
        "a:b.c20210102\na.b.c20210109\nc2021\na.b.d20210102\n",
        "table_schema,table_name,row_count\nb,c20210102,7\nb,c20210109,8\nb,d,1\nb,e,1\n",
        '[{"id": "a:b.c20210102", "tableReference": {"projectId": "a", "tableId": "c20210102"}},'
        ' {"tableReference": {"tableId": "c20210109"}}, {"table_id": "d"}, {"table_id": "e"}]',
        '{"table_id": "c20210102"}\n{"table_id": "c20210109"}\n{"table_id": "d"}\n{"table_id": "e"}\n',
    ],
)
def test_shards_are_snapshots_of_their_dates(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, write: Write, listed: str
) -> None:
    said = observatory("adopt-from", "bigquery", write(listed), *TO)
    assert said.code == 0
    assert said.err == (
        "note: 2 others in the list are no tables of c with a date\n"
        "2 recorded, 0 there already, 0 in conflict\n"
    )
    assert spans(api) == [("2021-01-02T00",) * 2, ("2021-01-09T00",) * 2]
    assert observatory("adopt-from", "bigquery", "-", *TO, stdin=listed).err.endswith(
        "0 recorded, 2 there already, 0 in conflict\n"
    )


def test_partitions_are_periods_with_their_rows(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, write: Write
) -> None:
    kind = api.get_table_type(type_id="partitioned")
    kind = api.put_table_type(type(kind)(id=kind.id, granularity="month"))
    monthly = DatasetType(type_id="monthly", name="Monthly", table_type=kind)
    api.put_dataset(Dataset(id=dataset.id, dataset_type=api.post_dataset_type(monthly)))
    rows = ["c,202101,31", "c,202102,28", "c,__NULL__,4", "c,20210301,1", "d,202101,9"]
    listed = "\n".join(["table_name,partition_id,total_rows", *rows, ""])
    said = observatory("adopt-from", "bigquery", write(listed), *TO)
    assert said.err.startswith("note: 3 others in the list")
    assert spans(api) == [("2021-01-01T00", "2021-02-01T00"), ("2021-02-01T00", "2021-03-01T00")]
    found = api.get_dataset_releases()[0]
    assert (found.row_count, found.extras) == (31, {"evidence": {"table": "c$202101", "rows": 31}})
    said = observatory("adopt-from", "bigquery", write(listed), *TO, "--table", "d")
    assert (said.code, "row_count is 31 in the book, not 9" in said.out) == (1, True)


# No Airflow runs here: a small server answers what the REST API of Airflow 3.3 does.


def asset_event(number: int, **more: Any) -> dict[str, Any]:
    event = {
        "id": number,
        "asset_id": 7,
        "uri": "s3://b/books",
        "name": "books",
        "group": "asset",
        "extra": {},
        "source_task_id": "load",
        "source_dag_id": "sales",
        "source_run_id": f"scheduled__2021-01-{number % 28 + 1:02}T00:00:00+00:00",
        "source_map_index": -1,
        "created_dagruns": [],
        "timestamp": "2021-06-01T00:00:00.5Z",
        "partition_key": None,
    }
    return event | more


class Airflow(ThreadingHTTPServer):
    """What an Airflow keeps of one asset."""

    events: list[dict[str, Any]]
    runs: dict[str, tuple[str, str]]


class Answering(BaseHTTPRequestHandler):
    """Answers as Airflow 3.3 does, to those who show the token."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, said = self.answer([unquote(part) for part in parts.path.split("/")][3:], asked)
        if self.headers["Authorization"] != "Bearer sesame":
            status, said = 401, {"detail": "Not authenticated"}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, path: list[str], asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        server = self.server
        assert isinstance(server, Airflow)
        if path == ["assets"]:
            known = {"id": 7, "name": "books", "uri": "s3://b/books", "group": "asset", "aliases": []}
            wanted = asked.get("uri_pattern") or asked["name_pattern"]
            found = [known, {**known, "id": 8, "uri": "s3://b/books2", "name": "books2"}]
            found = [one for one in found if wanted in (str(one["uri"]) + str(one["name"]))]
            return 200, {"assets": found[::-1], "total_entries": len(found)}
        if path == ["assets", "events"]:
            assert asked["asset_id"] == "7"
            at = int(asked["offset"])
            page = server.events[at : at + min(int(asked["limit"]), 100)]
            return 200, {"asset_events": page, "total_entries": len(server.events)}
        start, end = server.runs.get(path[3], (None, None))
        run = {"dag_run_id": path[3], "data_interval_start": start, "data_interval_end": end}
        return (200, run) if start else (404, {"detail": "not found"})

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    server = Airflow(("127.0.0.1", 0), Answering)
    server.events, server.runs = [], {}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def from_airflow(server: Airflow, asset: str = "s3://b/books") -> list[str]:
    url = f"http://127.0.0.1:{server.server_port}"
    return ["adopt-from", "airflow", "--url", url, "--asset", asset, *TO]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "sesame")


def test_asset_events_say_their_periods_in_three_ways(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, airflow: Airflow
) -> None:
    airflow.runs = {"run 4/a": ("2021-01-04T00:00:00Z", "2021-01-05T00:00:00Z")}
    facts = {"row_count": 12, "version_label": "v1", "digest": "sha256:1"}
    airflow.events = [
        asset_event(1, extra={"start_date": "2021-01-01", "end_date": "2021-01-02T00:00:00+00:00", **facts}),
        asset_event(2, extra={"snapshot_date": "2021-01-02", "row_count": "many"}),
        asset_event(3, partition_key="2021-01-03"),
        asset_event(4, source_run_id="run 4/a", source_map_index=2),
        asset_event(5, source_run_id="purged"),
        asset_event(6, extra={"start_date": "2021-01-01T10:00:00", "end_date": "2021-01-02"}),
        asset_event(7, partition_key="2021-01-07T00:00:00"),
        asset_event(8, source_dag_id=None, source_run_id=None),
    ]
    shown = observatory(*from_airflow(airflow), "--dry-run")
    assert shown.err == (
        "note: events that tell of no period: 5, 6, 8\n5 would be recorded, 0 there already, 0 in conflict\n"
    )
    assert api.get_dataset_releases() == []
    assert observatory(*from_airflow(airflow, "books")).code == 0
    found = api.get_dataset_releases()
    assert spans(api) == [
        ("2021-01-01T00", "2021-01-02T00"),
        ("2021-01-02T00", "2021-01-02T00"),
        ("2021-01-03T00", "2021-01-04T00"),
        ("2021-01-04T00", "2021-01-05T00"),
        ("2021-01-07T00", "2021-01-08T00"),
    ]
    assert (found[0].row_count, found[0].version_label, found[0].digest) == (12, "v1", "sha256:1")
    assert found[0].extras == {"evidence": {"asset": "s3://b/books", "event": 1}}
    assert found[3].run
    assert (found[3].run.run_id, found[3].run.map_index) == ("run 4/a", 2)
    assert observatory(*from_airflow(airflow)).err.endswith("0 recorded, 5 there already, 0 in conflict\n")


def test_all_pages_are_read_and_the_last_event_of_a_period_counts(
    observatory: Type, api: ObservatoryApi, dataset: Dataset, airflow: Airflow
) -> None:
    days = [f"2021-{month:02}-{day:02}" for month in range(1, 10) for day in range(1, 29)]
    airflow.events = [asset_event(n, partition_key=day) for n, day in enumerate(days)]
    airflow.events.append(asset_event(999, partition_key=days[0], extra={"row_count": 3}))
    assert observatory(*from_airflow(airflow)).err == "252 recorded, 0 there already, 0 in conflict\n"
    assert api.get_dataset_releases(limit=None)[0].row_count == 3


def test_an_airflow_that_does_not_answer_is_told_in_a_line(
    observatory: Type, dataset: Dataset, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = observatory(*from_airflow(airflow, "nothing"))
    assert (said.code, "Airflow knows no asset 'nothing'" in said.err) == (1, True)
    monkeypatch.delenv("AIRFLOW_API_TOKEN")
    said = observatory(*from_airflow(airflow))
    assert (said.code, "Airflow answered 401 to assets" in said.err) == (1, True)
    said = observatory("adopt-from", "airflow", "--url", "http://127.0.0.1:9", "--asset", "a", *TO)
    assert (said.code, "Airflow did not answer" in said.err) == (1, True)
