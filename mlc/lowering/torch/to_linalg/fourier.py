"""Discrete Fourier transforms: products with matrices of cosines and sines.

    %z = torch.aten._fft_r2c %x, [1], 0, true   -->   linalg.matmul %x, cos     linalg.matmul %x, -sin

Quadratic in the length, at the speed of a matrix product: right for windows of audio and short sequences.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.complex_numbers import Complex, complex_lowers
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.matmul import product
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.resampling import table
from mlc.lowering.torch.to_linalg.tensor import Tensor

Wave = Callable[[np.ndarray], np.ndarray]


def _length(c: Conversion, n: Dim) -> int:
    if not isinstance(n, int):
        raise c.refuse("a Fourier transform along a dimension of dynamic size has no lowering")
    return n


def _waves(c: Conversion, rows: int, columns: int, n: int, scale: float, t: DType, wave: Wave) -> Tensor:
    """scale * wave(2 pi row column / n), read from one turn of the wave."""
    turn = 2 * np.pi * np.arange(n) / n
    values = wave(turn)
    values[np.abs(values) < 1e-15] = 0.0  # not quite zero at a quarter or half a turn, which would decide a phase
    lookup = table(c, scale * values + 0.0, t)  # no negative zeros
    whole = lookup.value

    def fn(b: Body, at: list[SSAValue]) -> SSAValue:
        steps = b.mul(b.from_index(at[0], I64), b.from_index(at[1], I64), I64)
        return b.extract(whole, [b.to_index(b.op(arith.RemSIOp, steps, b.const(n, I64)))])

    with c.at_head():
        made = indexed(c, (rows, columns), t, fn)
    c.constants.add(made.value)
    return made


def _scale(norm: int, n: int) -> float:
    return (1.0, 1 / pymath.sqrt(n), 1 / n)[norm]


def _last(c: Conversion, x: Tensor, d: int) -> Tensor:
    """Dimension `d` at the end (and back: the move undoes itself)."""
    order = list(range(x.rank))
    order[d], order[-1] = order[-1], order[d]
    return c.permuted(x, order)


def _rows(c: Conversion, x: Tensor, matrix: Tensor) -> Tensor:
    """x @ matrix over the last dimension."""
    if x.rank == 1:
        return c.viewed(product(c, c.viewed(x, (1, *x.shape)), matrix), (matrix.shape[-1],))
    return product(c, x, matrix)


def _along(c: Conversion, x: Complex, d: int, norm: int, forward: bool) -> Complex:
    """The transform along one dimension."""
    n, t = _length(c, x.re.shape[d]), x.dtype
    scale = _scale(norm, n)
    cos = _waves(c, n, n, n, scale, t, np.cos)
    sin = _waves(c, n, n, n, -scale if forward else scale, t, np.sin)
    re, im = _last(c, x.re, d), _last(c, x.im, d)
    new_re = binary(c, "sub", _rows(c, re, cos), _rows(c, im, sin))
    new_im = binary(c, "add", _rows(c, re, sin), _rows(c, im, cos))
    return Complex(_last(c, new_re, d), _last(c, new_im, d))


@complex_lowers("aten._fft_c2c")
def fft_c2c(c: Conversion, x: Complex, dims: Sequence[int], norm: int, forward: bool) -> Complex:
    for d in dims:
        x = _along(c, x, x.re.dim(d), norm, forward)
    return x


@complex_lowers("aten._fft_r2c")
def fft_r2c(c: Conversion, x: Tensor, dims: Sequence[int], norm: int, onesided: bool) -> Complex:
    """Real input: one product for each part along the last dimension, whose second half mirrors the first."""
    *others, last = [x.dim(d) for d in dims]
    n, t = _length(c, x.shape[last]), x.dtype
    scale, columns = _scale(norm, n), n // 2 + 1 if onesided else n
    source = _last(c, x, last)
    re = _rows(c, source, _waves(c, n, columns, n, scale, t, np.cos))
    im = _rows(c, source, _waves(c, n, columns, n, -scale, t, np.sin))
    return fft_c2c(c, Complex(_last(c, re, last), _last(c, im, last)), others, norm, True)


@complex_lowers("aten._fft_c2r")
def fft_c2r(c: Conversion, x: Complex, dims: Sequence[int], norm: int, size: int) -> Tensor:
    """Real output from the first half of a spectrum: what is not at its ends counts twice."""
    *others, last = [x.re.dim(d) for d in dims]
    n, t = c.static_int(size, "the size of a Fourier transform"), x.dtype
    x = fft_c2c(c, x, others, norm, False)
    half, scale = n // 2 + 1, _scale(norm, n)

    def doubled(part: Tensor) -> Tensor:
        source = _last(c, part, last)

        def fn(b: Body, at: list[SSAValue], v: SSAValue) -> SSAValue:
            k = at[-1]
            end = b.index_compare("eq", k, b.index(0))
            if n % 2 == 0:
                end = b.logical_or(end, b.index_compare("eq", k, b.index(n // 2)))
            return b.select(end, v, b.add(v, v, t))

        return indexed(c, source.shape, t, fn, [source])

    re = _rows(c, doubled(x.re), _waves(c, half, n, n, scale, t, np.cos))
    im = _rows(c, doubled(x.im), _waves(c, half, n, n, scale, t, np.sin))
    return _last(c, binary(c, "sub", re, im), last)
