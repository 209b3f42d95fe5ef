"""Fixtures of the face's tests: native code kept in one cache, or no native code at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc import api
from mlc.frontends.torch.arrays import from_numpy, to_numpy
from mlc.frontends.torch.graph import Graph
from mlc.ir.parsing import print_text
from mlc.ir.resources import ResourceStore
from mlc.options import Options
from mlc.phases import Phases
from tests.frontends.replay import DTYPES, replay


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disk cache for all native tests."""
    return tmp_path_factory.mktemp("cache")


@dataclass
class ReplayedUnit:
    """Stands for `Compiled`: runs the captured module with PyTorch's ops."""

    module: ModuleOp
    resources: ResourceStore
    executable: None = None
    phases: Any = field(default_factory=Phases)

    @property
    def source(self) -> ModuleOp:
        """The captured module."""
        return self.module

    def text(self) -> str:
        """The same as text."""
        return print_text(self.module)

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Replay."""
        (forward,) = self.module.ops
        wanted = [DTYPES[a.type.element_type] for a in forward.body.block.args]  # pyright: ignore
        tensors = [from_numpy(np.array(a), d) for a, d in zip(inputs, wanted, strict=True)]
        return [to_numpy(r.contiguous()).copy() for r in replay(self.module, self.resources, tensors)]


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[ModuleOp]:
    """Replays instead of compiling; the list holds the modules captured so far."""
    seen: list[ModuleOp] = []

    def compile_recorded(graph: Graph, resources: ResourceStore, options: Options, inputs: object) -> ReplayedUnit:
        module = graph.module()
        seen.append(module)
        return ReplayedUnit(module, resources)

    target: Callable[..., Any] = compile_recorded
    monkeypatch.setattr(api, "compile_recorded", target)
    return seen
