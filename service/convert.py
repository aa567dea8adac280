"""`python -m service.convert SOURCE TARGET`: makes a .tflite file of a TensorFlow model and compares their answers.

It needs both runtimes. The file is written only if the answers agree; if not, the exit status is 1.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from service import cpus
from service.runners import formats, imports
from service.runners.litert import LiteRtRunner
from service.runners.tensorflow import TensorFlowRunner
from service.types import Array, Runner, Signature, Signatures, Tensors

#: The most that an answer may differ, as a share of the output's largest value, by kind of weights.
_TOLERANCE: Final = {"none": 1e-4, "dynamic": 0.1, "int8": 0.1}
#: How many rows are computed together, and how many there are where no data is given.
_BATCH, _ROWS, _SEED = 32, 33, 0
_LABELS: Final = "labels"


class ConversionError(Exception):
    """What keeps the model from being converted."""


def main(arguments: Sequence[str]) -> int:
    """Convert, compare, say what came out; return the exit status."""
    try:
        _convert_and_compare(_parser().parse_args(arguments))
    except Exception as error:  # noqa: BLE001 - a converter may raise anything, and all of it is for the user
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def convert(source: Path, signatures: Signatures, quantize: str, calibration: Tensors) -> bytes:
    """Return a .tflite file with these signatures of the SavedModel's folder or `.keras` file.

    `quantize`: "none"; "dynamic" for weights of 8 bits; "int8" for computing with 8 bits, whose ranges are those that
    the tensors have for the `calibration` rows. Raises ConversionError, and whatever TensorFlow raises.
    """
    import tensorflow as tf  # noqa: PLC0415 - seconds long, and to be set up before

    with tempfile.TemporaryDirectory() as folder:
        _save(tf, source, signatures, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "int8":
            examples = _examples(signatures, calibration)
            converter.representative_dataset = lambda: iter(examples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return bytes(converter.convert())


def compare(before: Runner, after: Runner, data: Tensors) -> float:
    """Return by how much outputs differ at most, and print it by output.

    Inputs come from `data` where it has all of a signature, else they are random. With `labels` among them, the share
    of rows whose largest output is at their label is printed too. Raises ConversionError if signatures differ.
    """
    most = 0.0
    for name, signature in before.signatures.items():
        if _outline(signature) != _outline(after.signatures.get(name)):
            raise ConversionError(f"signature {name!r} is not the same any more")
        given = set(signature.inputs) <= set(data)
        inputs = {key: data[key] for key in signature.inputs} if given else _random(signature)
        expected, found = (_run(runner, name, inputs) for runner in (before, after))
        rows = f"{len(next(iter(inputs.values())))} rows" if signature.batches else "one call"
        _say(f"{name}: {rows}{'' if given else ', random'}")
        for key in signature.outputs:
            difference = _difference(expected[key], found[key])
            _say(f"  {key}: differs by at most {difference:.2g} of its largest value")
            most = max(most, difference)
            if given and _LABELS in data and expected[key].ndim == 2:
                shares = [np.mean(answers[key].argmax(axis=1) == data[_LABELS]) for answers in (expected, found)]
                _say(f"  {key}: accuracy {shares[0]:.2%} before, {shares[1]:.2%} after")
    return most


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.convert", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a SavedModel's folder, or a .keras file")
    parser.add_argument("target", type=Path, metavar="TARGET", help="the .tflite file")
    parser.add_argument(
        "--quantize", choices=_TOLERANCE, default="none", help="8 bits for weights (dynamic), or for all (int8)"
    )
    parser.add_argument("--data", type=Path, help=f"an .npz file: inputs by name, and `{_LABELS}`; random if not given")
    parser.add_argument("--calibrate", type=Path, help="an .npz file with typical inputs by name, for int8")
    parser.add_argument("--tolerance", type=float, help="the most that outputs may differ, as a share of the largest")
    return parser


def _convert_and_compare(options: argparse.Namespace) -> None:
    tolerance = _TOLERANCE[options.quantize] if options.tolerance is None else options.tolerance
    data, calibration = _read(options.data), _read(options.calibrate)
    imports.whole(cpus.available())  # which the converter is in
    before = TensorFlowRunner(options.source, cpus.available())
    content = convert(options.source, before.signatures, options.quantize, calibration)
    with tempfile.TemporaryDirectory(dir=options.target.parent) as folder:
        file = Path(folder, "model.tflite")
        file.write_bytes(content)
        differs = compare(before, LiteRtRunner(file, cpus.available()), data)
        if differs > tolerance:
            raise ConversionError(f"it differs by {differs:.2g}, which is more than {tolerance:.2g}: not written")
        file.replace(options.target)
    _say(f"{options.target}: {len(content) / 1024:.0f} KiB")


def _read(file: Path | None) -> dict[str, Array]:
    if file is None:
        return {}
    with np.load(file) as arrays:
        return dict(arrays)


def _save(tf: Any, source: Path, signatures: Signatures, folder: str) -> None:
    """Save the signatures and what they need, but nothing else of the model.

    The converter leaves variables that some function of a Keras model might change as they are, and without values.
    """
    module, functions = tf.Module(), {}
    root, loaded, _ = formats.load(tf, source)
    for name, signature in signatures.items():
        tensors = {key: tf.TensorSpec(spec.shape, spec.element.numpy, key) for key, spec in signature.inputs.items()}
        functions[name] = tf.function(loaded[name], autograph=False).get_concrete_function(**tensors)
    module.used = [function.variables for function in functions.values()]
    if any(len(function.captured_inputs) > len(function.variables) for function in functions.values()):
        module.root = root  # has tables too
    tf.saved_model.save(module, folder, signatures=functions)


def _examples(signatures: Signatures, calibration: Tensors) -> list[tuple[str, Tensors]]:
    """Return the rows to calibrate with, each by its signature's name."""
    examples: list[tuple[str, Tensors]] = []
    for name, signature in signatures.items():
        if lacking := sorted(set(signature.inputs) - set(calibration)):
            raise ConversionError(f"int8 needs --calibrate with {', '.join(lacking)}")
        rows = len(calibration[next(iter(signature.inputs))])
        examples += [(name, {key: calibration[key][row : row + 1] for key in signature.inputs}) for row in range(rows)]
    return examples


