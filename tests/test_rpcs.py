"""A gRPC call's whole walk, over real sockets, by gRPC's own client: the same door and the same models as HTTP's."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from service import rpcs
from service.codecs.grpc import wire
from service.net.drain import Drain, DrainingServer
from service.net.http2 import Http2
from service.net.server import listen
from tests import frames
from tests.alone import alone
from tests.serving import PATIENT, Client
from tests.test_routes import ROW, Doubler, Running, running

pytestmark = pytest.mark.anyio

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Caller:
    """A client of one pod."""

    def __init__(self, pod: Running, port: int, channel: Any) -> None:
        self.pod, self.port, self.channel = pod, port, channel

    async def call(self, method: str, message: bytes, **options: Any) -> dict[int, list[Any]]:
        """Return the answer's fields."""
        answer: bytes = (await self.ended(method, message, **options)).result()
        return {number: list(values) for number, values in wire.load(memoryview(answer)).items()}

    async def ended(self, method: str, message: bytes, **options: Any) -> Any:
        """Return a call that has ended."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        call = self.channel.unary_unary(method).future(message, **options)
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
        await ended.wait()
        return call

    async def fails(self, method: str, message: bytes, **options: Any) -> tuple[str, str | None]:
        """Return the status of a call that fails."""
        with pytest.raises(grpc.RpcError) as error:
            await self.call(method, message, **options)
        return error.value.code().name, error.value.details()


@contextlib.asynccontextmanager
async def calling(tmp_path: Path, load: Any = None, **settings: Any) -> AsyncIterator[Caller]:
    async with running(tmp_path, load, grpc=True, **settings) as pod:
        assert pod.pod.rpcs
        server = DrainingServer(pod.pod.rpcs, listen("127.0.0.1", 0), PATIENT, Drain(0.0, 5.0), Http2)
        serving = asyncio.create_task(server.run_until_stopped())
        port, options = server.address[1], [("grpc.enable_retries", 0)]
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                yield Caller(pod, port, channel)
        finally:
            pod.model.go.set()
            server.stop()
            await serving


def predict(*rows: list[float], model: str = "m") -> bytes:
    x = np.array(rows, np.float32)
    shape = {2: [{1: size} for size in x.shape]}
    return wire.dump({1: {1: model}, 2: [{1: "x", 2: {1: 1, 2: shape, 4: x.tobytes()}}]})


def infer(*rows: list[float], **parameters: int) -> bytes:
    x = np.array(rows, np.float32)
    given = [{1: name, 2: {2: value}} for name, value in parameters.items()]
    return wire.dump({1: "m", 3: "7", 4: given, 5: [{1: "x", 2: "FP32", 3: list(x.shape)}], 7: [x.tobytes()]})


def test_who_does_not_serve_grpc_imports_nothing_of_it() -> None:
    alone("""
        import sys, service.__main__
        assert not [name for name in sys.modules if "grpc" in name or name == "h2"]
    """)


async def test_predicts(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        (output,) = wire.messages(await pod.call(PREDICT, predict(ROW)), 1)
        assert wire.last(output, 1, "") == "y"
        assert wire.floats(wire.message(output, 2), 5, "f4").tolist() == [2.0, 4.0, 6.0]


async def test_infers(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        answer = await pod.call(INFER, infer(ROW, [0, 0, 1]))
        assert [bytes(answer[number][0]) for number in (1, 2, 3)] == [b"m", b"1", b"7"]
        assert np.frombuffer(answer[6][0], np.float32).tolist() == [2.0, 4.0, 6.0, 0.0, 0.0, 2.0]


@pytest.mark.parametrize("method", [PREDICT, INFER, "/grpc.health.v1.Health/Check"])
async def test_what_is_no_message_is_an_invalid_argument(tmp_path: Path, method: str) -> None:
    async with calling(tmp_path) as pod:
        code, text = await pod.fails(method, b"\x0a\xff")
        assert (code, text) == ("INVALID_ARGUMENT", "a number of a message has no end")


async def test_a_failure_of_the_model_is_internal_and_hurts_no_neighbour(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        bad, good = await asyncio.gather(pod.fails(PREDICT, predict([13, 0, 0])), pod.call(PREDICT, predict(ROW)))
        assert (bad[0], "thirteen" in str(bad[1])) == ("INTERNAL", True)
        assert good


async def test_tokens_are_asked_for_but_not_where_health_is(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("secret\n")
    async with calling(tmp_path, tokens_file=str(file)) as pod:
        for method in (PREDICT, "/inference.GRPCInferenceService/ServerMetadata", "/no.Such/Method"):
            assert (await pod.fails(method, b""))[0] == "UNAUTHENTICATED"
            assert (await pod.fails(method, b"", metadata=[("authorization", "Bearer no")]))[0] == "PERMISSION_DENIED"
        assert await pod.call(PREDICT, predict(ROW), metadata=[("authorization", "Bearer secret")])
        for method in ("ServerLive", "ServerReady"):
            assert await pod.call(f"/inference.GRPCInferenceService/{method}", b"") == {1: [1]}
        assert await pod.call("/grpc.health.v1.Health/Check", b"") == {1: [1]}
        assert (await pod.fails("/grpc.health.v1.Health/Check", wire.dump({1: "x"})))[0] == "NOT_FOUND"


async def test_health_and_readiness_tell_of_the_drain(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        pod.pod.pod.draining = True
        assert await pod.call("/grpc.health.v1.Health/Check", b"") == {1: [2]}
        assert await pod.call("/inference.GRPCInferenceService/ServerReady", b"") == {1: [0]}
        assert await pod.call(PREDICT, predict(ROW))


async def test_calls_whose_messages_do_not_come_keep_nobody_waiting_and_are_given_up_soon(tmp_path: Path) -> None:
    """As many as two connections may have, of those that need no token."""
    health = {":path": b"/grpc.health.v1.Health/Check"}
    live = {":path": b"/inference.GRPCInferenceService/ServerLive"}
    metadata = {":path": b"/inference.GRPCInferenceService/ModelMetadata"}
    async with calling(tmp_path) as pod, by_frame(pod) as one, by_frame(pod) as two, by_frame(pod) as other:
        async with asyncio.timeout(8):
            begun = [(caller, await caller.begin(end=False, **health)) for caller in (one, two) for _ in range(128)]
            caller, number = begun.pop()
            await caller.send(number, frames.message(b""))
            assert (await caller.answer(number)).status == 0
            assert (await other.call(**health)).status == 0
            assert (await other.call(**live)).status == 0
            assert (await other.call(frames.message(wire.dump({1: "m"})), **metadata)).status == 0
            late = [await caller.answer(number) for caller, number in begun]
        assert {(each.status, each.text) for each in late} == {(4, "the body did not arrive in time")}


@contextlib.asynccontextmanager
async def by_frame(pod: Caller) -> AsyncIterator[frames.Caller]:
    """Connect as one whose calls are made frame by frame."""
    client = Client(*await asyncio.open_connection("127.0.0.1", pod.port))
    try:
        caller = frames.Caller(client)
        await caller.greet()
        yield caller
    finally:
        client.close()


async def test_a_model_that_is_being_loaded_is_unavailable(tmp_path: Path) -> None:
    loaded = threading.Event()

    def load(_: Path) -> Any:
        loaded.wait()
        return Doubler()

    async with calling(tmp_path, load) as pod:
        assert await pod.fails(PREDICT, predict(ROW)) == ("UNAVAILABLE", "model 'm' is being loaded")
        loaded.set()
        while (await pod.call("/grpc.health.v1.Health/Check", b"")) != {1: [1]}:
            await asyncio.sleep(0.01)
        assert await pod.call(PREDICT, predict(ROW))


async def test_a_full_pod_says_so_and_when_to_come_again(tmp_path: Path) -> None:
    """Requests by HTTP and by gRPC take the same places."""
    async with calling(tmp_path, max_inflight=1) as pod:
        first = asyncio.create_task(pod.pod.predict([14, 0, 0]))
        await asyncio.to_thread(pod.pod.model.hanging.wait)
        with pytest.raises(grpc.RpcError) as error:
            await pod.call(PREDICT, predict(ROW))
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "in flight" in str(error.value.details())
        told = {pair.key: str(pair.value) for pair in error.value.trailing_metadata() or ()}
        assert (told["retry-after"], told["grpc-retry-pushback-ms"]) == ("1", "1000")
        assert await pod.pod.metric("tfpod_inflight_requests") == 1
        pod.pod.model.go.set()
        assert (await first).status_code == 200
        assert await pod.call(PREDICT, predict(ROW))


async def test_calls_are_counted_and_have_an_id(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        call = await pod.ended(PREDICT, predict(ROW), metadata=[("x-request-id", "mine")])
        assert str(call.trailing_metadata()[0].value) == "mine"
        await pod.call(INFER, infer(ROW))
        for route in ("tfserving_grpc_predict", "oip_grpc_infer"):
            assert await pod.pod.metric(f'tfpod_requests_total{{route="{route}"}}') == 1
        assert await pod.pod.metric("tfpod_requests_per_second") > 0


async def test_a_deadline_ends_the_call_and_frees_its_place(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        assert (await pod.fails(PREDICT, predict([14, 0, 0]), timeout=0.2))[0] == "DEADLINE_EXCEEDED"
        while await pod.pod.metric("tfpod_inflight_requests"):
            await asyncio.sleep(0.01)


async def test_the_protocols_own_timeout_is_kept(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        hanging = asyncio.create_task(pod.pod.predict([14, 0, 0]))
        await asyncio.to_thread(pod.pod.model.hanging.wait)
        assert (await pod.fails(INFER, infer(ROW, timeout=1000)))[0] == "DEADLINE_EXCEEDED"
        pod.pod.model.go.set()
        await hanging


async def test_a_message_that_is_too_long_is_refused_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with calling(tmp_path, max_body_bytes=1000, max_binary_bytes=2000) as pod:
        code, text = await pod.fails(PREDICT, predict(*[ROW] * 1000))
        assert (code, text) == ("INVALID_ARGUMENT", "the body is longer than 2000 bytes")
        assert await pod.call(PREDICT, predict(*[ROW] * 100))


async def test_other_methods_are_not_implemented(tmp_path: Path) -> None:
    async with calling(tmp_path) as pod:
        for method in ("/tensorflow.serving.PredictionService/Regress", "/v1/models/m:predict", "http://[x", "//[?#"):
            assert await pod.fails(method, b"") == ("UNIMPLEMENTED", f"no such method is served here: {method}")


async def test_without_the_setting_nothing_is_served(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        assert pod.pod.rpcs is None
        assert "grpc" not in (await pod.admin.get("/metrics")).text


def test_every_call_has_its_place() -> None:
    """None of them is one of HTTP's, and those for inference are counted."""
    counted = {path for path, place in rpcs.PLACES.items() if place.inference}
    assert counted == {PREDICT, INFER}
    assert all(replace(place).route.methods == {"POST"} for place in rpcs.PLACES.values())
