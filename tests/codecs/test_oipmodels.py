"""service/codecs/oipmodels.py: what the Open Inference Protocol tells of the server and its models."""

import json

from service.codecs import oipmodels
from service.types import Signature, VersionState
from tests.codecs.forms import spec


def test_metadata_tells_of_the_signature_that_is_called() -> None:
    signature = Signature({"x": spec("float32", None, 8)}, {"y": spec("object")})
    for name in ("serving_default", "other"):
        assert json.loads(oipmodels.encode_model("m", ["1"], {name: signature})) == {
            "name": "m",
            "versions": ["1"],
            "platform": "tensorflow_savedmodel",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
            "outputs": [{"name": "y", "datatype": "BYTES", "shape": []}],
        }


def test_server_and_health_are_as_the_specification_has_them() -> None:
    assert json.loads(oipmodels.encode_server("s", "1.2")) == {"name": "s", "version": "1.2", "extensions": []}
    assert json.loads(oipmodels.encode_live()) == {"live": True}
    assert json.loads(oipmodels.encode_ready(ready=False)) == {"ready": False}
    assert json.loads(oipmodels.encode_ready(ready=True, model="m")) == {"name": "m", "ready": True}