def _outline(signature: Signature | None) -> object:
    """Return what has to stay: names, types, and whether rows of several callers may be put together."""
    if signature is None:
        return None
    tensors = [(key, spec.element) for specs in (signature.inputs, signature.outputs) for key, spec in specs.items()]
    return tensors, signature.batches


def _random(signature: Signature) -> dict[str, Array]:
    random, inputs = np.random.default_rng(_SEED), {}
    for key, spec in signature.inputs.items():
        free = iter([_ROWS if signature.batches else 1])
        shape = [next(free, 1) if size is None else size for size in spec.shape or ()]
        values = random.random(shape) if spec.element.numpy.kind == "f" else random.integers(2, size=shape)
        inputs[key] = (values.astype("S") if spec.element.is_string else values).astype(spec.element.numpy)
    return inputs


def _run(runner: Runner, name: str, inputs: Tensors) -> Tensors:
    """Compute in batches, the last of which is smaller, where the signature allows it."""
    if not runner.signatures[name].batches:
        return runner.run(name, inputs)
    starts = range(0, len(next(iter(inputs.values()))), _BATCH)
    batches = ({key: array[start : start + _BATCH] for key, array in inputs.items()} for start in starts)
    answers = [runner.run(name, batch) for batch in batches]
    return {key: np.concatenate([answer[key] for answer in answers]) for key in answers[0]}


def _difference(expected: Array, found: Array) -> float:
    """Return the largest difference as a share of the largest value; infinite for other shapes, strings and NaNs."""
    if expected.shape != found.shape or expected.dtype.kind == "O":
        return 0.0 if np.array_equal(expected, found) else np.inf
    wide, other = expected.astype(np.float64), found.astype(np.float64)
    differ = ~((wide == other) | (np.isnan(wide) & np.isnan(other)))
    difference = np.abs(wide[differ] - other[differ]).max(initial=0)
    largest = np.abs(wide[np.isfinite(wide)]).max(initial=0)
    return float(difference / (largest or 1.0)) if np.isfinite(difference) else np.inf


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
