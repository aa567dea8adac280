"""A runtime for MLServer, which batches adaptively in front of it."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.model import load


class Peer(MLModel):
    """The model, called in the server's own process."""

    async def load(self) -> bool:
        """Load the model."""
        self.run = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a tensor with a tensor."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", self.run(rows))])
