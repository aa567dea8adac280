"""Runs a .tflite model with LiteRT."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from service import cpus
from service.errors import InvalidRequest
from service.types import DEFAULT_SIGNATURE, ELEMENT_TYPES, Array, Signature, Signatures, Tensors, TensorSpec

_ELEMENTS: Final = {np.dtype("S") if element.is_string else element.numpy: element for element in ELEMENT_TYPES}
_METHOD: Final = "tensorflow/serving/predict"
_LONGEST: Final = 512
#: How LiteRT tells of an operation that only TensorFlow, or only somebody's program, has.
_LACKING: Final = re.compile(r"(?:Select TensorFlow op|unresolved custom op).*Node number \d+ \((\w+)\)", re.DOTALL)
#: A batch of so many rows in less than so many seconds is computed by one thread: a second would begin when it is over,
#: and take the processor that reads the requests.
_ROWS, _QUICK = 32, 0.001

_log = logging.getLogger("tfpod.litert")


class LiteRtRunner:
    """A model's signatures, each a function of one interpreter.

    The interpreter is told the size of every batch anew: with XNNPACK that costs 7 µs for a new size and 1 for the
    last, less than computing padding, and weights are in memory once.
    """

    platform: Final = "litert_tflite"
    reentrant: Final = False

    def __init__(self, path: Path, threads: int) -> None:
        """Load the file `path`; LiteRT computes on `threads` processors, or on one what is done in a moment.

        Raises OSError; ValueError for what is no model, or one with operations that LiteRT lacks, or without a
        signature that can be served.
        """
        content = path.read_bytes()  # a map of the file would crash the process once somebody writes to it
        if not content:
            raise ValueError("the file is empty")
        interpreter = _interpreter(content, 1)
        self._functions = _functions(interpreter)
        self.signatures = _signatures(self._functions, steady=_is_steady(interpreter))
        if not self.signatures:
            raise ValueError("the model has no signature with inputs of known types")
        quick = [_is_quick(self._functions[name], name, found) for name, found in self.signatures.items()]
        if not all(quick):
            self._functions = _functions(_interpreter(content, threads))

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute; see Runner. Raises InvalidRequest for whatever fails: LiteRT fails for shapes and values only."""
        try:
            answer = self._functions[signature](**inputs)
        except (RuntimeError, ValueError) as error:
            raise InvalidRequest(f"the model refused its inputs: {' '.join(str(error).split())[:_LONGEST]}") from error
        # A scalar is no array to LiteRT.
        outputs = self.signatures[signature].outputs
        return {name: np.asarray(answer[name], spec.element.numpy) for name, spec in outputs.items()}


class _Unsigned:
    """A model without signatures as if it had one: its tensors go by the names in the graph. As SignatureRunner."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._inputs = {details["name"]: details for details in interpreter.get_input_details()}
        self._outputs = {details["name"]: details for details in interpreter.get_output_details()}

    def get_input_details(self) -> Mapping[str, Any]:
        return self._inputs

    def get_output_details(self) -> Mapping[str, Any]:
        return self._outputs

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        for name, array in inputs.items():
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], array.shape)
        self._interpreter.allocate_tensors()
        for name, array in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], array)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(details["index"]) for name, details in self._outputs.items()}


def _interpreter(content: bytes, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - not installed beside TensorFlow, as a rule

    return Interpreter(model_content=content, num_threads=threads)


def _functions(interpreter: Any) -> dict[str, Any]:
    """Return the model's functions by signature: LiteRT's SignatureRunner, or what looks like one."""
    names = interpreter.get_signature_list()
    if not names:
        return {DEFAULT_SIGNATURE: _Unsigned(interpreter)}
    return {name: interpreter.get_signature_runner(name) for name in names}


def _signatures(functions: Mapping[str, Any], *, steady: bool) -> Signatures:
    """Describe those that have inputs, and tensors of known types only."""
    found = {}
    for name, function in sorted(functions.items()):
        inputs, outputs = _specs(function.get_input_details()), _specs(function.get_output_details())
        if inputs and outputs:
            found[name] = Signature(inputs, outputs, _METHOD, steady)
    if skipped := sorted(set(functions) - set(found)):
        _log.warning("not served: no inputs, or tensors of no known type", extra={"signatures": skipped})
    return found


def _is_steady(interpreter: Any) -> bool:
    """Tell whether nothing loops or chooses, and no number of an input becomes a size: see graphs.py."""
    kinds = {each["index"]: np.dtype(each["dtype"]).kind for each in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()  # noqa: SLF001 - nothing else tells what a model does
    casts = [each for each in operations if each["op_name"] == "CAST" and kinds[each["outputs"][0]] in "iu"]
    ranges = [each for each in operations if each["op_name"] == "RANGE"]
    sizes = any(kinds[each["inputs"][0]] == "f" for each in (*casts, *ranges))
    return bool(interpreter.num_subgraphs() == 1 and not sizes)  # what loops or chooses has graphs of its own for that


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Return the tensors' specs by name, or nothing if one is of no known type. An unknown rank looks like a scalar."""
    found = {}
    for name, details in sorted(tensors.items()):
        element = _ELEMENTS.get(np.dtype(details["dtype"]))
        if element is None:
            return {}
        shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
        found[name] = TensorSpec(element, shape, details["name"])
    return found


def _is_quick(function: Any, name: str, signature: Signature) -> bool:
    """Tell whether a batch takes less than a second thread is worth, by computing one of zeros.

    Raises ValueError if an operation is lacking: LiteRT looks for it no sooner. What else may fail need not: zeros make
    no sense to every model.
    """
    given = signature.zeros(_ROWS if signature.batches else 1)
    try:
        function(**given)  # the first call has more to do
        return cpus.done_within(_QUICK, lambda: function(**given))
    except (RuntimeError, ValueError) as error:
        if lacking := _LACKING.search(str(error)):
            raise ValueError(f"signature {name!r} needs the operation {lacking[1]}, which LiteRT lacks") from error
        return False
