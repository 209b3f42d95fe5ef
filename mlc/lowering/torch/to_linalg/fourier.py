"""Discrete Fourier transforms: products with matrices of cosines and sines.

    %z = torch.aten._fft_r2c %x, [1], 0, true   -->   linalg.matmul %x, cos     linalg.matmul %x, -sin

Lengths that have two factors, from 64 on, in two steps of short transforms (Cooley and Tukey): element j1 b + j2 meets
frequency k1 + a k2 in

    y[j2, k1] = sum over j1 of x[j1, j2] w^(j1 k1 b)      z = y w^(j2 k1)      sum over j2 of z[k1, j2] w^(j2 k2 a)

Others are quadratic in the length, at the speed of a matrix product.
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
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.view import sliced

LEAST, LEAST_FACTOR = 64, 4
"""Shorter transforms, and those with a shorter first step, are one product."""

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


def _factor(n: int) -> int:
    """The largest factor of `n` up to its root; 1 where one product takes less time."""
    factor = max(a for a in range(1, pymath.isqrt(n) + 1) if n % a == 0)
    return factor if n >= LEAST and factor >= LEAST_FACTOR else 1


def _transform(c: Conversion, x: Complex | Tensor, columns: int, scale: float, *, forward: bool) -> Complex:
    """The first `columns` frequencies along the last dimension."""
    parts = x if isinstance(x, Complex) else Complex(x, x)
    t, (*lead, size) = parts.re.dtype, parts.re.shape
    n, real, turn = _length(c, size), isinstance(x, Tensor), -1.0 if forward else 1.0

    def times(z: Complex, rows: int, width: int, turns: int, factor: float, *, real: bool = False) -> Complex:
        """z @ (cos + i sin), the imaginary part of `z` being nothing where it is real."""
        cos, sin = (_waves(c, rows, width, turns, k, t, w) for k, w in ((factor, np.cos), (turn * factor, np.sin)))
        re, im = _rows(c, z.re, cos), _rows(c, z.re, sin)
        if real:
            return Complex(re, im)
        return Complex(binary(c, "sub", re, _rows(c, z.im, sin)), binary(c, "add", im, _rows(c, z.im, cos)))

    a = _factor(n)
    if a == 1:
        return times(parts, n, columns, n, scale, real=real)
    b, last = n // a, -(-columns // a)

    def turned(part: Tensor, *sizes: int) -> Tensor:
        """The last two dimensions, of these sizes, as (…, second, first)."""
        split = c.viewed(part, (*lead, *sizes))
        return c.permuted(split, (*range(len(lead)), len(lead) + 1, len(lead)))

    steps = times(Complex(turned(parts.re, a, b), turned(parts.im, a, b)), a, a, a, 1.0, real=real)
    moved = [turned(part, b, a) for part in (steps.re, steps.im)]
    cos, sin = _waves(c, a, b, n, 1.0, t, np.cos), _waves(c, a, b, n, turn, t, np.sin)
    between = Complex(
        elementwise(c, [*moved, cos, sin], t, lambda o, p, q, u, v: o.sub(o.mul(p, u, t), o.mul(q, v, t), t)),
        elementwise(c, [*moved, cos, sin], t, lambda o, p, q, u, v: o.add(o.mul(p, v, t), o.mul(q, u, t), t)),
    )
    found = times(between, b, last, b, scale)

    def joined(part: Tensor) -> Tensor:
        whole = c.viewed(turned(part, a, last), (*lead, last * a))
        return sliced(c, whole, len(lead), 0, columns)

    return Complex(joined(found.re), joined(found.im))


def _along(c: Conversion, x: Complex, d: int, norm: int, forward: bool) -> Complex:
    """The transform along one dimension."""
    n = _length(c, x.re.shape[d])
    last = Complex(_last(c, x.re, d), _last(c, x.im, d))
    made = _transform(c, last, n, _scale(norm, n), forward=forward)
    return Complex(_last(c, made.re, d), _last(c, made.im, d))


@complex_lowers("aten._fft_c2c")
def fft_c2c(c: Conversion, x: Complex, dims: Sequence[int], norm: int, forward: bool) -> Complex:
    for d in dims:
        x = _along(c, x, x.re.dim(d), norm, forward)
    return x


@complex_lowers("aten._fft_r2c")
def fft_r2c(c: Conversion, x: Tensor, dims: Sequence[int], norm: int, onesided: bool) -> Complex:
    """Real input along the last dimension, whose second half mirrors the first."""
    *others, last = [x.dim(d) for d in dims]
    n = _length(c, x.shape[last])
    made = _transform(c, _last(c, x, last), n // 2 + 1 if onesided else n, _scale(norm, n), forward=True)
    return fft_c2c(c, Complex(_last(c, made.re, last), _last(c, made.im, last)), others, norm, True)


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
