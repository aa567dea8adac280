"""A request's whole walk, over real sockets: right is answered, wrong is named, nobody else is hurt."""

import asyncio
import contextlib
import gzip
import json
import threading
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from service import handlers
from service.app import Pod
from service.settings import Settings
from service.types import ELEMENT_TYPES, Runner, Signature, Tensors, TensorSpec
from tests.serving import Client, Serving, both

pytestmark = pytest.mark.anyio

FLOAT = ELEMENT_TYPES[0]
ROW = [1.0, 2.0, 3.0]


@dataclass
class Doubler:
    """Doubles rows of three numbers; raises for a row with a 13, and hangs for one with a 14 until `go` is set."""

    signatures: Mapping[str, Signature] = field(
        default_factory=lambda: {
            "serving_default": Signature(
                {"x": TensorSpec(FLOAT, (None, 3), "x:0")}, {"y": TensorSpec(FLOAT, (None, 3), "y:0")}, "predict"
            )
        }
    )
    hanging: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    platform: str = "none"
    reentrant: bool = False

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        x = inputs["x"].astype(np.float32)
        if (x == 13).any():
            raise ValueError("thirteen is not wanted\nat all")
        if (x == 14).any():
            self.hanging.set()
            self.go.wait()
        return {"y": x * 2}


@dataclass
class Running:
    """A pod that serves `model`, and clients for both of its ports."""

    pod: Pod
    model: Doubler
    api: Serving
    http: httpx.AsyncClient
    admin: httpx.AsyncClient

    async def predict(self, *rows: list[float], **options: Any) -> httpx.Response:
        return await self.http.post("/v1/models/m:predict", json={"instances": rows}, **options)

    async def metric(self, name: str) -> float:
        text = (await self.admin.get("/metrics")).text
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@contextlib.asynccontextmanager
async def running(tmp_path: Path, load: Any = None, **settings: Any) -> AsyncIterator[Running]:
    (tmp_path / "1").mkdir(exist_ok=True)
    (tmp_path / "1" / "saved_model.pb").touch()
    model = Doubler()
    outcomes: list[BaseException | None] = []
    pod = Pod(Settings(models=f"m={tmp_path}", **settings), "9.9.9", outcomes.append, load or (lambda _: model))
    async with both(pod) as (api, client, probe):
        if load is None:
            while (await probe.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.001)
        yield Running(pod, model, api, client, probe)
        model.go.set()
    assert outcomes == [None]


