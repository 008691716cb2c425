"""Traces of requests for OpenTelemetry, where the environment names a collector; else nothing is imported.

OpenTelemetry reads all its settings itself, under the names that every service has for them. Spans are sent
by a thread of its own, which drops them where the collector does not take them: requests never wait for it.
"""

import logging
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from litestar.types import HTTPScope

from ..access import Caller
from ..ledger import Database
from ..ledger.database import P, T, Work

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH = 2.0  # seconds for what is still to be sent when the server stops


class Spans:
    """Where the spans of this process go."""

    def __init__(self, provider: "TracerProvider", exporter: "SpanExporter") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._exporter = provider, exporter
        self.tracer = provider.get_tracer("observatory")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> "Span":
        """Begins the span of a request, within the one that the caller says it is part of."""
        from opentelemetry.trace import SpanKind

        said = {name: headers.get(name.encode(), b"").decode("latin-1") for name in self._propagator.fields}
        parent = self._propagator.extract({name: value for name, value in said.items() if value})
        method = scope["method"]
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        return Span(
            self.tracer.start_span(method, parent, kind=SpanKind.SERVER, attributes=attributes), method
        )

    def close(self) -> None:
        """Sends what is still to be sent, if it is taken soon."""
        flushing = Thread(target=self._provider.force_flush, name="observatory-traces", daemon=True)
        flushing.start()
        flushing.join(FLUSH)
        # First, because the provider would wait until the exporter has tried for each batch in vain.
        self._exporter.shutdown()
        self._provider.shutdown()


class Span:
    """The span of one request."""

    def __init__(self, span: Any, method: str) -> None:
        from opentelemetry import context, trace

        self._span, self._method = span, method
        self._token = context.attach(trace.set_span_in_context(span))

    def end(self, route: str | None, status: int) -> None:
        """Ends it, and names it by the route, which holds nothing of the book."""
        from opentelemetry import context
        from opentelemetry.trace import StatusCode

        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)


class Traced:
    """A database whose work is a span within the one of the request."""

    def __init__(self, database: Database, spans: Spans) -> None:
        self._database, self._tracer = database, spans.tracer
        self._system = "postgresql" if database.url.startswith("postgres") else "sqlite"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def read(self, by: Caller, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function that only reads a little."""
        with self._spanned("read", work):
            return await self._database.read(by, work, *args, **kwargs)

    async def scan(self, by: Caller, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function that may read much."""
        with self._spanned("scan", work):
            return await self._database.scan(by, work, *args, **kwargs)

    async def at_once(
        self, by: Caller, work: Work[P, T | None], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """Runs a function of one statement that changes something."""
        with self._spanned("at once", work):
            return await self._database.at_once(by, work, *args, **kwargs)

    async def write(self, by: Caller, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function in a transaction."""
        with self._spanned("write", work):
            return await self._database.write(by, work, *args, **kwargs)

    def _spanned(self, kind: str, work: Any) -> Any:
        from opentelemetry.trace import SpanKind

        attributes = {"db.system.name": self._system, "db.operation.name": f"{kind} {work.__name__}"}
        # What goes wrong may quote what is in a row: it is not told to the collector.
        return self._tracer.start_as_current_span(
            f"{kind} {work.__name__}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )


def traced(database: Database, spans: Spans | None) -> Database:
    """Returns the database with spans for what it does, if there are any."""
    return cast(Database, Traced(database, spans)) if spans else database


def spans(environ: Mapping[str, str]) -> Spans | None:
    """Returns where spans go, if the environment names a collector and the extra is installed."""
    if not any(environ.get(name) for name in COLLECTORS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        cure = "pip install 'observatory-ledger[tracing]'"
        logging.getLogger(__name__).warning("traces are asked for, but cannot be made: %s", cure)
        return None
    is_named = "OTEL_SERVICE_NAME" in environ or "service.name" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(
        resource=Resource.create({} if is_named else {"service.name": "observatory"}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    # A collector that is away is an error once a batch is lost, and not each time it is tried.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    return Spans(provider, exporter)
