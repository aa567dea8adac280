"""PyTriton: Triton's own server in a wheel, with its dynamic batcher, in front of this process."""

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers.model import Rows, load, port, shape

run = load()


@batch
def infer(x: Rows) -> list[Rows]:
    """Compute the rows of several callers."""
    return [run(x)]


if __name__ == "__main__":
    config = TritonConfig(
        http_port=port(), http_address="127.0.0.1", allow_grpc=False, allow_metrics=False, log_verbose=0
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="peer",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=shape())],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
