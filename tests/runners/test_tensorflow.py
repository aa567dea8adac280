"""Real SavedModels: what is read of their signatures, what comes out of them, and what they say when they fail."""

import concurrent.futures
import gc
import math
import threading
import weakref
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf

from service.errors import InvalidRequest, ModelFailed
from service.runners import graphs
from service.runners.tensorflow import TensorFlowRunner
from service.types import ELEMENT_TYPES, Array, ElementType, TensorSpec
from tests.alone import alone
from tests.runners.threads import noted

FLOAT: Final = ELEMENT_TYPES[0]
INT64: Final = next(element for element in ELEMENT_TYPES if element.oip == "INT64")


def save(folder: Path, variable: Any = None, **signatures: tuple[Any, list[Any]]) -> Path:
    """Write a SavedModel: by signature a function and the specs of its arguments; `variable` is what they share."""
    module = tf.Module()
    module.variable = variable
    functions = {
        name: tf.function(body, input_signature=specs, autograph=False) for name, (body, specs) in signatures.items()
    }
    tf.saved_model.save(module, str(folder), signatures=functions)
    return folder


def spec(name: str, shape: list[int | None] | None, dtype: Any = tf.float32) -> Any:
    """Return TensorFlow's own spec."""
    return tf.TensorSpec(shape, dtype, name)


def below_ten(x: Any) -> Any:
    """Return rows of which none may be above ten."""
    with tf.control_dependencies([tf.debugging.assert_less(x, 10.0, message="ten is too much")]):
        return {"y": tf.identity(x)}


