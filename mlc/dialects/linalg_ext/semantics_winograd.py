"""Reference semantics of Winograd convolution: its own arithmetic, step by step, in whatever domain runs it.

Blocks of outputs that are not within the limit are those of the direct convolution. Only IEEE numbers have such: in
exact arithmetic both are the same."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, f32, f64
from xdsl.ir import Attribute, Operation

from mlc.dialects.linalg_ext.winograd import LIMIT, TAPS, Filtering, run_both_ways
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp, WinogradFilterTransformOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Domain, Results, Runner, semantics

_PIECE = 1 << 10  # filters at a time: small enough for the cache, and for BLAS to stay on this thread


class _Arrays:
    """Arithmetic on arrays of a domain."""

    def __init__(self, domain: Domain, t: Attribute) -> None:
        self.domain, self.t = domain, t

    def number(self, value: float) -> Any:
        return self.domain.constant(np.asarray(value, dtype=np.float64 if self.t == f64 else np.float32), self.t)

    def add(self, a: Any, b: Any) -> Any:
        return self.domain.float2("add", a, b, self.t)

    def sub(self, a: Any, b: Any) -> Any:
        return self.domain.float2("sub", a, b, self.t)

    def mul(self, factor: float, a: Any) -> Any:
        return self.domain.float2("mul", self.number(factor), a, self.t)

    def fma(self, factor: float, a: Any, b: Any) -> Any:
        return self.domain.fma(self.number(factor), a, b, self.t)


def _numerators(f: Filtering) -> np.ndarray:
    return np.array([[float(x) for x in row] for row in f.filter_rows])


def _divisors(rows: Filtering, columns: Filtering) -> np.ndarray:
    d = [np.array([float(x) for x in f.filter_divisors]) for f in (rows, columns)]
    return np.outer(d[0], d[1]).reshape(-1)


@semantics("linalg_ext.winograd_filter_transform")
def filter_transform(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradFilterTransformOp)
    rows, columns = op.filterings()
    assert isinstance(op.result.type, TensorType)
    positions, pieces, blocks, depth, lanes = op.result.type.get_shape()
    w = np.asarray(args[0])
    # taps first; then pieces, blocks, depth, lanes as the result has them
    taps = w.reshape(blocks, lanes, pieces, depth, 9).transpose(4, 2, 0, 3, 1).reshape(9, -1)
    matrix = np.kron(_numerators(rows), _numerators(columns))
    divisors = _divisors(rows, columns)
    if run.domain.name == "ieee":
        out = _rounded_once(matrix / divisors[:, None], taps)
    else:
        out = np.concatenate([_exactly(run.domain, matrix, divisors, taps), taps])
    return (out.reshape(positions, pieces, blocks, depth, lanes),)


def _rounded_once(matrix: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """`matrix` times `taps` in float64, in pieces that stay in the cache; then the taps themselves."""
    transformed = matrix.shape[0]
    out = np.empty((transformed + taps.shape[0], taps.shape[1]), dtype=np.float32)
    for start in range(0, taps.shape[1], _PIECE):
        piece = slice(start, start + _PIECE)
        out[:transformed, piece] = matrix @ taps[:, piece].astype(np.float64)
        out[transformed:, piece] = taps[:, piece]
    return out


def _exactly(domain: Domain, matrix: np.ndarray, divisors: np.ndarray, taps: Any) -> Any:
    """The same in a domain that has no matrix product of its own."""
    on = _Arrays(domain, f64)
    wide = domain.convert(taps, f32, f64)
    found = []
    for row, divisor in zip(matrix, divisors, strict=True):
        terms = [on.mul(float(c), wide[k]) for k, c in enumerate(row) if c]
        total = terms[0]
        for term in terms[1:]:
            total = on.add(total, term)
        quotient = domain.float2("div", total, on.number(float(divisor)), f64)
        # a residue has nothing to round, and there truncf would be an unknown function
        found.append(quotient if domain.name == "field" else domain.convert(quotient, f64, f32))
    return np.stack(found)


@semantics("linalg_ext.winograd_conv_2d")
def conv_2d(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradConv2DOp)
    x, u = (a.read() if isinstance(a, Buffer) else np.asarray(a) for a in args[:2])
    y = convolve(op, x, u, run.domain)
    if isinstance(args[2], Buffer):
        args[2].write(y)
        return ()
    return (y, args[3], args[4])


def convolve(op: WinogradConv2DOp, x: Any, u: Any, domain: Domain) -> Any:
    """The convolution of a blocked image with transformed filters."""
    rows, columns = op.filterings()
    images, tile_rows, tile_columns = op.grid()
    on = _Arrays(domain, f32)
    height, width = op.extents()
    tops, lefts = _starts(tile_rows, rows.tile, height), _starts(tile_columns, columns.tile, width)
    grid = [[x[:, :, tops + i][:, :, :, lefts + j] for j in range(columns.size)] for i in range(rows.size)]
    v = np.stack([a for row in run_both_ways(rows.input, columns.input, grid, on) for a in row])
    positions = op.positions()
    u, direct_filters = u[:positions], u[positions:]
    _, pieces, filters, depth, lanes = u.shape
    # position, piece, depth, image, tile row, tile column
    v = v.transpose(0, 2, 5, 1, 3, 4).reshape(positions, pieces, depth, 1, images, tile_rows, tile_columns, 1)
    total = None
    for piece in range(pieces):
        part = None
        for k in range(depth):
            factor = u[:, piece, :, k].reshape(positions, filters, 1, 1, 1, lanes)
            term = domain.float2("mul", v[:, piece, k], factor, f32)
            part = term if part is None else on.add(part, term)
        total = part if total is None else on.add(total, part)
    assert total is not None
    products = [[total[i * columns.size + j] for j in range(columns.size)] for i in range(rows.size)]
    out = run_both_ways(rows.output, columns.output, products, on)
    beyond = _beyond(op, out, domain)  # image, tile row, tile column
    direct = _directly(x, direct_filters, domain) if beyond.any() else None
    y = np.empty((images, filters, height, width, lanes), dtype=out[0][0].dtype)
    for row, column in product(range(tile_rows), range(tile_columns)):
        for i, j in product(range(rows.tile), range(columns.tile)):
            at = (slice(None), slice(None), tops[row] + i, lefts[column] + j)
            y[at] = out[i][j][:, :, row, column].transpose(1, 0, 2)
            if direct is not None:
                y[at] = np.where(beyond[:, row, column, None, None], direct[at], y[at])
    return y


def _beyond(op: WinogradConv2DOp, out: Any, domain: Domain) -> np.ndarray:
    """Which tiles are in a block with an output that is NaN or beyond the limit."""
    grid = op.grid()
    if domain.name != "ieee":
        return np.zeros(grid, bool)
    within = np.all([np.abs(a) <= LIMIT for row in out for a in row], axis=(0, 1, 5))
    by_block = [n for size, part in zip(grid, op.block.get_values(), strict=True) for n in (size // part, part)]
    blocks = within.reshape(by_block).all(axis=(1, 3, 5), keepdims=True)
    return ~np.broadcast_to(blocks, by_block).reshape(grid)


def _directly(x: Any, f: Any, domain: Domain) -> Any:
    """The direct convolution of a blocked image with filters that are laid out as transformed ones are."""
    _, pieces, filters, depth, lanes = f.shape
    images, _, height, width, in_lanes = x.shape
    height, width = height - TAPS + 1, width - TAPS + 1
    total: Any = np.float32(0)
    for channel, i, j in product(range(pieces * depth), range(TAPS), range(TAPS)):
        pixels = x[:, channel // in_lanes, i : i + height, j : j + width, channel % in_lanes]
        taps = f[TAPS * i + j, channel // depth, :, channel % depth]
        term = domain.float2("mul", pixels[:, None, :, :, None], taps[:, None, None], f32)
        total = domain.float2("add", total, term, f32)
    return total


def _starts(tiles: int, tile: int, extent: int) -> np.ndarray:
    """First row or column of each tile; the last one stays within the extent."""
    return np.minimum(np.arange(tiles) * tile, extent - tile)
