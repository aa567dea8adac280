"""TensorFlow Serving over HTTP: paths, versions, labels, media types, and in which words what is refused."""

import json
from pathlib import Path

import pytest

from tests.test_routes import ROW, running

pytestmark = pytest.mark.anyio

BODY = json.dumps({"instances": [ROW]})
ANSWER = {"predictions": [[2.0, 4.0, 6.0]]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/m:predict",
        "/v1/models/m/versions/1:predict",
        "/v1/models/m/versions/0001:predict",
        "/v1/models/m/labels/stable:predict",
        "/v1/models/m/labels/st%61ble:predict",
        "/V1/Models/m:PREDICT",
        "/v1/MODELS/m/Versions/1:Predict",
        "/v1/models/%6d:predict",
        "/v1/models/m%3Apredict",
    ],
)
async def test_a_model_is_asked_by_name_version_or_label(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, version_labels="m/stable=1") as pod:
        answer = await pod.http.post(path, content=BODY)
        assert (answer.status_code, answer.json()) == (200, ANSWER)
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path", ["/v1/models/m", "/v1/models/m/versions/1", "/v1/models/m/labels/stable", "/v1/models/%6D", "/V1/models/m"]
)
async def test_state_and_signatures_are_told_of_a_model_a_version_or_a_label(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, version_labels="m/stable=1") as pod:
        status = {"error_code": "OK", "error_message": ""}
        expected = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": status}]}
        assert (await pod.http.get(path)).json() == expected
        metadata = (await pod.http.get(f"{path}/metadata")).json()
        assert metadata["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=latin-1", "image/png", ""],
)
async def test_the_media_type_does_not_matter(tmp_path: Path, media_type: str) -> None:
    """`curl -d` says that it sends a form."""
    async with running(tmp_path) as pod:
        answer = await pod.http.post("/v1/models/m:predict", content=BODY, headers={"Content-Type": media_type})
        assert (answer.status_code, answer.json()) == (200, ANSWER)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/V1/MODELS", 400, "Missing model name in request."),
        ("GET", "/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("GET", "/v1/models/m/", 400, "Malformed request: GET /v1/models/m/"),
        ("POST", "/v1/models/m", 405, "Malformed request: POST /v1/models/m; the method may be GET, HEAD"),
        ("GET", "/v1/models/m:predict", 405, "Malformed request: GET /v1/models/m:predict; the method may be POST"),
        ("POST", "/v1/models/m/classify", 400, "Malformed request: POST /v1/models/m/classify"),
        ("POST", "/v1/models/m:explain", 400, "Malformed request: POST /v1/models/m:explain"),
        ("POST", "/v1/models/m:predict:predict", 400, "Malformed request: POST /v1/models/m:predict:predict"),
        ("POST", "/v1/models/m/versions/x:predict", 400, "Malformed request: POST /v1/models/m/versions/x:predict"),
        ("POST", "/v1/models/m/versions/-1:predict", 400, "Malformed request: POST /v1/models/m/versions/-1:predict"),
        ("POST", "/v1/models/m/versions/1/labels/a:predict", 400, "Malformed request: POST "),
        ("GET", "/v1/nothing", 400, "Malformed request: GET /v1/nothing"),
        ("POST", "/v1/models/m:classify", 501, "classify is not served here: ask by predict"),
        ("POST", "/v1/models/m/versions/1:Regress", 501, "regress is not served here: ask by predict"),
        ("POST", f"/v1/models/m/versions/{2**63}:predict", 400, f"Failed to convert version: {2**63} to numeric."),
        ("GET", f"/v1/models/m/versions/{'9' * 5000}", 400, f"Failed to convert version: {'9' * 64} to numeric."),
        (
            "POST",
            f"/v1/models/m/versions/{2**63 - 1}:predict",
            404,
            f"Servable not found for request: Specific(m, {2**63 - 1})",
        ),
        ("POST", "/v1/models/half:predict", 404, "Servable not found for request: Latest(half)"),
        ("POST", "/v1/models/M:predict", 404, "Servable not found for request: Latest(M)"),
        ("POST", "/v1/models/m/labels/none:predict", 400, "Unrecognized servable version label: none"),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_the_words_of_tensorflow_serving(
    tmp_path: Path, method: str, path: str, status: int, text: str
) -> None:
    async with running(tmp_path) as pod:
        answer = await pod.http.request(method, path, content=BODY)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
        assert list(answer.json()) == ["error"]
        assert answer.json()["error"].startswith(text)


PREFLIGHT = {
    "Origin": "https://example.com",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


@pytest.mark.parametrize("origins", ["*", "https://example.com", "http://localhost:3000, https://example.com"])
async def test_web_pages_of_the_origins_named_may_ask(tmp_path: Path, origins: str) -> None:
    """Browsers ask first, and send no token with that."""
    tokens = tmp_path / "tokens"
    tokens.write_text("secret")
    async with running(tmp_path, cors_origins=origins, tokens_file=str(tokens)) as pod:
        leave = await pod.http.options("/v1/models/m:predict", headers=PREFLIGHT)
        assert leave.status_code == 200
        assert "POST" in leave.headers["access-control-allow-methods"]
        assert "authorization" in leave.headers["access-control-allow-headers"]
        for headers, status in (({}, 401), ({"Authorization": "Bearer secret"}, 200)):
            answer = await pod.http.post(
                "/v1/models/m:predict", content=BODY, headers={"Origin": "https://example.com", **headers}
            )
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] in ("*", "https://example.com")
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origins", ["", "https://example.org"])
async def test_web_pages_of_other_origins_may_not(tmp_path: Path, origins: str) -> None:
    async with running(tmp_path, cors_origins=origins) as pod:
        refused = await pod.http.options("/v1/models/m:predict", headers=PREFLIGHT)
        answer = await pod.http.post("/v1/models/m:predict", content=BODY, headers={"Origin": "https://example.com"})
        assert (refused.status_code, answer.status_code) == (400 if origins else 405, 200)
        for found in (refused, answer):
            assert "access-control-allow-origin" not in found.headers
