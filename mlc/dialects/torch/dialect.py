"""The torch dialect as xDSL sees it: hand-written ops at once, ATen ops when they are first met."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Dialect, Operation

from mlc.dialects.aten_schema import schema_names
from mlc.dialects.torch import constants, control_flow, prim, tensor_ops
from mlc.dialects.torch.aten import find_aten_op
from mlc.dialects.torch.types import TYPES


class TorchDialect(Dialect):
    """`operations` are the hand-written ones; `find` also makes those of ATen's schemas."""

    def find(self, name: str) -> type[Operation] | None:
        """Class of `torch.aten.relu`, made when there is a schema of that name; called by `MlcContext`."""
        for op in self._operations:
            if op.name == name:
                return op
        return find_aten_op(name) if name.startswith("torch.") else None

    def op_names(self) -> Iterator[str]:
        """Names of all ops, whether made yet or not."""
        yield from sorted({op.name for op in self._operations} | {f"torch.{name}" for name in schema_names()})


TORCH = TorchDialect("torch", [*constants.OPS, *prim.OPS, *control_flow.OPS, *tensor_ops.OPS], list(TYPES))
