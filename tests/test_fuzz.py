"""Requests made from the API's document, right ones and wrong ones: every answer is one that the document tells of."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.program import get, program, until_ready

#: The network's sums overflow beyond this, which makes NaN of them, for which JSON has no word.
_LARGEST: Final = 1e6
#: Where what fits the schema may still be refused, and what is refused is no failure of the server.
_CONFIGURATION: Final = """
[[operations]]
include-path-regex = "/infer$"  # no schema can say that as many elements come as the shape has
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "/(un)?load$"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "501"]
"""


@pytest.mark.timeout(300)
def test_no_request_has_an_answer_that_the_document_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(_CONFIGURATION)
    with program("--models", "digits=models/digits") as pod:
        api, admin = pod.urls()
        until_ready(admin)
        bounded = _bounded(json.loads(get(f"{api}/openapi.json")[1]))
        (tmp_path / "openapi.json").write_text(json.dumps(bounded))
        command = ["run", "openapi.json", "--url", api, "--phases", "examples,coverage,fuzzing", "--max-examples", "40"]
        options = ["--generation-deterministic", "--request-timeout", "20"]
        done = subprocess.run(
            [Path(sys.executable).with_name("schemathesis"), *command, *options, "--no-color"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Tested: {sum(map(len, bounded['paths'].values()))}" in done.stdout
        text = get(f"{admin}/metrics")[1]
        assert "\ntfpod_inflight_requests 0.0" in text
        assert "\ntfpod_queue_rows 0.0" in text
        sample = Path("models/digits/sample.json").read_bytes()
        assert get(f"{api}/v1/models/digits:predict", sample)[0] == 200


def _bounded(schema: Any) -> Any:
    """Return the schema with numbers bounded."""
    if isinstance(schema, list):
        return [_bounded(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return schema | {"minimum": -_LARGEST, "maximum": _LARGEST}
    return {key: _bounded(value) for key, value in schema.items()}
