"""`python -m service --check`: what would be served, found out by loading it, and what keeps the rest from it."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from service import app
from service.door.tokens import Tokens
from service.metrics import Metrics
from service.models.models import Model, ModelError
from service.settings import Settings
from service.types import TensorSpec


class Report(NamedTuple):
    """What would be served, and what is wrong with the models, line by line."""

    lines: list[str]
    faults: list[str]


async def check(settings: Settings, tokens: Tokens) -> Report:
    """Load and warm the models, one after the other, so that the memory of one is enough."""
    report = Report([], [])
    for name, path in settings.model_paths().items():
        alone = msgspec.structs.replace(settings, models=f"{name}={path}")
        models = app.models(alone, Metrics(CollectorRegistry(), []), app.load_model)
        try:
            await models.load()
            for state in models.states(name):
                if state.ready:
                    model = models.get(name, int(state.version))
                    report.lines.append(f"model {name}, version {state.version}, from {path}")
                    report.lines.extend(_signatures(model, settings))
                elif state.reason:
                    report.faults.append(f"model {name!r} at {path}: version {state.version}: {state.reason}")
        except ModelError as error:
            report.faults.append(str(error))
        finally:
            models.close()
    known = "everybody is let in" if tokens.count is None else f"whoever knows one of {tokens.count} tokens is let in"
    report.lines.append(known)
    for name, value in msgspec.structs.asdict(settings).items():
        report.lines.append(f"TFPOD_{name.upper()}={value if isinstance(value, str) else json.dumps(value)}")
    return report


def _signatures(model: Model, settings: Settings) -> Iterator[str]:
    """Yield a line for each signature, such as `  serving_default: x FP32[-1,3] -> y FP32[-1,3], in batches of 64`."""
    for name, signature in sorted(model.signatures.items()):
        inputs = ", ".join(_tensor(*item) for item in signature.inputs.items())
        outputs = ", ".join(_tensor(*item) for item in signature.outputs.items())
        shared = settings.batching and signature.batches
        yield f"  {name}: {inputs} -> {outputs}" + (f", in batches of {settings.max_batch_rows}" if shared else "")


def _tensor(name: str, spec: TensorSpec) -> str:
    shape = "…" if spec.shape is None else ",".join(str(-1 if size is None else size) for size in spec.shape)
    return f"{name} {spec.element.oip}[{shape}]"
