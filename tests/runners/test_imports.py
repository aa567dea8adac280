"""What is imported of TensorFlow: enough for every graph, and the whole where it is asked for, in any order.

In processes of their own, as the one that runs the tests has the whole; each model's answers are compared with its.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf

from tests.alone import alone
from tests.runners.test_tensorflow import load, save, spec

v1: Final[Any] = tf.compat.v1
ROWS: Final = np.arange(6, dtype=np.float32).reshape(2, 3)
WORDS: Final = np.array([b"two", b"?"], object)
SOUND: Final = tf.audio.encode_wav(np.linspace(-1, 1, 400, dtype=np.float32)[:, None], 8000).numpy()
PICTURES: Final = {
    "png": tf.io.encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).numpy(),
    "jpeg": tf.io.encode_jpeg(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).numpy(),
}
ONE: Final = {name: np.array([content], object) for name, content in {"wav": SOUND, **PICTURES}.items()}

#: Loads the models in the folders that are given, and saves what each answers to what lies beside it.
ANSWER: Final = """
    import logging, sys
    from pathlib import Path
    import numpy as np
    from service.runners.tensorflow import TensorFlowRunner

    logging.basicConfig(stream=sys.stdout)
    for folder in sorted(Path({folder!r}).iterdir()):
        with np.load(folder / "inputs.npz", allow_pickle=True) as inputs:
            outputs = TensorFlowRunner(folder, 2).run("serving_default", dict(inputs))
        np.savez(folder / "outputs.npz", **outputs)
    assert "tensorflow" not in sys.modules
    print(len(sys.modules))
"""


def written_by_v1(folder: Path, build: Callable[[Any], Any], x: Any) -> None:
    """Save a graph of TensorFlow 1, collections and all, of x and y."""
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        x = v1.placeholder(x.dtype, x.shape, "x")
        y = build(x)
        begin = tf.group(v1.local_variables_initializer(), v1.tables_initializer())
        session.run([v1.global_variables_initializer(), begin])
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y}, legacy_init_op=begin)


def variables(x: Any) -> Any:
    """Return x by variables of both kinds, one in parts, in every collection that knows how to bring them back."""
    old = v1.get_variable("old", [3, 2], use_resource=False)
    new = v1.get_variable("new", [2, 2], use_resource=True)
    parts = v1.get_variable("parts", [4, 2], partitioner=v1.fixed_size_partitioner(2))
    local = v1.get_local_variable("local", initializer=0.0)
    v1.add_to_collection(v1.GraphKeys.MODEL_VARIABLES, new)
    v1.train.get_or_create_global_step()
    average = tf.train.ExponentialMovingAverage(0.9).apply([new])
    with tf.control_dependencies([average]):
        return x @ old @ new + tf.reduce_sum(tf.convert_to_tensor(parts)) + local


def control_flow(x: Any) -> Any:
    """Return x by a loop and a branch as TensorFlow 1 wrote them, which have collections too."""
    v1.disable_control_flow_v2()
    try:
        doubled = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2.0), [0, x])[1]
        return v1.cond(tf.reduce_sum(x) > 1.0, lambda: doubled, lambda: -doubled)
    finally:
        v1.enable_control_flow_v2()


def table(vocabulary: Path) -> Callable[[Any], Any]:
    """Return a function that looks words up in a file, which becomes an asset."""
    vocabulary.write_text("one\ntwo\n")

    def build(x: Any) -> Any:
        index = tf.lookup.TextFileIndex
        words = tf.lookup.TextFileInitializer(str(vocabulary), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(vocabulary)))
        return tf.lookup.StaticHashTable(words, -1).lookup(x)

    return build


@tf.custom_gradient  # type: ignore[untyped-decorator]
def with_gradient(x: Any) -> Any:
    """Return x's square, and a gradient of its own."""
    return x * x, lambda upstream: upstream * 3.0


def strings(found: Any, x: Any) -> Any:
    """Return how many letters of a ragged tensor each word has, and what a table holds for it."""
    letters = tf.strings.unicode_split(x, "UTF-8")
    return {"letters": letters.row_lengths(), "found": found.lookup(x), "upper": tf.strings.upper(x)}


