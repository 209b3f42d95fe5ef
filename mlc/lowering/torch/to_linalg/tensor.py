"""A torch tensor while its function is converted: a builtin tensor value plus a view of it that costs nothing yet.

`axes[d]` is the axis of `value` that logical dimension `d` reads: consecutive dimensions with the same axis are a
split of it (row-major), and `None` is a dimension of size one or one stretched over the value.

    value 128x768, shape (1, 128, 12, 64), axes (0, 0, 1, 1)      view of a linear layer's result
    value 64,      shape (1, 64, 56, 56),  axes (None, 0, None, None)   bias, expanded
    value 3x4,     shape (4, 3),           axes (1, 0)            transpose

Ops that compute read through the view where that is free, and materialise it (`Emitter.realize`) where it is not, so
chains of views leave no ops behind and elementwise ops run in the shape of the matrix multiplication before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import DType

Axes = tuple[int | None, ...]
Number = bool | int | float


@dataclass(frozen=True, eq=False)
class Tensor:
    """See the module's docstring. `value_shape` are the sizes of `value`; `splat`: all elements are this number."""

    value: SSAValue
    dtype: DType
    shape: tuple[Dim, ...]
    axes: Axes
    value_shape: tuple[Dim, ...]
    splat: Number | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_plain(self) -> bool:
        """Whether `value` is the tensor as it stands."""
        return self.axes == tuple(range(len(self.value_shape)))

    def dim(self, d: int) -> int:
        """`d`, counted from the end when negative."""
        return d + self.rank if d < 0 else d


def plain(value: SSAValue, dtype: DType, shape: tuple[Dim, ...]) -> Tensor:
    """`value` as it stands."""
    return Tensor(value, dtype, shape, tuple(range(len(shape))), shape)


@dataclass(frozen=True, eq=False)
class Scalar:
    """A `!torch.int/float/bool` known only at run time; ints are of index type."""

    value: SSAValue
    dtype: DType