def loops(x: Any) -> Any:
    """Add as often as it takes."""
    return {"y": tf.while_loop(lambda x: tf.reduce_any(x < 10.0), lambda x: [x + 3.0], [x])[0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save one model of many signatures."""
    typed = {
        f"of_{element.numpy.name}": (
            lambda x: {"all": x, "first": x[0]},
            [spec("x", [None], tf.as_dtype(element.tensorflow.removeprefix("DT_").lower()))],
        )
        for element in ELEMENT_TYPES
    }
    scale = tf.Variable([2.0, 3.0])
    return save(
        tmp_path_factory.mktemp("model"),
        scale,
        serving_default=(lambda x: {"scaled": x * scale}, [spec("x", [None, 2])]),
        two=(
            lambda b, a: {"z": tf.cast(a, tf.float32) + b, "a": a},
            [spec("b", [None, None]), spec("a", [None, 1], tf.int64)],
        ),
        fixed=(lambda x: {"y": x + 1.0}, [spec("x", [2, 3])]),
        any_rank=(lambda x: {"rank": tf.rank(x), "same": x}, [spec("x", None)]),
        checked=(below_ten, [spec("x", [None, 1])]),
        product=(lambda x: {"y": tf.matmul(x, tf.ones([3, 2]))}, [spec("x", [None, None])]),
        huge=(lambda n: {"y": tf.reduce_sum(tf.random.uniform([n, n, n]))}, [spec("n", [], tf.int32)]),
        ragged=(lambda x: {"y": tf.RaggedTensor.from_row_lengths(x, [1])}, [spec("x", [None])]),
        bfloat16=(lambda x: {"y": x}, [spec("x", [None], tf.bfloat16)]),
        inputless=(lambda: {"y": tf.constant(1.0)}, []),
        **typed,
    )


@pytest.fixture(scope="module")
def runner(folder: Path) -> TensorFlowRunner:
    """Load that model."""
    return load(folder)


def load(folder: Path) -> TensorFlowRunner:
    """Load a model, without a change of the threads that this process may have settled on already."""
    return TensorFlowRunner(folder, tf.config.threading.get_intra_op_parallelism_threads())


def test_signatures_are_as_written_with_the_names_that_the_graph_has(runner: TensorFlowRunner) -> None:
    signature = runner.signatures["two"]
    assert list(signature.inputs.items()) == [
        ("a", TensorSpec(INT64, (None, 1), "two_a:0")),
        ("b", TensorSpec(FLOAT, (None, None), "two_b:0")),
    ]
    assert {name: (s.element, s.shape) for name, s in signature.outputs.items()} == {
        "a": (INT64, (None, 1)),
        "z": (FLOAT, (None, None)),
    }
    assert all("PartitionedCall" in spec.graph_name for spec in signature.outputs.values())
    assert signature.method == "tensorflow/serving/predict"
    assert signature.batches


def test_a_fixed_first_dimension_and_an_unknown_rank_do_not_batch(runner: TensorFlowRunner) -> None:
    assert runner.signatures["fixed"].inputs["x"].shape == (2, 3)
    assert runner.signatures["any_rank"].inputs["x"].shape is None
    assert runner.signatures["any_rank"].outputs["rank"].shape == ()
    assert not runner.signatures["fixed"].batches
    assert not runner.signatures["any_rank"].batches


@pytest.mark.parametrize(
    ("body", "steady"),
    [
        (lambda x: {"y": x + 1.0}, True),
        (loops, False),
        (lambda x: {"y": tf.cond(x[0, 0] > 0.0, lambda: loops(x)["y"], lambda: x)}, False),
        (lambda x: {"y": tf.cond(x[0, 0] > 0.0, lambda: tf.exp(x), lambda: x)}, False),
        (lambda x: {"y": x + tf.reduce_sum(tf.range(x[0, 0]))}, False),
        (lambda x: {"y": x + tf.reduce_sum(tf.ones([tf.cast(x[0, 0], tf.int32)]))}, False),
        (lambda x: {"y": x + tf.cast(tf.argmax(x, axis=1), tf.float32)[:, None]}, True),
        (lambda x: {"y": x + tf.cast(tf.range(tf.shape(x)[0]), tf.float32)[:, None]}, True),
        (lambda x: {"y": tf.ensure_shape(tf.py_function(lambda x: x, [x], tf.float32), [None, 2])}, False),
    ],
    ids=[
        "once",
        "loop",
        "loop in a branch",
        "branch",
        "counted",
        "made a size",
        "made a number",
        "rows counted",
        "Python",
    ],
)
def test_what_its_numbers_say_may_take_as_long_as_it_likes(tmp_path: Path, body: Any, *, steady: bool) -> None:
    save(tmp_path, serving_default=(body, [spec("x", [None, 2])]))
    assert load(tmp_path).signatures["serving_default"].bounded is steady


@pytest.mark.parametrize(("quick", "threads"), [(math.inf, [3, 1]), (0.0, [3])])
def test_what_is_done_in_a_moment_is_done_by_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: float, threads: list[int]
) -> None:
    tried = noted(monkeypatch, graphs, "_load")
    monkeypatch.setattr(graphs, "_QUICK", quick)
    save(tmp_path, serving_default=(lambda x: {"y": x + 1.0}, [spec("x", [None, 2])]))
    runner = TensorFlowRunner(tmp_path, 3)
    assert tried == threads
    assert runner.run("serving_default", {"x": np.zeros((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


def test_what_is_not_dense_or_has_no_known_type_is_left_out_with_a_word(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = set(load(folder).signatures)
    assert served.isdisjoint({"ragged", "bfloat16", "inputless"})
    assert {"serving_default", "two", "fixed", "any_rank"} < served
    (record,) = caplog.records
    assert vars(record)["signatures"] == ["bfloat16", "inputless", "ragged"]


def test_a_model_without_any_dense_signature_is_refused(tmp_path: Path) -> None:
    save(tmp_path, serving_default=(lambda x: {"y": x}, [spec("x", [None], tf.bfloat16)]))
    with pytest.raises(ValueError, match="no signature of dense tensors"):
        load(tmp_path)


def test_what_is_no_saved_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"not a protocol buffer")
    with pytest.raises(OSError, match=str(tmp_path)):
        load(tmp_path)


@pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.numpy.name)
def test_arrays_of_every_type_come_out_as_promised_and_scalars_as_arrays(
    runner: TensorFlowRunner, element: ElementType
) -> None:
    values = [b"\xff\x00", "é".encode()] if element.is_string else [1, 0]
    x: Array = np.array(values, element.numpy)
    outputs = runner.run(f"of_{element.numpy.name}", {"x": x})
    for name, expected in (("all", x), ("first", x[:1].reshape(()))):
        assert isinstance(outputs[name], np.ndarray)
        assert outputs[name].dtype == element.numpy
        np.testing.assert_array_equal(outputs[name], expected)


def test_no_elements_are_no_matter(runner: TensorFlowRunner) -> None:
    assert runner.run("any_rank", {"x": np.zeros((0, 3), np.float32)})["same"].shape == (0, 3)


def test_a_rank_that_is_not_known_is_taken_as_it_comes(runner: TensorFlowRunner) -> None:
    for rank in range(3):
        outputs = runner.run("any_rank", {"x": np.ones((2,) * rank, np.float32)})
        assert (outputs["rank"].tolist(), outputs["same"].shape) == (rank, (2,) * rank)


def test_several_inputs_and_outputs_go_by_their_names(runner: TensorFlowRunner) -> None:
    outputs = runner.run("two", {"b": np.array([[0.5, 1.5]], np.float32), "a": np.array([[2]], np.int64)})
    assert {name: array.tolist() for name, array in outputs.items()} == {"z": [[2.5, 3.5]], "a": [[2]]}


def test_variables_live_as_long_as_the_runner_and_any_thread_may_compute(folder: Path) -> None:
    runner = load(folder)
    gc.collect()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        outputs = thread.submit(runner.run, "serving_default", {"x": np.ones((2, 2), np.float32)}).result()
    assert outputs["scaled"].tolist() == [[2, 3], [2, 3]]


def test_several_threads_may_compute_at_once(tmp_path: Path) -> None:
    side, both = tf.random.stateless_normal([400, 400], [1, 2]), threading.Barrier(2)
    body = (lambda x: {"y": x @ side @ side}, [spec("x", [None, 400])])
    runner = load(save(tmp_path / "m", m=body))
    rows = np.random.default_rng(3).standard_normal((2, 300, 400)).astype(np.float32)

    def compute(number: int) -> list[Any]:
        both.wait(60)
        return [runner.run("m", {"x": rows[number]})["y"] for _ in range(20)]

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(compute, range(2)))
    for number, found in enumerate(answers):
        again: Any = runner.run("m", {"x": rows[number]})["y"]
        for answer in found:
            np.testing.assert_allclose(answer, again, rtol=1e-4, atol=1e-2)


def test_inputs_that_the_model_refuses_are_the_callers_fault_and_named_in_its_words(runner: TensorFlowRunner) -> None:
    assert runner.run("checked", {"x": np.array([[9.0]], np.float32)})["y"].tolist() == [[9]]
    with pytest.raises(InvalidRequest, match=r"^the model refused its inputs: assertion failed: \[ten is too much\]"):
        runner.run("checked", {"x": np.array([[11.0]], np.float32)})
    with pytest.raises(InvalidRequest) as caught:
        runner.run("product", {"x": np.ones((1, 2), np.float32)})
    assert str(caught.value) == "the model refused its inputs: Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]"


def test_what_is_not_the_callers_fault_is_the_models(runner: TensorFlowRunner) -> None:
    with pytest.raises(ModelFailed, match=r"^the model failed: ResourceExhaustedError: OOM when allocating tensor"):
        runner.run("huge", {"n": np.array(100_000, np.int32)})


def test_tensorflow_is_imported_for_a_model_only_and_told_its_threads(folder: Path) -> None:
    """In a process of its own: both are for ever. A second model finds it so."""
    program = f"""
        import os
        import sys
        from pathlib import Path
        from service.app import Pod
        from service.runners.tensorflow import TensorFlowRunner
        from service.settings import Settings

        Pod(Settings(), "1", print)
        assert not [name for name in sys.modules if name.startswith("tensorflow")]
        import numpy
        for _ in range(2):
            runner = TensorFlowRunner(Path({str(folder)!r}), {{threads}})
            print(runner.run("fixed", {{{{"x": numpy.zeros((2, 3), numpy.float32)}}}})["y"].sum())
        print(len(os.listdir("/proc/self/task")))
    """
    few, many = (alone(program.format(threads=threads)).split() for threads in (3, 8))
    assert few[:2] == many[:2] == ["6.0", "6.0"]
    assert int(many[2]) - int(few[2]) == 8 - 3


def test_the_whole_of_tensorflow_is_told_its_threads_too() -> None:
    program = """
        from service.runners import imports
        for _ in range(2):
            threading = imports.whole(3).config.threading
        print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
    """
    assert alone(program).split() == ["3", "1"]


def test_outputs_that_are_inputs_or_each_other_come_out_all_the_same(tmp_path: Path) -> None:
    """As saved by TensorFlow 1, which puts nothing between."""
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], "x")
        double = x * 2.0
        tensors = {name: tf.compat.v1.saved_model.build_tensor_info(t) for name, t in (("x", x), ("double", double))}
        outputs = {"x": tensors["x"], "double": tensors["double"], "again": tensors["double"]}
        signature = tf.compat.v1.saved_model.build_signature_def({"x": tensors["x"]}, outputs)
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "model"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    answer = load(tmp_path / "model").run("serving_default", {"x": np.array([3.0], np.float32)})
    assert {name: array.tolist() for name, array in answer.items()} == {"x": [3.0], "double": [6.0], "again": [6.0]}


def test_a_model_that_nobody_holds_any_more_is_gone(folder: Path) -> None:
    held = weakref.ref(load(folder)._root)
    gc.collect()
    assert held() is None
