"""Distances between rows."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import F16, I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import take
from mlc.lowering.torch.to_linalg.reduction import norm_over, power_norm
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.resampling import table
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise, reduce
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor
from mlc.lowering.torch.to_linalg.view import unsqueeze


def _length(c: Conversion, gaps: Tensor, order: Number) -> Tensor:
    if gaps.shape[-1] == 0:
        return c.full(gaps.shape[:-1], c.out, 0)
    return power_norm(c, gaps, order, [gaps.rank - 1], c.out, keepdim=False)


@lowers("aten.cdist", "aten._cdist_forward")
def cdist(c: Conversion, a: Tensor, b: Tensor, order: Number = 2, *_: object) -> Tensor:
    """All rows of `a` with all rows of `b`."""
    return _length(c, binary(c, "sub", unsqueeze(c, a, a.rank - 1), unsqueeze(c, b, b.rank - 2), a.dtype), order)


@lowers("aten.pdist", "aten._pdist_forward")
def pdist(c: Conversion, x: Tensor, order: Number = 2) -> Tensor:
    """All pairs of different rows."""
    rows = x.shape[0]
    if not isinstance(rows, int):
        raise c.refuse("pairs of rows whose number is known only at run time have no lowering")
    first, second = np.triu_indices(rows, 1)
    sides = [take(c, x, table(c, at.astype(np.int64), I64), 0, wraps=False) for at in (first, second)]
    return _length(c, binary(c, "sub", sides[0], sides[1], x.dtype), order)


@lowers("aten.cosine_similarity")
def cosine_similarity(c: Conversion, a: Tensor, b: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The sum of products of both sides, each divided by its length, which counts as `eps` at least."""
    t = c.out.compute
    if c.out is F16:
        eps = float(np.float16(eps))  # eager's lengths are of this type, in which the usual 1e-8 is zero
    shape = broadcast_shape(c, [a.shape, b.shape])
    if not shape:  # numbers are as rows of one element
        shape = (1,)
    d = dim % len(shape)
    sides = [elementwise(c, [x], t, lambda o, v: v, compute=t, shape=shape) for x in (a, b)]
    lengths = [norm_over(c, x, 2, [d], t, keepdim=True) for x in sides]

    def scaled(o: Body, v: SSAValue, size: SSAValue) -> SSAValue:
        return o.divf(v, o.maximum(size, o.const(eps, t), t))

    units = [elementwise(c, [x, size], t, scaled) for x, size in zip(sides, lengths, strict=True)]
    (total,) = reduce(c, units, [d], t, 0, lambda o, v, w, acc: o.add(acc, o.mul(v, w, t), t))
    return cast(c, total, c.out)
