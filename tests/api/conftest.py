"""Fixtures of the face's tests: native code kept in one cache, or no native code at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc import driver
from mlc.frontends.torch.arrays import ELEMENT_TYPES, from_numpy, to_numpy
from mlc.ir.context import MlcContext
from mlc.options import Options
from tests.frontends.replay import replay


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disk cache for all native tests."""
    return tmp_path_factory.mktemp("cache")


@dataclass
class ReplayedUnit:
    """Stands for `driver.Compiled`: runs the captured module with PyTorch's ops."""

    module: ModuleOp
    ctx: MlcContext
    executable: None = None
    phases: Any = field(default_factory=driver.Phases)

    @property
    def source(self) -> ModuleOp:
        """The captured module."""
        return self.module

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Replay."""
        (forward,) = self.module.ops
        dtypes = {element: dtype for dtype, element in ELEMENT_TYPES.items()}
        wanted = [dtypes[a.type.element_type] for a in forward.body.block.args]  # pyright: ignore
        tensors = [from_numpy(np.array(a), d) for a, d in zip(inputs, wanted, strict=True)]
        return [to_numpy(r.contiguous()).copy() for r in replay(self.module, self.ctx.resources, tensors)]


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[ModuleOp]:
    """Replays instead of compiling; the list holds the modules captured so far."""
    seen: list[ModuleOp] = []

    def compile_module(module: ModuleOp, ctx: MlcContext, options: Options, inputs: object) -> ReplayedUnit:
        seen.append(module)
        return ReplayedUnit(module, ctx)

    target: Callable[..., Any] = compile_module
    monkeypatch.setattr(driver, "compile_module", target)
    return seen
