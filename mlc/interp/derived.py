"""Derived constants while interpreting: `dense_resource<const.x>` is what the module's own `@const.x` returns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from mlc.ir.resources import ResourceStore


class DerivedResources(ResourceStore):
    """A view of `base` in which functions marked `constant` fill in what the weights lack, when first asked."""

    def __init__(
        self, module: ModuleOp, base: ResourceStore | None, evaluate: Callable[[str, ResourceStore], np.ndarray]
    ) -> None:
        super().__init__()
        self._base = base if base is not None else ResourceStore()
        self._evaluate = evaluate
        self._functions = {
            op.sym_name.data for op in module.ops if isinstance(op, FuncOp) and "constant" in op.attributes
        }

    def __contains__(self, name: str) -> bool:
        return name in self._base or name in self._functions or super().__contains__(name)

    def get(self, name: str) -> np.ndarray:
        """The weight, or the result of the function of that name."""
        if name in self._base:
            return self._base.get(name)
        if name in self._functions and not super().__contains__(name):
            self.set(name, self._evaluate(name, self))
        return super().get(name) if super().__contains__(name) else self._base.get(name)
