"""service/codecs/tfmodels.py: what TensorFlow Serving's clients read of models."""

from service.codecs import tfmodels
from service.types import Signature, TensorSpec, VersionState
from tests.codecs.forms import ELEMENTS, FLOAT


def test_status_is_told_as_the_c_plus_plus_server_does() -> None:
    assert tfmodels.status([VersionState("m", "123", "AVAILABLE")]) == {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


def test_a_version_that_is_kept_from_serving_says_by_what() -> None:
    (status,) = tfmodels.status([VersionState("m", "2", "END", "no such op")])["model_version_status"]
    assert status["status"] == {"error_code": "UNKNOWN", "error_message": "no such op"}


def test_metadata_has_the_doubled_key_and_sizes_in_strings() -> None:
    signature = Signature(
        {"x": TensorSpec(FLOAT, (None, 8), "x:0")}, {"y": TensorSpec(ELEMENTS["object"], None, "y:0")}, "a/predict"
    )
    assert tfmodels.metadata("m", "7", {"serving_default": signature}) == {
        "model_spec": {"name": "m", "signature_name": "", "version": "7"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {
                                    "dim": [{"size": "-1", "name": ""}, {"size": "8", "name": ""}],
                                    "unknown_rank": False,
                                },
                                "name": "x:0",
                            }
                        },
                        "outputs": {
                            "y": {
                                "dtype": "DT_STRING",
                                "tensor_shape": {"dim": [], "unknown_rank": True},
                                "name": "y:0",
                            }
                        },
                        "method_name": "a/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }
