"""Traces of requests, as a collector receives them; and that a dead collector holds up nobody."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from .conftest import Served, admin_key

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it has no part in it

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Receives spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Span]:
        told = [ExportTraceServiceRequest.FromString(body) for body in self.received]
        return [
            span
            for one in told
            for by in one.resource_spans
            for scope in by.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def attributes(span: Span) -> dict[str, object]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def test_a_collector_receives_a_span_of_each_request_and_of_its_work_in_the_database(
    collector: Collector, served: Callable[..., Served], database_url: str
) -> None:
    server = served(database_url)
    headers = {"Authorization": f"Bearer {admin_key(server.url)}"}
    traced = headers | {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    httpx2.get(f"{server.url}/v1/table-types/1?", headers=traced)
    httpx2.get(f"{server.url}/v1/table-types/99", headers=headers)
    httpx2.get(f"{server.url}/canary/1", headers=headers)
    server.stop()

    spans = [span for span in collector.spans() if "livez" not in span.name]
    by_name = {span.name: span for span in spans}
    asked = next(
        span for span in spans if span.trace_id.hex() == TRACE and span.parent_span_id.hex() == PARENT
    )
    assert asked.name == "GET /v1/table-types/{id}"
    assert asked.kind == Span.SPAN_KIND_SERVER
    assert attributes(asked) == {
        "http.request.method": "GET",
        "http.route": "/v1/table-types/{id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    work = [span for span in spans if span.parent_span_id == asked.span_id]
    assert "read fetch" in {span.name for span in work}
    assert {attributes(span)["db.system.name"] for span in work} == {"sqlite"}
    assert attributes(by_name["GET"])["http.response.status_code"] == 404
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_UNSET}
    assert b"canary" not in b"".join(collector.received)


def test_a_dead_collector_holds_up_no_request_and_the_end_not_for_long(
    served: Callable[..., Served], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    server = served(database_url)
    headers = {"Authorization": f"Bearer {admin_key(server.url)}"}
    with httpx2.Client(base_url=server.url, headers=headers) as http:
        begun = time.monotonic()
        for _ in range(1000):
            assert http.get("/v1/table-types/1").status_code == 200
        assert time.monotonic() - begun < 30
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 8


def test_without_a_collector_nothing_is_imported(database_url: str) -> None:
    said = "import sys, observatory.server.tracing as t; assert t.spans({}) is None; print(*sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
    found = subprocess.run([sys.executable, "-c", said], env=environment, capture_output=True, text=True)
    assert "observatory.server.tracing" in found.stdout
    assert "opentelemetry" not in found.stdout
