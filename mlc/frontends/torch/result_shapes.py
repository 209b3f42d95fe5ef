"""Shapes of results without computing them, for the plain calls that nearly all arithmetic of models is in.

conv2d(f32[1,3,224,224], f32[64,3,7,7], stride 2, padding 3)   -->   f32[1,64,112,112], row by row

Plain are calls that eager never refuses, whose results it lays out row by row: of float32 tensors with elements, which
lie row by row themselves (the factors of `mm` and its like any way). Of all others this says nothing.
Tests: tests/frontends/test_result_shapes.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mlc.frontends.torch.emit import op_name

Shape = tuple[int, ...]


def result_shape(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Shape | None:
    """The shape of the only result, which is float32 and lies row by row; None where this does not say."""
    rule = _RULES.get(op_name(func))
    return None if rule is None or kwargs else rule(*args)


def row_by_row(shape: Sequence[int]) -> Shape:
    """Strides of a tensor of this shape."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Shape | None:
    if x.dim() != 4 or weight.dim() != 4 or not _are_plain(x, weight, bias):
        return None
    count, channels, *sizes = x.shape
    made, taken, *window = weight.shape
    steps = [_both(v) for v in (stride, padding, dilation)]
    if any(min(s) < low for s, low in zip(steps, (1, 0, 1), strict=True)) or groups < 1:
        return None
    if taken * groups != channels or made % groups or not _is_vector(bias, made):
        return None
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(sizes, window, *steps, strict=True)]
    return (count, made, *out) if min(out) > 0 else None


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Shape | None:
    fits = x.dim() > 1 and weight.dim() == 2 and x.shape[-1] == weight.shape[1] and _is_vector(bias, weight.shape[0])
    return (*x.shape[:-1], weight.shape[0]) if fits and _are_plain(x, weight, bias) else None


def _mm(a: torch.Tensor, b: torch.Tensor) -> Shape | None:
    fits = a.dim() == b.dim() == 2 and a.shape[1] == b.shape[0]
    return (a.shape[0], b.shape[1]) if fits and _are_floats(a, b) else None


def _addmm(bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> Shape | None:
    found = _mm(a, b)
    return found if found is not None and _are_floats(bias) and bias.shape in (found, found[1:]) else None


def _bmm(a: torch.Tensor, b: torch.Tensor) -> Shape | None:
    fits = a.dim() == b.dim() == 3 and a.shape[0] == b.shape[0] and a.shape[2] == b.shape[1]
    return (*a.shape[:2], b.shape[2]) if fits and _are_floats(a, b) else None


def _batch_norm(x: torch.Tensor, *rest: Any) -> Shape | None:
    vectors, training = rest[:4], rest[4]
    given = not training and vectors[2] is not None and vectors[3] is not None
    fits = given and x.dim() > 1 and all(_is_vector(v, x.shape[1]) for v in vectors)
    return tuple(x.shape) if fits and _are_plain(x, *vectors) else None


def _cat(given: Sequence[torch.Tensor], dim: int = 0) -> Shape | None:
    first, *others = given
    rank = first.dim()
    if not -rank <= dim < rank or any(t.dim() != rank for t in others) or not _are_plain(*given):
        return None
    shapes = [list(t.shape) for t in given]
    total = sum(s.pop(dim) for s in shapes)
    if any(s != shapes[0] for s in shapes):
        return None
    shapes[0].insert(dim % rank, total)
    return tuple(shapes[0])


def _elementwise(x: torch.Tensor) -> Shape | None:
    return tuple(x.shape) if _are_plain(x) else None


def _both(value: Sequence[int]) -> Sequence[int]:
    return [*value] * 2 if len(value) == 1 else value


def _is_vector(tensor: torch.Tensor | None, size: int) -> bool:
    return tensor is None or tensor.shape == (size,)


def _are_floats(*tensors: torch.Tensor | None) -> bool:
    return all(t is None or (t.dtype is torch.float32 and t.numel()) for t in tensors)


def _are_plain(*tensors: torch.Tensor | None) -> bool:
    return _are_floats(*tensors) and all(t is None or t.stride() == row_by_row(t.shape) for t in tensors)


_RULES: dict[str, Callable[..., Shape | None]] = {
    "aten.conv2d": _conv2d,
    "aten.linear": _linear,
    "aten.mm": _mm,
    "aten.addmm": _addmm,
    "aten.bmm": _bmm,
    "aten.batch_norm": _batch_norm,
    "aten.cat": _cat,
    **{f"aten.{name}": _elementwise for name in ("relu", "sigmoid", "tanh", "silu")},
}
