"""Reference semantics of Winograd convolution: its own arithmetic, step by step, in whatever domain runs it.

Blocks of outputs that are not within the limit are those of the direct convolution. Only IEEE numbers have such: in
exact arithmetic both are the same."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Operation

from mlc.arrays.winograd import LIMIT, TAPS, Filtering, run_both_ways
from mlc.arrays.winograd_filters import transform_filters
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp, WinogradFilterTransformOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Domain, Results, Runner, Step, semantics


class _Arrays:
    """Arithmetic on arrays of a domain."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def number(self, value: float) -> Any:
        return self.domain.constant(np.asarray(value, dtype=np.float32), f32)

    def add(self, a: Any, b: Any) -> Any:
        return self.domain.float2("add", a, b, f32)

    def sub(self, a: Any, b: Any) -> Any:
        return self.domain.float2("sub", a, b, f32)

    def mul(self, factor: float, a: Any) -> Any:
        return self.domain.float2("mul", self.number(factor), a, f32)

    def fma(self, factor: float, a: Any, b: Any) -> Any:
        return self.domain.fma(self.number(factor), a, b, f32)


def _transform_step(op: Operation) -> Step:
    assert isinstance(op, WinogradFilterTransformOp) and isinstance(op.result.type, TensorType)
    rows, columns = op.filterings()
    return Step("transform_filters", (rows.tile, columns.tile, op.result.type.get_shape()[0]), (op.filter,))


@semantics("linalg_ext.winograd_filter_transform", step=_transform_step)
def filter_transform(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradFilterTransformOp) and isinstance(op.result.type, TensorType)
    pieces = op.result.type.get_shape()[0]
    w = np.asarray(args[0])
    rows, columns = op.filterings()
    if run.domain.name != "ieee":
        factor = _one_by_scale(rows, columns, run.domain)
        return (run.domain.float2("mul", factor, _transformed(w, rows, columns, pieces, run.domain), f32),)
    return (transform_filters(rows.tile, columns.tile, pieces, w),)


def _one_by_scale(rows: Filtering, columns: Filtering, domain: Domain) -> Any:
    on = _Arrays(domain)
    factor = on.number(1.0)
    for f in (rows, columns):
        factor = domain.float2("div", factor, on.number(float(f.scale)), f32)
    return factor


def _transformed(w: Any, rows: Filtering, columns: Filtering, pieces: int, domain: Domain) -> Any:
    """The transformed filters: piece, position, filter block, channel of the piece, lane."""
    taps = [[w[:, :, i, j] for j in range(TAPS)] for i in range(TAPS)]
    u = np.stack([a for row in run_both_ways(rows.filter, columns.filter, taps, _Arrays(domain)) for a in row])
    positions, filters, channels, in_lanes, lanes = u.shape
    u = u.transpose(2, 3, 0, 1, 4).reshape(pieces, channels * in_lanes // pieces, positions, filters, lanes)
    return u.transpose(0, 2, 3, 1, 4)


@semantics("linalg_ext.winograd_conv_2d")
def conv_2d(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradConv2DOp)
    x, w, u = (a.read() if isinstance(a, Buffer) else np.asarray(a) for a in (*args[:2], args[5]))
    if not op.transformed:
        u = _transformed(w, *op.filterings(), op.pieces(), run.domain)
    y = convolve(op, x, w, u, run.domain)
    if isinstance(args[2], Buffer):
        args[2].write(y)
        return ()
    return (y, *args[3 : 2 + len(op.res)])


def convolve(op: WinogradConv2DOp, x: Any, w: Any, u: Any, domain: Domain) -> Any:
    """The convolution of a blocked image with blocked filters `w`, which are `u` transformed."""
    rows, columns = op.filterings()
    images, tile_rows, tile_columns = op.grid()
    on = _Arrays(domain)
    height, width = op.extents()
    tops, lefts = _starts(tile_rows, rows.tile, height), _starts(tile_columns, columns.tile, width)
    grid = [[x[:, :, tops + i][:, :, :, lefts + j] for j in range(columns.size)] for i in range(rows.size)]
    v = np.stack([a for row in run_both_ways(rows.input, columns.input, grid, on) for a in row])
    pieces, positions, filters, depth, lanes = u.shape
    # position, piece, depth, image, tile row, tile column
    v = v.transpose(0, 2, 5, 1, 3, 4).reshape(positions, pieces, depth, 1, images, tile_rows, tile_columns, 1)
    total = None
    for piece in range(pieces):
        part = None
        for k in range(depth):
            factor = u[piece, :, :, k].reshape(positions, filters, 1, 1, 1, lanes)
            term = domain.float2("mul", v[:, piece, k], factor, f32)
            part = term if part is None else on.add(part, term)
        total = part if total is None else on.add(total, part)
    assert total is not None
    products = [[total[i * columns.size + j] for j in range(columns.size)] for i in range(rows.size)]
    out = run_both_ways(rows.output, columns.output, products, on)
    if not op.transformed:
        factor = _one_by_scale(rows, columns, domain)
        out = [[domain.float2("mul", factor, a, f32) for a in row] for row in out]
    beyond = _beyond(op, out, domain)  # filter block, image, tile row, tile column
    direct = _directly(x, w, domain) if beyond.any() else None
    y = np.empty((images, filters, height, width, lanes), dtype=out[0][0].dtype)
    for row, column in product(range(tile_rows), range(tile_columns)):
        for i, j in product(range(rows.tile), range(columns.tile)):
            at = (slice(None), slice(None), tops[row] + i, lefts[column] + j)
            y[at] = out[i][j][:, :, row, column].transpose(1, 0, 2)
            if direct is not None:
                y[at] = np.where(beyond[:, :, row, column].transpose(1, 0)[..., None], direct[at], y[at])
    return y


def _beyond(op: WinogradConv2DOp, out: Any, domain: Domain) -> np.ndarray:
    """Which tiles of which filters are in a block and group with an output that is NaN or beyond the limit."""
    grid = (out[0][0].shape[0], *op.grid())
    if domain.name != "ieee":
        return np.zeros(grid, bool)
    within = np.all([np.abs(a) <= LIMIT for row in out for a in row], axis=(0, 5))
    parts = (op.group(), *op.block.get_values())
    by_block = [n for size, part in zip(grid, parts, strict=True) for n in (size // part, part)]
    blocks = within.reshape(by_block).all(axis=(1, 3, 5, 7), keepdims=True)
    return ~np.broadcast_to(blocks, by_block).reshape(grid)


def _directly(x: Any, w: Any, domain: Domain) -> Any:
    """The direct convolution of a blocked image with blocked filters."""
    _, channels, height, width, in_lanes = x.shape
    height, width = height - TAPS + 1, width - TAPS + 1
    total: Any = np.float32(0)
    for block, lane, i, j in product(range(channels), range(in_lanes), range(TAPS), range(TAPS)):
        pixels = x[:, block, i : i + height, j : j + width, lane]
        term = domain.float2("mul", pixels[:, None, :, :, None], w[:, block, i, j, lane][:, None, None], f32)
        total = domain.float2("add", total, term, f32)
    return total


def _starts(tiles: int, tile: int, extent: int) -> np.ndarray:
    """First row or column of each tile; the last one stays within the extent."""
    return np.minimum(np.arange(tiles) * tile, extent - tile)
