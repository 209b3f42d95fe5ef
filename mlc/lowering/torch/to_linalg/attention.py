"""Scaled dot product attention as two batch products around a softmax, heads merged into one batch dimension."""

from __future__ import annotations

import math as pymath

from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F32
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.matmul import matmul
from mlc.lowering.torch.to_linalg.normalization import softmax_of, without_masked_rows
from mlc.lowering.torch.to_linalg.reduction import as_number, body_number
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.view import repeat_interleave, stretched, transpose

LONG, LONG_CAUSAL = 256, 96
"""Rows and keys from which on attention stays one op (the root of their product): as fast as products and a softmax, or
faster, as half of a causal one is left out."""


@lowers("aten.scaled_dot_product_attention")
def scaled_dot_product_attention(
    c: Conversion,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
    gqa: bool = False,
) -> Tensor:
    if dropout:
        raise c.refuse("dropout draws random numbers", hint="call model.eval() first")
    stored = query.dtype
    t = stored.compute
    query, key, value = (cast(c, x, t) for x in (query, key, value))
    shared = _rows_of_one_head(c, query, key, value) if gqa else None
    if gqa and shared is None:
        key, value = (_repeated_heads(c, x, query) for x in (key, value))
    if (whole := _whole(c, query, key, value, mask, scale, causal=causal)) is not None:
        return cast(c, whole, stored)
    scores = matmul(c, query if shared is None else shared, transpose(c, key, -2, -1))
    if shared is not None:
        scores = c.viewed(scores, (*query.shape[:-1], key.shape[-2]))
    width = query.shape[-1]
    factor = scale if scale is not None else 1.0 / pymath.sqrt(width) if isinstance(width, int) else None
    n = None if factor is not None else as_number(c, width, t)

    def scaled(b: Body, v: SSAValue) -> SSAValue:
        if factor is not None:
            return v if factor == 1 else b.mul(v, b.const(factor, t), t)
        assert n is not None
        return b.divf(v, b.op(math.SqrtOp, body_number(b, n, t)))

    low = -pymath.inf
    if causal:
        rows, columns = scores.shape[-2:]
        visible = indexed(c, (rows, columns), BOOL, lambda b, at: b.index_compare("le", at[1], at[0]))
        mask = visible
    if mask is None:
        scores = elementwise(c, [scores], t, scaled) if factor != 1 else scores
    elif mask.dtype == BOOL:
        scores = elementwise(c, [scores, mask], t, lambda b, v, m: b.select(m, scaled(b, v), b.const(low, t)), own=(1,))
    else:
        scores = elementwise(c, [scores, mask], t, lambda b, v, m: b.add(scaled(b, v), m, t))
    weights = softmax_of(c, scores, scores.rank - 1, t)
    if mask is not None and not causal:
        weights = without_masked_rows(c, scores, weights, scores.rank - 1)
    if shared is not None:
        weights = c.viewed(weights, (*shared.shape[:-1], key.shape[-2]))
    return cast(c, c.viewed(matmul(c, weights, value), (*query.shape[:-1], value.shape[-1])), stored)


def _rows_of_one_head(c: Conversion, query: Tensor, key: Tensor, value: Tensor) -> Tensor | None:
    """Queries of a single row each, those that share a head of keys and values as rows side by side, so that nothing is
    repeated; None for other queries."""
    if query.rank != key.rank or query.shape[-2] != 1:
        return None
    times = c.dims.exact_quotient(query.shape[-3], key.shape[-3])
    alike = (*zip(query.shape[:-3], key.shape, strict=False), *zip(key.shape[:-2], value.shape, strict=False))
    if not isinstance(times, int) or not all(c.dims.same(a, b) for a, b in alike):
        return None
    return c.viewed(query, (*key.shape[:-2], times, query.shape[-1]))


def _whole(
    c: Conversion, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None, *, causal: bool
) -> Tensor | None:
    """As one op, where sequences are so long that scores of all rows would leave the caches."""
    shapes = [[n for n in x.shape if isinstance(n, int)] for x in (query, key, value)]
    if query.dtype is not F32 or [len(shape) for shape in shapes] != [query.rank, key.rank, value.rank]:
        return None
    (*heads, rows, width), (*key_heads, keys, _), (*value_heads, _, columns) = shapes
    least = LONG_CAUSAL if causal else LONG
    if not heads == key_heads == value_heads or rows * keys < least * least or (causal and rows != keys):
        return None
    inputs = [c.realize(x, _groups(len(heads))) for x in (query, key, value)]
    if mask is not None:
        if mask.rank > len(heads) + 2 or not all(isinstance(n, int) for n in mask.shape):
            return None
        inputs.append(_mask_of(c, mask, (*heads, rows, keys)))
    shape = (pymath.prod(heads), rows, columns)
    factor = 1.0 / pymath.sqrt(width) if scale is None else scale
    made = c.op(AttentionOp, inputs, c.empty(shape, F32), factor, causal=causal)
    return c.viewed(Tensor(made, F32, shape, (0, 1, 2), shape), (*heads, rows, columns))


def _mask_of(c: Conversion, mask: Tensor, shape: tuple[int, ...]) -> SSAValue:
    """A mask as groups of heads, rows or one for all, keys."""
    mask = cast(c, mask, mask.dtype if mask.dtype is BOOL else F32)
    extra = len(shape) - mask.rank
    own = tuple(1 if axis is None else n for axis, n in zip(mask.axes, mask.shape, strict=True))
    mask = mask.with_view((1,) * extra + own, (None,) * extra + mask.axes)
    *lead, rows, _ = mask.shape
    while lead and lead[-1] == 1:
        lead.pop()
    whole = (*shape[: len(lead)], *[1] * (len(shape) - 2 - len(lead)), rows, shape[-1])
    return c.realize(stretched(c, mask, whole), _groups(len(shape) - 2))


def _groups(heads: int) -> tuple[tuple[int, ...], ...]:
    """Dimensions of heads as one, then rows, then columns."""
    return tuple(range(heads)), (heads,), (heads + 1,)


def _repeated_heads(c: Conversion, x: Tensor, query: Tensor) -> Tensor:
    """Key or value heads repeated to the number of query heads."""
    times = c.dims.exact_quotient(query.shape[-3], x.shape[-3])
    if not isinstance(times, int):
        raise c.refuse("grouped heads need a number of heads known while compiling")
    return x if times == 1 else repeat_interleave(c, x, times, -3)
