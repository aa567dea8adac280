"""Requests made from the API's document, right ones and wrong ones: every answer is one that the document tells of."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.program import get, program, until_ready

#: Where what fits the schema may still be refused, and what is refused is no failure of the server.
_CONFIGURATION: Final = """
[[operations]]
include-path-regex = "/infer$"  # no schema can say that as many elements come as the shape has
checks.positive_data_acceptance.enabled = false
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "504"]  # a request may give itself a microsecond

[[operations]]
include-path-regex = "/models/speech[/:]"  # nor that all inputs have as many rows
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "/labels/"  # none is known
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "/v1/(transcribe|stream)$"  # no schema can say what audio is
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/(speech|language|all)?$"  # ASRT tells by HTTP 200 what is wrong
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false

[[operations]]
include-path-regex = "/(un)?load$"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "501"]
"""


@pytest.mark.timeout(300)
def test_no_request_has_an_answer_that_the_document_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(_CONFIGURATION)
    with program() as pod:
        api, admin = pod.urls()
        until_ready(admin)
        document = json.loads(get(f"{api}/openapi.json")[1])
        for name, schema in document["components"]["schemas"].items():
            if name.endswith(".answer"):
                _may_be_nan(schema)
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        command = ["run", "openapi.json", "--url", api, "--phases", "examples,coverage,fuzzing", "--max-examples", "20"]
        options = ["--generation-deterministic", "--request-timeout", "20", "--suppress-health-check=filter_too_much"]
        done = subprocess.run(
            [Path(sys.executable).with_name("schemathesis"), *command, *options, "--no-color"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Tested: {sum(map(len, document['paths'].values()))}" in done.stdout
        text = get(f"{admin}/metrics")[1]
        assert "\ntfpod_inflight_requests 0.0" in text
        assert "\ntfpod_queue_rows 0.0" in text
        sample = Path("models/digits/sample.json").read_bytes()
        assert get(f"{api}/v1/models/digits:predict", sample)[0] == 200


def _may_be_nan(schema: Any) -> None:
    """Let numbers be anything: those of a network whose sums overflow are NaN, for which a schema has no word."""
    if isinstance(schema, dict) and schema.get("type") == "number":
        schema.clear()
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _may_be_nan(inner)
