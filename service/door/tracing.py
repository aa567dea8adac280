"""Traces by OpenTelemetry: one span for each request, its stages below it. Needs requirements/tracing.txt.

Where they go, and how many of them, is said by OpenTelemetry's own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_TRACES_SAMPLER, …). They leave in a thread of their own, from a queue that forgets what it cannot hold: no request
waits for a collector.
"""

import threading
import time
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from starlette.types import Scope

from service.stages import Stage

#: Methods that may stand in a span's name, which is to be one of few.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
#: Nanoseconds.
_SECOND: Final = 1_000_000_000
#: Seconds, less than a pod has left at the end of its drain.
_PARTING: Final = 2.0


class Tracing:
    """Makes spans and sends them by OTLP over HTTP. Raises ValueError if OpenTelemetry's settings are of no use."""

    def __init__(self, version: str) -> None:
        ours = Resource({"service.name": "tfpod", "service.version": version})
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tfpod", version)

    def begin(self, scope: Scope) -> "RequestSpan":
        """Begin the span of a request, which continues its caller's trace if there is one."""
        return RequestSpan(self._tracer, scope)

    def close(self) -> None:
        """Send what waits to be sent; give up after two seconds, whatever the collector does."""
        thread = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        thread.start()
        thread.join(_PARTING)


class RequestSpan:
    """A server span, named and attributed as OpenTelemetry's semantic conventions for HTTP have it (1.23, stable).

    But for the route: it has the name that it has in the metrics.
    """

    def __init__(self, tracer: trace.Tracer, scope: Scope) -> None:
        self._tracer = tracer
        self._epoch = time.time_ns() - int(time.monotonic() * _SECOND)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        self._name = method.replace("_OTHER", "HTTP")
        attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
        self._span = tracer.start_span(self._name, propagate.extract(headers), SpanKind.SERVER, attributes)
        self.trace_id = format_trace_id(self._span.get_span_context().trace_id)

    def end(self, scope: Scope, status: int, stages: list[Stage]) -> None:
        """End the span, and add its stages."""
        span = self._span
        if span.is_recording():
            within = trace.set_span_in_context(span)
            for stage in stages:
                begun = self._epoch + int(stage.begun * _SECOND)
                child = self._tracer.start_span(stage.name, within, attributes={**stage.facts}, start_time=begun)
                child.end(self._epoch + int(stage.ended * _SECOND))
            route = scope.get("route")
            if route is not None:
                span.update_name(f"{self._name} {route.name}")
                span.set_attribute("http.route", route.name)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_attribute("error.type", str(status))
                span.set_status(StatusCode.ERROR)
        span.end()
