"""The API's document: it says what the route table does, to each caller what he may know, and what it says is true."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from starlette.routing import Route

from service.codecs import http
from service.errors import PodError
from service.routes import PLACES, Pattern, find
from service.types import ELEMENT_TYPES, Runner, Signature, TensorSpec
from service.web.openapi import Documents, document, templates
from service.web.operations import ERRORS, OPERATIONS
from tests.test_routes import Doubler, running

pytestmark = pytest.mark.anyio

FLOAT = ELEMENT_TYPES[0]
SIGNATURES = {"serving_default": Signature({"x": TensorSpec(FLOAT, (None, 3))}, {"y": TensorSpec(FLOAT, (None, 2))})}
SERVED = {"m": SIGNATURES, "other-model.v2": {}}


def made(*, closed: bool = False) -> dict[str, Any]:
    return document(PLACES, SERVED, "1.2.3", closed=closed)


def operations(spec: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): one for path, methods in spec["paths"].items() for method, one in methods.items()}


@pytest.mark.parametrize("closed", [True, False])
def test_it_is_a_valid_document_of_openapi_3_1(closed: bool) -> None:
    spec = made(closed=closed)
    schemathesis.openapi.from_dict(spec).validate()
    for schema in spec["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    identifiers = [one["operationId"] for one in operations(spec).values()]
    assert len(set(identifiers)) == len(identifiers)


def test_every_route_is_in_it_for_every_model() -> None:
    expected = {
        (method.lower(), path.replace("{model}", model))
        for place in PLACES
        for method in (place.route.methods or set()) - {"HEAD"}
        for path in templates(place.route)
        for model in SERVED
    }
    assert set(operations(made())) == expected


def test_every_route_is_described() -> None:
    undescribed = [place.route.name for place in PLACES if place.route.name not in OPERATIONS]
    assert not undescribed, "say in operations.py what these take and answer"
    assert not set(OPERATIONS) - {place.route.name for place in PLACES}, "there are no such routes any more"


def test_every_path_in_it_leads_to_its_route() -> None:
    for method, path in operations(made()):
        values = {"version": "1", "label": "stable", "file": "page.js"}
        scope: dict[str, Any] = {"type": "http", "method": method.upper(), "path": path.format(**values), "headers": []}
        route = find(scope).route
        assert any(route is place.route for place in PLACES), path
        given = set(re.findall(r"{(\w+)}", path)) | ({"model"} if "/models/" in path else set())
        assert {key for key, value in scope["path_params"].items() if value} == given


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route("/a/{model}:do", lambda _: None), ["/a/{model}:do"]),
        (
            Pattern("/a/(?P<model>[^/]+)(?:/v/(?P<version>[0-9]+)|/l/(?P<label>.+))?:do", lambda _: None),
            ["/a/{model}:do", "/a/{model}/v/{version}:do", "/a/{model}/l/{label}:do"],
        ),
    ],
)
def test_a_route_by_pattern_stands_for_several_paths(route: Route, expected: list[str]) -> None:
    assert templates(route) == expected


def test_every_status_of_an_error_is_explained() -> None:
    kinds, ahead = [], [PodError]
    while ahead:
        kinds += ahead
        ahead = [kind for parent in ahead for kind in parent.__subclasses__()]
    assert {http.status_of(kind("")) for kind in kinds} == set(ERRORS)


def test_what_a_pod_may_not_do_is_said_beside_what_it_answers_when_it_does() -> None:
    """A pod may keep no sessions, its model of speech may have no language; models are never loaded by request."""
    answers = {path: {*one["responses"]} & {"200", "501"} for (_, path), one in operations(made()).items()}
    assert {path for path, found in answers.items() if found == {"200", "501"}} == {"/v1/stream", "/language"}
    assert {path.rpartition("/")[2] for path, found in answers.items() if found == {"501"}} == {"load", "unload"}


def test_a_model_of_speech_can_be_named_wherever_one_is_asked() -> None:
    asked = {
        path
        for (_, path), one in operations(made()).items()
        if [parameter["name"] for parameter in one["parameters"] if parameter["in"] == "query"] == ["model"]
    }
    assert asked == {"/v1/transcribe", "/v1/stream", "/speech", "/language", "/all", "/"}


def test_a_token_is_asked_for_where_it_is() -> None:
    for place in PLACES:
        for path in templates(place.route):
            for methods in made(closed=True)["paths"][path.replace("{model}", "m")].values():
                assert (methods.get("security") == []) == ("401" not in methods["responses"])
                assert place.is_open == ("401" not in methods["responses"])
    assert not made()["security"]
    assert "401" not in str(made()["paths"])


def test_it_is_made_once_for_what_is_served() -> None:
    documents = Documents(PLACES, "1.2.3")
    first = documents.get(SERVED, closed=False)
    assert documents.get(dict(SERVED), closed=False) is first
    strange = documents.get({name: {} for name in SERVED}, closed=False)
    assert strange != first
    assert documents.get(SERVED, closed=False) is first, "strangers do not make it anew for those who are known"
    assert documents.get({"m": SIGNATURES}, closed=False) != first
    assert json.loads(documents.get(SERVED, closed=True)) == made(closed=True)


async def test_an_open_pod_tells_everybody_what_its_models_take(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        spec = (await pod.http.get("/openapi.json")).json()
    assert (spec["info"]["version"], spec["servers"]) == ("9.9.9", [{"url": "."}])
    form = spec["components"]["schemas"]["m.tfserving_predict.request"]["anyOf"][0]
    rows = form["properties"]["instances"]["anyOf"][0]
    assert (rows["minItems"], rows["items"]["minItems"], rows["items"]["maxItems"]) == (1, 3, 3)
    assert rows["items"]["items"]["format"] == "float32"


async def test_strangers_are_told_the_names_and_no_more(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret")
    async with running(tmp_path, tokens_file=str(tokens)) as pod:
        strange = [
            await pod.http.get("/openapi.json", headers=headers) for headers in ({}, {"Authorization": "Bearer x"})
        ]
        known = await pod.http.get("/openapi.json", headers={"Authorization": "Bearer secret"})
    for answer in strange:
        assert answer.status_code == 200
        assert "/v1/models/m:predict" in answer.json()["paths"]
        assert answer.json()["security"] == [{"bearer": []}]
        assert "float32" not in answer.text
        assert "serving_default" not in answer.text
    assert "float32" in known.text
    assert known.headers["vary"] == "Authorization"


async def test_while_a_model_loads_it_tells_of_what_all_models_take(tmp_path: Path) -> None:
    let = threading.Event()

    def load(_: Path) -> Runner:
        let.wait()
        return Doubler()

    async with running(tmp_path, load) as pod:
        spec = (await pod.http.get("/openapi.json")).json()
        schemathesis.openapi.from_dict(spec).validate()
        assert "float32" not in str(spec)
        let.set()
        while (await pod.admin.get("/readyz")).status_code != 200:
            pass


async def test_its_examples_are_answered_as_it_says(tmp_path: Path) -> None:
    async with running(tmp_path) as pod:
        spec = (await pod.http.get("/openapi.json")).json()
        for route, path in (("tfserving_predict", "/v1/models/m:predict"), ("oip_infer", "/v2/models/m/infer")):
            example = spec["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
            jsonschema.validate(example, spec["components"]["schemas"][f"m.{route}.request"])
            answer = await pod.http.post(path, json=example)
            assert answer.status_code == 200
            jsonschema.validate(answer.json(), spec["components"]["schemas"][f"m.{route}.answer"])