def numbers(x: Any) -> Any:
    """Return what loops, functions, a compiled one, data sets and gradients make of x."""
    looped = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2.0), [0, x])[1]
    mapped = tf.map_fn(lambda row: tf.cond(row[0] > 1.0, lambda: row, lambda: -row), x)
    compiled = tf.function(lambda y: tf.nn.softmax(y @ tf.ones([3, 2])), jit_compile=True)(x)
    summed = tf.data.Dataset.from_tensor_slices(x).reduce(tf.zeros([3]), lambda total, row: total + row)
    spectrum = tf.abs(tf.signal.stft(tf.tile(x, [1, 10]), 8, 4))
    return {
        "looped": looped,
        "mapped": mapped,
        "compiled": compiled,
        "summed": summed,
        "spectrum": spectrum,
        "squared": with_gradient(x),
        "slope": tf.gradients(with_gradient(x), x)[0],
        "sorted": tf.sort(x, direction="DESCENDING"),
        "random": tf.random.stateless_normal([2, 2], [1, 2]),
        "inverse": tf.linalg.inv(tf.eye(3) + tf.transpose(x) @ x),
    }


def media(wav: Any, png: Any, jpeg: Any) -> Any:
    """Return what sound and pictures hold, and them at another size."""
    picture = tf.image.decode_image(png[0], expand_animations=False)
    return {
        "sound": tf.audio.decode_wav(wav[0])[0],
        "picture": picture,
        "photo": tf.raw_ops.DecodeJpeg(contents=jpeg[0], channels=3),
        "small": tf.image.resize(tf.ensure_shape(picture, [None, None, 3]), [2, 2]),
    }