def oip(data: Any = ROW, shape: Any = (1, 3), datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    return {"id": "7", "inputs": [{"name": name, "shape": list(shape), "datatype": datatype, "data": data}]}


# What is right


async def test_predicts_by_row_and_by_column(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        assert (await pod.predict(ROW, [0, 0, 1])).json() == {"predictions": [[2.0, 4.0, 6.0], [0.0, 0.0, 2.0]]}
        answer = await pod.http.post("/v1/models/m/versions/1:predict", json={"inputs": {"x": [ROW]}})
        assert answer.json() == {"outputs": [[2.0, 4.0, 6.0]]}
        assert answer.headers["content-type"] == "application/json"


async def test_infers(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        expected = {
            "model_name": "m",
            "model_version": "1",
            "id": "7",
            "outputs": [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": [2.0, 4.0, 6.0]}],
        }
        assert (await pod.http.post("/v2/models/m/infer", json=oip())).json() == expected
        assert (await pod.http.post("/v2/models/m/versions/1/infer", json=oip([ROW]))).json() == expected


async def test_tells_of_the_model_in_both_protocols(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        for path in ("/v1/models/m", "/v1/models/m/versions/1"):
            (version,) = (await pod.http.get(path)).json()["model_version_status"]
            assert (version["version"], version["state"]) == ("1", "AVAILABLE")
        metadata = (await pod.http.get("/v1/models/m/metadata")).json()
        assert metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]["name"] == "x:0"
        server = (await pod.http.get("/v2")).json()
        assert (server["name"], server["version"]) == ("tfpod", "9.9.9")
        assert (await pod.http.get("/v2/models/m")).json()["inputs"] == [
            {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
        ]
        assert (await pod.http.get("/v2/models/m/ready")).json() == {"name": "m", "ready": True}
        assert (await pod.http.get("/v2/health/ready")).json() == {"ready": True}
        assert (await pod.http.get("/v2/health/live")).json() == {"live": True}
        assert (await pod.http.get("/")).json() == {"name": "tfpod", "version": "9.9.9", "models": ["m"]}


async def test_large_requests_are_answered_like_small_ones(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        rows = np.random.default_rng(1).integers(20, 99, (4000, 3)).tolist()
        answer = await pod.http.post("/v1/models/m:predict", content=json.dumps({"instances": rows}, indent=20))
        assert answer.json()["predictions"] == (np.array(rows) * 2).tolist()


def tensors(rows: npt.NDArray[np.float32], **more: Any) -> tuple[bytes, dict[str, str]]:
    """Return a request with binary tensors, and its headers."""
    tensor = {
        "name": "x",
        "shape": list(rows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + rows.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


@pytest.mark.parametrize("rows", [2, 100_000])
async def test_tensors_go_both_ways_in_binary(tmp_path: Path, rows: int) -> None:
    given = np.random.default_rng(1).integers(20, 99, (rows, 3)).astype(np.float32)
    content, headers = tensors(given, parameters={"binary_data_output": True})
    async with running(tmp_path, max_queue_rows=100_000, max_body_bytes=1000) as pod:
        answer = await pod.http.post("/v2/models/m/infer", content=content, headers=headers)
        length = int(answer.headers["inference-header-content-length"])
        (output,) = json.loads(answer.content[:length])["outputs"]
        assert output["parameters"] == {"binary_data_size": given.nbytes}
        assert answer.content[length:] == (given * 2).tobytes()
        assert answer.headers["content-type"] == "application/octet-stream"


async def test_a_body_of_nothing_but_a_tensor_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        given = np.array([ROW, ROW], np.float32)
        headers = {"Inference-Header-Content-Length": "0"}
        answer = await pod.http.post("/v2/models/m/infer", content=given.tobytes(), headers=headers)
        assert answer.content.endswith((given * 2).tobytes())


@pytest.mark.parametrize("protocol", ["v1", "v2"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
@pytest.mark.parametrize("rows", [1, 500, 4000])
async def test_bodies_are_packed_in_both_protocols(tmp_path: Path, protocol: str, coding: str, rows: int) -> None:
    async with running(tmp_path) as pod:
        given = [ROW] * rows
        body = json.dumps({"instances": given} if protocol == "v1" else oip(given, (rows, 3))).encode()
        content = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.get(coding, body)
        headers = {"Content-Encoding": coding, "Accept-Encoding": coding}
        answer = await pod.http.post(PATHS[protocol], content=content, headers=headers)
        assert answer.headers.get("content-encoding", "identity") == (coding if rows > 1 else "identity")
        assert (answer.headers.get("vary") == "Accept-Encoding") == ("content-encoding" in answer.headers)
        found = answer.json()["predictions"] if protocol == "v1" else answer.json()["outputs"][0]["data"]
        assert np.array(found).reshape(rows, 3).tolist() == [[2.0, 4.0, 6.0]] * rows


async def test_tells_tritons_clients_what_they_ask_for(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        for path in ("/v2/models/m/config", "/v2/models/m/versions/1/config"):
            assert (await pod.http.get(path)).json()["max_batch_size"] == 4096
        index = await pod.http.post("/v2/repository/index", json={"ready": True})
        assert index.json() == [{"name": "m", "version": "1", "state": "READY", "reason": ""}]
        assert (await pod.http.post("/v2/repository/index")).json() == index.json()
        for verb in ("load", "unload"):
            refused = await pod.http.post(f"/v2/repository/models/m/{verb}")
            assert (refused.status_code, "put into its model's folder" in refused.json()["error"]) == (501, True)


# What is wrong

WRONG: list[tuple[str, Any, int, str]] = [
    ("v1", b"", 400, "document is empty"),
    ("v1", b'{"instances": [[1, 2', 400, "JSON Parse error"),
    ("v1", b"[1]", 400, "Is not object"),
    ("v1", b"{}", 400, "Missing 'inputs' or 'instances' key"),
    ("v1", b"\xff\xfe", 400, "UTF-8"),
    ("v1", b"[" * 100_000, 400, "nested too deeply"),
    ("v1", {"instances": []}, 400, "No values in 'instances' array"),
    ("v1", {"instances": [["a", "b", "c"]]}, 400, "Type: String is not of expected type: float"),
    ("v1", {"instances": [[True, 2, 3]]}, 400, "Type: Boolean"),
    ("v1", {"instances": [[1, 2]]}, 400, "expected [-1, 3]"),
    ("v1", {"instances": [1]}, 400, "expected [-1, 3]"),
    ("v1", {"instances": [[1, 2, 3], [1, 2]]}, 400, "Expecting tensor size: 3 but got: 2"),
    ("v1", {"instances": [ROW], "inputs": [ROW]}, 400, "only one of"),
    ("v1", {"instances": [ROW], "signature_name": "no"}, 400, 'name: "no" not found'),
    ("v1", {"instances": [ROW], "signature_name": 1}, 400, "must be a string"),
    ("v1", {"instances": [{"z": ROW}]}, 400, "keys must be equal to: x"),
    ("v1", {"instances": [ROW] * 5000}, 413, "5000 rows"),
    ("v1", {"instances": [[13, 1, 1]]}, 500, "thirteen is not wanted"),
    ("v2", b"", 400, "document is empty"),
    ("v2", b'{"inputs": [', 400, "JSON Parse error"),
    ("v2", b"[]", 400, "not an infer request"),
    ("v2", {"inputs": []}, 400, "expected x"),
    ("v2", oip(name="z"), 400, "expected x"),
    ("v2", oip(datatype="INT32"), 400, "expected FP32"),
    ("v2", oip(shape=(2, 3)), 400, "do not fill the shape"),
    ("v2", oip(shape=(-1, 3)), 400, "negative"),
    ("v2", oip(shape=(10**12, 3)), 400, "do not fill the shape"),
    ("v2", oip(["a", "b", "c"]), 400, "String"),
    ("v2", oip() | {"parameters": {"timeout": "soon"}}, 400, "timeout"),
    ("v2", oip() | {"parameters": {"timeout": 10**400}}, 400, "timeout"),
    ("v2", oip([], (0, 3)), 400, "no rows"),
    ("v2", oip() | {"outputs": [{"name": "z"}]}, 400, "no output 'z'"),
    ("v2", oip([13, 1, 1]), 500, "thirteen is not wanted"),
    ("index", b"[]", 400, "not an index request"),
    ("index", b" " * 4097, 413, "longer than 4096 bytes"),
]
PATHS = {"v1": "/v1/models/m:predict", "v2": "/v2/models/m/infer", "index": "/v2/repository/index"}


@pytest.mark.parametrize(("protocol", "body", "status", "text"), WRONG)
async def test_a_wrong_request_is_named(tmp_path: Path, protocol: str, body: Any, status: int, text: str) -> None:
    async with running(tmp_path) as pod:
        content = body if isinstance(body, bytes) else json.dumps(body)
        answer = await pod.http.post(PATHS[protocol], content=content)
        assert answer.status_code == status
        assert text in answer.json()["error"]
        assert "\n" not in answer.json()["error"]
        assert (await pod.predict(ROW)).status_code == 200
        assert await pod.metric("tfpod_queue_rows") == await pod.metric("tfpod_inflight_requests") == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/v1/models/no:predict", 404, "Latest(no)"),
        ("POST", "/v1/models/m/versions/2:predict", 404, "Specific(m, 2)"),
        ("POST", "/v2/models/m/versions/x/infer", 400, "Failed to convert version: x to numeric."),
        ("POST", f"/v2/models/m/versions/{'9' * 5000}/infer", 400, "Failed to convert version: 999"),
        ("GET", "/v2/models/m/infer", 405, "Malformed request: GET /v2/models/m/infer; the method may be POST"),
        ("GET", "/v1/models/no", 404, "of model no"),
        ("POST", "/v2/models/no/infer", 404, "Latest(no)"),
        ("GET", "/v2/models/no", 404, "Latest(no)"),
        ("POST", "/v2/models/m", 405, "Malformed request: POST /v2/models/m; the method may be GET, HEAD"),
        ("DELETE", "/", 405, "the method may be GET"),
        ("GET", "/nowhere", 404, "Malformed request: GET /nowhere"),
        ("GET", "/nowhere%23else%3F?x", 404, "Malformed request: GET /nowhere#else?"),
        ("GET", "/metrics", 404, "Malformed"),
    ],
)
async def test_what_is_not_there_is_named(tmp_path: Path, method: str, path: str, status: int, text: str) -> None:
    async with running(tmp_path) as pod:
        answer = await pod.http.request(method, path)
        assert answer.status_code == status
        assert text in answer.json()["error"]


@pytest.mark.parametrize("media_type", ["text/html", "application/octet-stream", "multipart/form-data", "\xff"])
@pytest.mark.parametrize("protocol", ["v1", "v2"])
async def test_the_media_type_does_not_matter(tmp_path: Path, media_type: str, protocol: str) -> None:
    async with running(tmp_path) as pod:
        body = {"instances": [ROW]} if protocol == "v1" else oip()
        headers = {b"Content-Type": media_type.encode("latin-1")}
        assert (await pod.http.post(PATHS[protocol], content=json.dumps(body), headers=headers)).status_code == 200


@pytest.mark.parametrize("coding", ["br", "gzip, deflate", "gzip,gzip", "utf-8", "x" * 1000])
async def test_codings_that_are_not_spoken_are_refused_and_those_that_are_named(tmp_path: Path, coding: str) -> None:
    async with running(tmp_path) as pod:
        answer = await pod.predict(ROW, headers={"Content-Encoding": coding})
        assert answer.status_code == 415
        assert answer.json()["error"].endswith("send gzip, deflate or neither")


async def raw(pod: Running) -> Client:
    return await pod.api.connect()


def request(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"POST /v1/models/m:predict HTTP/1.1", b"Host: m", *headers, b"", body])


BODY = json.dumps({"instances": [ROW]}).encode()


async def test_a_body_shorter_than_declared_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    async with running(tmp_path, request_timeout=0.2) as pod:
        client = await raw(pod)
        status, _, body = await client.ask(request(BODY, b"Content-Length: %d" % (len(BODY) + 5)))
        assert status == 408
        assert b"did not arrive in time" in body


async def test_a_body_longer_than_declared_is_taken_for_another_request(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        client = await raw(pod)
        await client.send(request(BODY + b"}]}\r\n\r\n", b"Content-Length: %d" % len(BODY)))
        statuses = [(await client.answer())[0]]
        assert statuses in ([200], [400])
        assert (await pod.predict(ROW)).status_code == 200


async def test_a_body_of_no_declared_length_is_no_body(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        assert (await (await raw(pod)).ask(request(b"")))[0] == 400


async def test_a_chunked_body_is_a_body(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:3], BODY[3:])) + b"0\r\n\r\n"
        assert (await (await raw(pod)).ask(request(chunks, b"Transfer-Encoding: chunked")))[0] == 200


async def test_a_body_declared_too_long_is_refused_before_it_comes(tmp_path: Path) -> None:
    async with running(tmp_path, max_body_bytes=100) as pod:
        status, _, body = await (await raw(pod)).ask(request(b"", b"Content-Length: 101", b"Expect: 100-continue"))
        assert (status, body) == (413, b'{"error":"the body is longer than 100 bytes"}')


async def test_a_client_that_awaits_100_continue_gets_it(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        client = await raw(pod)
        await client.send(request(b"", b"Content-Length: %d" % len(BODY), b"Expect: 100-continue"))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert (await client.ask(BODY))[0] == 200


# Bad days


async def test_a_row_on_which_the_model_fails_harms_no_neighbour(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        rows = [[float(number)] * 3 for number in range(10, 20) if number != 14]
        statuses = [answer.status_code for answer in await asyncio.gather(*map(pod.predict, rows))]
        assert statuses == [500 if row[0] == 13 else 200 for row in rows]


async def test_a_model_that_hangs_is_noticed_and_its_callers_are_told(tmp_path: Path) -> None:
    async with running(tmp_path, request_timeout=0.1, max_queue_rows=2, max_batch_rows=1) as pod:
        answers = [asyncio.create_task(pod.predict([14.0, 0, 0]))]
        await asyncio.to_thread(pod.model.hanging.wait)
        answers += [asyncio.create_task(pod.predict(ROW)) for _ in range(5)]
        statuses = sorted([(await answer).status_code for answer in answers])
        assert statuses[:3] == [429] * 3, "there is room for two"
        assert set(statuses[3:]) <= {503, 504}, "the pod knows as soon as the model has had its time"
        assert await pod.metric("tfpod_queue_rows") == 0
        while (await pod.admin.get("/livez")).status_code == 200:
            await asyncio.sleep(0.02)
        assert (await pod.http.get("/v1/models/m")).status_code == 200
        pod.model.go.set()
        while (await pod.predict(ROW)).status_code != 200:
            await asyncio.sleep(0.01)
        assert (await pod.admin.get("/livez")).status_code == 200


async def test_a_caller_may_give_less_time(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        hanging = asyncio.create_task(pod.predict([14.0, 0, 0]))
        await asyncio.to_thread(pod.model.hanging.wait)
        late = await pod.http.post("/v2/models/m/infer", json=oip() | {"parameters": {"timeout": 1000}})
        assert (late.status_code, "deadline" in late.json()["error"]) == (504, True)
        pod.model.go.set()
        assert (await hanging).status_code == 200


async def test_a_caller_who_half_closes_has_left(tmp_path: Path) -> None:
    """A client that gives up closes its socket, and the pod sees just what it sees of one that only stops to send.

    Most who do so have given up; to go on computing for all of them would be the worse mistake.
    """
    async with running(tmp_path) as pod:
        hanging = asyncio.create_task(pod.predict([14.0, 0, 0]))
        await asyncio.to_thread(pod.model.hanging.wait)
        client = await raw(pod)
        await client.send(request(BODY, b"Content-Length: %d" % len(BODY)))
        while await pod.metric("tfpod_queue_rows") != 1:
            await asyncio.sleep(0.001)
        client.writer.write_eof()
        assert await client.ended() == b""
        while await pod.metric("tfpod_queue_rows"):
            await asyncio.sleep(0.001)
        assert await pod.metric('tfpod_rejected_total{reason="client_gone"}') == 1
        pod.model.go.set()
        assert (await hanging).status_code == 200


async def test_a_caller_who_leaves_before_he_has_asked_for_an_index_is_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as pod:
        client = await raw(pod)
        await client.send(b"POST /v2/repository/index HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\n{")
        client.close()
        while await pod.metric('tfpod_rejected_total{reason="client_gone"}') != 1:
            await asyncio.sleep(0.001)
    assert "unexpected error" not in caplog.text


async def test_an_index_whose_request_does_not_come_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_SECONDS", 0.05)
    async with running(tmp_path) as pod:
        client = await raw(pod)
        status, _, _ = await client.ask(b"POST /v2/repository/index HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\n{")
        assert status == 408


async def test_no_more_requests_for_an_index_are_waited_for_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_PLACES", 2)
    async with running(tmp_path) as pod:
        stalled = [await raw(pod) for _ in range(2)]
        for client in stalled:
            await client.send(b"POST /v2/repository/index HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n{")
        while (await pod.http.post("/v2/repository/index")).status_code != 429:
            await asyncio.sleep(0.001)
        for client in stalled:
            assert (await client.ask(b"}"))[0] == 200
        assert (await pod.http.post("/v2/repository/index")).status_code == 200


async def test_before_the_model_is_loaded_the_pod_says_so(tmp_path: Path) -> None:
    let = threading.Event()

    def load(_: Path) -> Runner:
        let.wait()
        return Doubler()

    async with running(tmp_path, load) as pod:
        answer = await pod.predict(ROW)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "being loaded" in answer.json()["error"]
        while not (states := (await pod.http.get("/v1/models/m")).json()["model_version_status"]):
            await asyncio.sleep(0.001)  # the folder has not been looked at yet
        assert states[0]["state"] in ("START", "LOADING")
        ready = await pod.http.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert (await pod.http.get("/v2/health/live")).status_code == 200
        assert (await pod.http.get("/v2/models/m/ready")).status_code == 503
        assert (await pod.admin.get("/readyz")).status_code == 503
        assert (await pod.admin.get("/livez")).status_code == 200
        let.set()
        while (await pod.admin.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.001)
        assert (await pod.predict(ROW)).status_code == 200


async def test_a_pod_that_ends_is_unready_and_goes_on_serving(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        pod.pod.draining = True
        ready = await pod.admin.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "draining")
        assert (await pod.http.get("/v2/health/ready")).status_code == 503
        assert (await pod.admin.get("/livez")).status_code == 200
        assert (await pod.predict(ROW)).status_code == 200


async def test_arrivals_are_counted_for_scaling_and_other_requests_are_not(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        for _ in range(30):
            await pod.predict(ROW)
            await pod.http.get("/v1/models/m")
        assert await pod.metric("tfpod_requests_per_second") == 2.0
        assert await pod.metric('tfpod_requests_total{route="tfserving_predict"}') == 30


async def test_tokens_close_all_but_what_is_open(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret")
    async with running(tmp_path, tokens_file=str(tokens)) as pod:
        for path in ("/", "/v2/health/live", "/v2/health/ready"):
            assert (await pod.http.get(path)).status_code == 200
        for path in ("/v1/models/m", "/v2", "/v2/models/m", "/nowhere"):
            assert (await pod.http.get(path)).status_code == 401
        assert (await pod.predict(ROW)).status_code == 401
        assert (await pod.predict(ROW, headers={"Authorization": "Bearer secret"})).status_code == 200
