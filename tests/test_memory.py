"""service/memory.py: models that come and go leave nothing, in a process of its own whose size nobody else changes."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.alone import alone


def test_models_that_come_and_go_leave_nothing_in_memory(tmp_path: Path) -> None:
    """Each holds 32 MiB in pieces of 1 MiB, which glibc would keep, in objects that refer to each other in circles."""
    module = tf.Module()
    module.pieces = [tf.Variable(np.ones((512, 512), np.float32)) for _ in range(32)]
    serve = tf.function(lambda x: {"y": x + tf.add_n(module.pieces)}, input_signature=[tf.TensorSpec([512], name="x")])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": serve})
    program = f"""
        import gc
        from pathlib import Path
        import numpy as np
        from service.memory import give_back
        from service.runners.tensorflow import TensorFlowRunner

        def resident():
            pages = Path("/proc/self/statm").read_text().split()[1]
            return int(pages) * 4096 / 2**20

        gc.disable()  # so that nothing is collected by chance
        held, returned = [], []
        for _ in range(12):
            runner = TensorFlowRunner(Path({str(tmp_path)!r}), 2)
            runner.run("serving_default", {{"x": np.zeros(512, np.float32)}})
            held.append(resident())
            del runner
            freed = resident()
            give_back()
            returned.append(freed - resident())
        print(held[-1] - held[1], np.median(returned))
    """
    grown, returned = map(float, alone(program).split())
    assert grown < 8  # 2 MiB and more for each of ten where nothing is collected
    assert returned > 2  # 0 where free memory stays with the process


def test_what_is_there_when_tensorflow_is_imported_is_looked_at_no_more_and_what_comes_later_is() -> None:
    program = """
        import gc
        from service.runners import imports
        imports.for_graphs()
        first = gc.get_freeze_count()
        later = [[] for _ in range(1000)]
        imports.whole(1)
        print(first, gc.get_freeze_count(), gc.is_tracked(later[0]))
    """
    first, second, tracked = alone(program).split()
    assert int(first) > 100_000
    assert int(second) <= int(first)
    assert tracked == "True"