def layers(folder: Path) -> None:
    """Export what Keras makes of common layers."""
    keras: Any = tf.keras
    x = keras.Input((3,), name="x")
    y = keras.layers.LSTM(4)(keras.layers.Reshape((3, 1))(keras.layers.BatchNormalization()(x)))
    keras.Model(x, keras.layers.Dense(2)(y)).export(str(folder), verbose=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save models that need all kinds of things, each beside its inputs."""
    folder = tmp_path_factory.mktemp("models")
    floats = ("variables", "control_flow", "numbers", "layers")
    inputs: dict[str, Mapping[str, Any]] = {name: {"x": ROWS} for name in floats}
    inputs |= {"table": {"x": WORDS}, "strings": {"x": WORDS}, "media": ONE}
    rows, words = spec("x", [None, 3]), spec("x", [None], tf.string)
    written_by_v1(folder / "variables", variables, rows)
    written_by_v1(folder / "control_flow", control_flow, rows)
    written_by_v1(folder / "table", table(tmp_path_factory.mktemp("vocabulary") / "words.txt"), words)
    pairs = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["two"], [2]), 0)
    save(folder / "strings", pairs, serving_default=(lambda x: strings(pairs, x), [words]))
    save(folder / "numbers", tf.Variable(1.0), serving_default=(numbers, [rows]))
    save(folder / "media", serving_default=(media, [spec(name, [None], tf.string) for name in ONE]))
    layers(folder / "layers")
    for name, arrays in inputs.items():
        np.savez(folder / name / "inputs.npz", **arrays)
    return folder


def test_without_the_whole_of_tensorflow_every_model_answers_the_same(models: Path) -> None:
    assert int(alone(ANSWER.format(folder=str(models))).strip()) < 1500  # and nothing else was said
    for folder in models.iterdir():
        with np.load(folder / "inputs.npz", allow_pickle=True) as inputs:
            expected = load(folder).run("serving_default", dict(inputs))
        with np.load(folder / "outputs.npz", allow_pickle=True) as found:
            assert set(found) == set(expected)
            for name, array in found.items():
                np.testing.assert_array_equal(array, expected[name], err_msg=f"{folder.name}: {name}")


def test_what_is_registered_is_what_the_whole_registers_but_for_one_operation_and_queues() -> None:
    """Operations, their kernels, and what brings collections back."""
    program = """
        import sys
        from contextlib import nullcontext
        from importlib.util import find_spec
        from service.runners import imports

        {which}
        with nullcontext() if "tensorflow" in sys.modules else imports._unfilled(find_spec("tensorflow")):
            from tensorflow.core.framework import op_def_pb2
            from tensorflow.python.client import pywrap_tf_session
            from tensorflow.python.framework import kernels, ops
        buffer = pywrap_tf_session.TF_GetAllOpList()
        known = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
        print("tensorflow" in sys.modules)
        print(*(op.name for op in known.op))
        print(*(f"{{kernel.op}}:{{kernel.device_type}}" for kernel in kernels.get_all_registered_kernels().kernel))
        print(*ops._proto_function_registry.list())
    """
    asked = "imports.for_graphs()", "imports.whole(1)"
    few, every = ([set(line.split()) for line in alone(program.format(which=which)).splitlines()] for which in asked)
    assert [whole - part for part, whole in zip(few, every, strict=True)] == [
        {"True"},
        {"AudioMicrofrontend"},
        {"AudioMicrofrontend:CPU"},
        {"queue_runners"},
    ]
    assert len(few[1]) > 1000


@pytest.mark.parametrize("order", ["graph keras graph", "keras graph keras", "graph import graph"])
def test_graphs_and_keras_files_are_served_by_one_process_in_any_order(tmp_path: Path, order: str) -> None:
    """Each loaded in a thread of its own, as a pod does, and all answer to the end."""
    keras: Any = tf.keras
    keras.Sequential([keras.Input((8, 8, 1), name="image"), keras.layers.Flatten()]).save(tmp_path / "model.keras")
    program = f"""
        import sys, threading
        from pathlib import Path
        import numpy as np
        from service.runners.tensorflow import TensorFlowRunner

        runners = []
        def load(path):
            runners.append(TensorFlowRunner(Path(path), 2))

        for kind in {order.split()}:
            if kind == "import":
                import tensorflow as tf
                assert tf.constant(2).numpy() == 2 and tf.keras.layers.Dense(1)
            else:
                path = {{"graph": "models/digits/1", "keras": {str(tmp_path / "model.keras")!r}}}[kind]
                thread = threading.Thread(target=load, args=[path])
                thread.start()
                thread.join()
            print("tensorflow" in sys.modules)
        for runner in runners:
            inputs = {{"image": np.zeros((2, 8, 8, 1), np.float32)}}
            print(*(array.shape[0] for array in runner.run("serving_default", inputs).values()))
    """
    said = alone(program).split()
    assert said[:3] == [str(order.startswith("keras")), "True", "True"]
    assert said[3:] == ["2"] * (3 - order.count("import"))


def test_models_that_are_there_when_the_whole_is_imported_can_still_be_collected() -> None:
    program = """
        import gc
        from service.runners import imports

        imports.for_graphs()
        first = gc.get_freeze_count()
        model = [[] for _ in range(1000)]
        imports.whole(1)
        print(first > 50_000, gc.get_freeze_count() <= first)
    """
    assert alone(program).split() == ["True", "True"]


def test_an_operation_that_only_the_whole_has_is_found_there(tmp_path: Path) -> None:
    """One of three packages for microcontrollers, which is a library of its own."""
    from tensorflow.lite.experimental.microfrontend.python.ops import audio_microfrontend_op  # noqa: PLC0415 - see above

    heard = (lambda x: {"y": audio_microfrontend_op.audio_microfrontend(x)}, [spec("x", [16000], tf.int16)])
    save(tmp_path, serving_default=heard)
    program = f"""
        import sys
        from pathlib import Path
        import numpy as np
        from service.runners.tensorflow import TensorFlowRunner

        runner = TensorFlowRunner(Path({str(tmp_path)!r}), 2)
        print(*runner.run("serving_default", {{"x": np.zeros(16000, np.int16)}})["y"].shape)
        print("tensorflow" in sys.modules)
    """
    assert alone(program).split() == ["98", "32", "True"]


def test_with_plugins_beside_tensorflow_it_is_the_whole_that_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which nothing else loads."""
    (tmp_path / "tensorflow").symlink_to(Path(tf.__file__).parent)
    (tmp_path / "tensorflow-plugins").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = """
        from service.runners import imports
        imports.importlib.import_module = print
        imports.for_graphs()
    """
    assert alone(program).split() == ["tensorflow"]
