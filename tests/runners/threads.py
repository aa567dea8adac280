"""With how many threads a model is loaded."""

from types import ModuleType
from typing import Any

import pytest


def noted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[int]:
    """Return the list to which each call of the module's function, given a model and a number of threads, adds that."""
    tried: list[int] = []
    make = getattr(module, name)

    def made(model: Any, count: int) -> Any:
        tried.append(count)
        return make(model, count)

    monkeypatch.setattr(module, name, made)
    return tried
