"""service/door/tracing.py: spans arrive at a collector that speaks OTLP; one that does not answer holds nothing up."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service import logs, stages
from service.__main__ import main
from service.app import Pod
from service.door.tracing import Tracing
from service.door.trail import Trail
from service.settings import Settings
from tests.echo import saved
from tests.serving import GET, POST, serving
from tests.test_routes import Doubler

pytestmark = pytest.mark.anyio

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = ("decode", "queue", "model", "encode")
ROUTE = Route("/v1/models/{model}:predict", lambda _: Response(), methods=["POST"], name="tfserving_predict")


@dataclass
class Collector:
    """What a collector was sent."""

    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    #: It answers once this is set.
    answers: threading.Event = field(default_factory=threading.Event)

    @property
    def spans(self) -> dict[str, Span]:
        """The spans by name."""
        of = [scoped for request in self.requests for each in request.resource_spans for scoped in each.scope_spans]
        return {span.name: span for scoped in of for span in scoped.spans}

    @property
    def resource(self) -> dict[str, str]:
        """What the spans say they are from."""
        attributes = self.requests[0].resource_spans[0].resource.attributes
        return {attribute.key: attribute.value.string_value for attribute in attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Run a collector, and have the environment say where."""
    found = Collector()
    found.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            found.asked.set()
            found.answers.wait()
            found.requests.append(ExportTraceServiceRequest.FromString(body))
            with contextlib.suppress(OSError):  # whoever asked may have given up
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield found
    found.answers.set()
    server.shutdown()
    server.server_close()
    thread.join()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the walk does, as far as traces are concerned; fail if the path says so."""
    if scope["type"] != "http":
        return
    if scope["method"] == "POST":
        scope["route"] = ROUTE
        loop = asyncio.get_running_loop()
        begun = loop.time()
        stages.note("queue", begun - 0.002, begun - 0.001)
        stages.note("model", begun - 0.001, begun, {"batch_rows": 7})
    await Response(status_code=500 if scope["path"] == "/fail" else 200)(scope, receive, send)


async def ask(*requests: bytes) -> list[int]:
    """Serve the app, ask it one after the other, send the spans; return the statuses."""
    tracing = Tracing("1.2.3")
    async with serving(Trail(app, tracer=tracing)) as pod:
        client = await pod.connect()
        found = [(await client.ask(request))[0] for request in requests]
    await asyncio.to_thread(tracing.close)
    return found


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_request_is_a_span_in_its_callers_trace_with_its_stages_below(collector: Collector) -> None:
    given = b"\r\ntraceparent: 00-%b-%b-01\r\n\r\n" % (TRACE.encode(), PARENT.encode())
    assert await ask(POST.replace(b"\r\n\r\n", given)) == [200]
    spans = collector.spans
    server = spans.pop("POST tfserving_predict")
    assert (server.trace_id.hex(), server.parent_span_id.hex(), server.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "tfserving_predict",
        "url.path": "/",
        "url.scheme": "http",
    }
    assert set(spans) == {"queue", "model"}
    assert all(span.parent_span_id == server.span_id for span in spans.values())
    assert attributes(spans["model"]) == {"batch_rows": 7}
    assert spans["queue"].end_time_unix_nano == spans["model"].start_time_unix_nano
    assert abs(spans["model"].end_time_unix_nano - server.end_time_unix_nano) < 60e9, "by the same clock"


async def test_an_inference_has_the_stages_of_the_walk(collector: Collector, tmp_path: Path) -> None:
    tracing, ready = Tracing("0"), asyncio.Event()
    settings = Settings(models=f"m={saved(tmp_path, '1')}")
    async with serving(Pod(settings, "0", lambda _: ready.set(), lambda _: Doubler(), tracing).api) as pod:
        await ready.wait()
        body = b'{"instances": [[1, 2, 3], [4, 5, 6]]}'
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: pod\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await (await pod.connect()).ask(head + body))[0] == 200
        assert (await (await pod.connect()).ask(GET.replace(b" / ", b" /nowhere ")))[0] == 404
    await asyncio.to_thread(tracing.close)
    spans = collector.spans
    assert set(spans) == {"POST tfserving_predict", "decode", "queue", "model", "encode", "GET nowhere"}
    assert attributes(spans["model"]) == {"batch_rows": 2}
    times = [(spans[name].start_time_unix_nano, spans[name].end_time_unix_nano) for name in STAGES]
    assert [time for pair in times for time in pair] == sorted(time for pair in times for time in pair)


async def test_a_request_without_a_trace_begins_one_and_an_error_is_one(collector: Collector) -> None:
    assert await ask(GET.replace(b" / ", b" /fail "), GET.replace(b"GET", b"PROPFIND")) == [500, 200]
    failed, strange = collector.spans["GET"], collector.spans["HTTP"]
    assert failed.parent_span_id == b""
    assert failed.trace_id != strange.trace_id
    assert (failed.status.code, strange.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert attributes(failed)["error.type"] == "500"
    assert attributes(strange)["http.request.method"] == "_OTHER"


async def test_log_lines_tell_the_trace_that_was_begun(collector: Collector) -> None:
    told: list[str] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(logs.about.get()["trace_id"])

    tracing = Tracing("0")
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []}
    await Trail(look, tracer=tracing)(scope, None, None)  # type: ignore[arg-type]
    await asyncio.to_thread(tracing.close)
    assert told == [collector.spans["GET"].trace_id.hex()]


async def test_spans_say_whose_they_are(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(GET)
    assert collector.resource.items() >= {"service.name": "tfpod", "service.version": "1.2.3"}.items()
    collector.requests.clear()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "digits")
    await ask(GET)
    assert collector.resource["service.name"] == "digits"


async def test_a_trace_that_is_not_sampled_is_not_sent(collector: Collector) -> None:
    given = b"\r\ntraceparent: 00-%b-%b-00\r\n\r\n" % (TRACE.encode(), PARENT.encode())
    assert await ask(POST.replace(b"\r\n\r\n", given)) == [200]
    assert collector.requests == []


async def test_a_collector_that_does_not_answer_delays_neither_requests_nor_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MAX_QUEUE_SIZE": "8", "MAX_EXPORT_BATCH_SIZE": "4", "SCHEDULE_DELAY": "1"}.items():
        monkeypatch.setenv(f"OTEL_BSP_{name}", value)
    collector.answers.clear()
    assert await ask(*[GET] * 100) == [200] * 100
    assert collector.asked.is_set()
    assert collector.requests == []
    (given_up,) = (thread for thread in threading.enumerate() if thread.name == "traces")
    collector.answers.set()
    await asyncio.to_thread(given_up.join)


async def test_a_collector_that_is_not_there_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    assert await ask(*[POST] * 10) == [200] * 10
    for thread in threading.enumerate():
        if thread.name == "traces":
            await asyncio.to_thread(thread.join)


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the test's loggers as they are."""
    monkeypatch.setattr(logs, "configure", lambda _: None)


@pytest.mark.usefixtures("unlogged")
def test_without_its_packages_tracing_is_a_fault_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "service.door.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert main(["--tracing", "true"], {}) == 2
    assert "TFPOD_TRACING: needs the packages of requirements/tracing.txt: " in capsys.readouterr().err


@pytest.mark.usefixtures("unlogged")
def test_settings_that_opentelemetry_refuses_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    assert main(["--tracing", "true"], {}) == 2
    assert "TFPOD_TRACING: max_queue_size must be" in capsys.readouterr().err
