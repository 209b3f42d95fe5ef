"""A torch tensor while its function is converted: a builtin tensor value plus a view of it that costs nothing yet.

`axes[d]` is the axis of `value` that logical dimension `d` reads: consecutive dimensions with the same axis are a
split of it (row-major), and `None` is a dimension of size one or one stretched over the value.

    value 128x768, shape (1, 128, 12, 64), axes (0, 0, 1, 1)      view of a linear layer's result
    value 64,      shape (1, 64, 56, 56),  axes (None, 0, None, None)   bias, expanded
    value 3x4,     shape (4, 3),           axes (1, 0)            transpose

Ops that compute read through the view where that is free, and materialise it (`Emitter.realize`) where it is not, so
chains of views leave no ops behind and elementwise ops run in the shape of the matrix multiplication before them.

Elementwise ops on constants are put off (`recipe`) until a value is needed, so that a chain of them is one op.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import DType

if TYPE_CHECKING:
    from mlc.lowering.torch.to_linalg.structured import Recipe

Axes = tuple[int | None, ...]
Number = bool | int | float


class Tensor:
    """See the module's docstring. `value_shape` are the sizes of `value`; `splat`: all elements are this number.

    `value` may be given as a function that builds it: it is called when the value is first asked for.
    """

    __slots__ = ("_value", "axes", "dtype", "recipe", "shape", "splat", "value_shape")

    def __init__(
        self,
        value: SSAValue | Callable[[], SSAValue],
        dtype: DType,
        shape: tuple[Dim, ...],
        axes: Axes,
        value_shape: tuple[Dim, ...],
        splat: Number | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        self._value = value
        self.dtype = dtype
        self.shape = shape
        self.axes = axes
        self.value_shape = value_shape
        self.splat = splat
        self.recipe = recipe

    @property
    def value(self) -> SSAValue:
        """The builtin tensor that holds the elements."""
        if not isinstance(self._value, SSAValue):
            self._value = self._value()
            self.recipe = None
        return self._value

    def with_view(self, shape: tuple[Dim, ...], axes: Axes) -> Tensor:
        """The same value read in another way."""
        return Tensor(self.value, self.dtype, shape, axes, self.value_shape, self.splat)

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
