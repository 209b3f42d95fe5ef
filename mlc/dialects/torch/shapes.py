"""Arithmetic on sizes that may be unknown (None), shared by the inference rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from xdsl.ir import Attribute

from mlc.dialects.torch.promotion import CannotInfer
from mlc.dialects.torch.types import BaseTensorType, VTensorType
from mlc.errors import ShapeError

Size = int | None


def dims(t: Any) -> tuple[Size, ...]:
    """The sizes of a tensor type; CannotInfer when the rank is unknown."""
    if not isinstance(t, BaseTensorType) or t.shape is None:
        raise CannotInfer("rank unknown")
    return t.shape


def tensor(shape: Iterable[Size], dtype: Attribute | None) -> VTensorType:
    """A value tensor type."""
    return VTensorType.get(tuple(shape), dtype)


def like(t: BaseTensorType, shape: Iterable[Size] | None = None, dtype: Attribute | None = None) -> VTensorType:
    """The type `t` with other sizes or another dtype."""
    return VTensorType.get(t.shape if shape is None else tuple(shape), dtype or t.element_type)


def known(value: Any) -> Any:
    """A scalar argument that the rule needs; CannotInfer when it is not constant."""
    if type(value).__name__ == "Unknown":
        raise CannotInfer("argument not constant")
    return value


def size_of(value: Any) -> Size:
    """A size argument: None when it is not constant."""
    return value if isinstance(value, int) else None


def sizes_of(values: Any) -> tuple[Size, ...]:
    """A list of sizes; CannotInfer when not even its length is known."""
    if isinstance(values, int):
        return (values,)
    if not isinstance(values, list | tuple):
        raise CannotInfer("list of unknown length")
    return tuple(size_of(v) for v in values)


def wrap_dim(dim: Any, rank: int) -> int:
    """A dimension argument as a number from 0; a scalar counts as one-dimensional."""
    index = known(dim)
    bound = max(rank, 1)
    if not -bound <= index < bound:
        raise ShapeError(f"dimension {index} of a tensor of rank {rank}", expected=f"{-bound} to {bound - 1}")
    return index % bound


def broadcast2(a: Sequence[Size], b: Sequence[Size]) -> tuple[Size, ...]:
    """Shape of an elementwise op on shapes `a` and `b`."""
    rank = max(len(a), len(b))
    padded_a = (1,) * (rank - len(a)) + tuple(a)
    padded_b = (1,) * (rank - len(b)) + tuple(b)
    return tuple(_broadcast_size(x, y) for x, y in zip(padded_a, padded_b, strict=True))


def _broadcast_size(x: Size, y: Size) -> Size:
    if x == y or y == 1:
        return x
    if x == 1:
        return y
    if x is None:
        return y
    if y is None:
        return x
    raise ShapeError(f"sizes {x} and {y} of broadcast operands do not match")


def broadcast(*operands: Any) -> tuple[Size, ...]:
    """Common shape of tensor types; numbers and None do not count."""
    shape: tuple[Size, ...] = ()
    for operand in operands:
        if isinstance(operand, BaseTensorType):
            shape = broadcast2(shape, dims(operand))
    return shape


def product(sizes: Iterable[Size]) -> Size:
    """Product of sizes; 0 wins over unknown."""
    collected = list(sizes)
    if 0 in collected:
        return 0
    return None if None in collected else math.prod(s for s in collected if s is not None)


def add(*sizes: Size) -> Size:
    """Sum of sizes."""
    return None if None in sizes else sum(s for s in sizes if s is not None)


def floor_div(a: Size, b: int) -> Size:
    """`a // b`."""
    return None if a is None else a // b


def spread(values: Any, count: int) -> list[int]:
    """A list argument of one number or `count` of them, as `count` numbers."""
    items = [known(v) for v in (values if isinstance(values, list | tuple) else [values])]
    return items * count if len(items) == 1 else items


def window(size: Size, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> Size:
    """Number of windows along a dimension (convolution, pooling)."""
    if min(stride, dilation) < 1 or kernel < 0:
        raise ShapeError(f"windows of {kernel}, {stride} apart, dilated by {dilation}", expected="positive numbers")
    if size is None:
        return None
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    out = -(-span // stride) + 1
    return out - 1 if (out - 1) * stride >= size + padding else out


def reduced(shape: Sequence[Size], axes: Sequence[int], keepdim: bool) -> tuple[Size, ...]:
    """Shape after reducing `axes`."""
    if keepdim:
        return tuple(1 if i in axes else s for i, s in enumerate(shape))
    return tuple(s for i, s in enumerate(shape) if i not in axes)


def slice_size(size: Size, start: Any, end: Any, step: Any) -> Size:
    """Length of `start:end:step` of a dimension, as PyTorch clamps it."""
    if size is None or not all(v is None or isinstance(v, int) for v in (start, end, step)):
        return None
    return len(range(*slice(start, end, step).indices(size)))
