"""Scaled dot product attention as two batch products around a softmax, heads merged into one batch dimension."""

from __future__ import annotations

import math as pymath

from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import BOOL
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.matmul import matmul
from mlc.lowering.torch.to_linalg.normalization import softmax_of, without_masked_rows
from mlc.lowering.torch.to_linalg.reduction import as_number, body_number
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.view import repeat_interleave, transpose


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
    if gqa:
        key, value = (_repeated_heads(c, x, query) for x in (key, value))
    scores = matmul(c, query, transpose(c, key, -2, -1))
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
    return cast(c, matmul(c, weights, value), stored)


def _repeated_heads(c: Conversion, x: Tensor, query: Tensor) -> Tensor:
    """Key or value heads repeated to the number of query heads."""
    times = c.dims.exact_quotient(query.shape[-3], x.shape[-3])
    if not isinstance(times, int):
        raise c.refuse("grouped heads need a number of heads known while compiling")
    return x if times == 1 else repeat_interleave(c, x, times, -3)
