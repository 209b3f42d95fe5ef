"""Blocks of Winograd tiles with an output that is NaN or huge are computed again, directly (for expand-winograd).

    %squares, left in the first products by the output transforms
      -->
    linalg.generic #sum ins(%squares) outs(%total)
    scf.if (%total beyond 2^64 or NaN) {
      for every row of every tile {
        linalg.generic #convolution ins(%x, %w) outs(%y) {mlc.cold}
        linalg.generic #relu outs(%y) }
    }
Tests: tests/lowering/vector/expand_winograd.mlir, tests/lowering/linalg/test_winograd.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import FloatAttr, MemRefType, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.arrays.winograd import LIMIT, TAPS
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, element_type, shape_of


@contextmanager
def beyond_limit(on: LoopWriter, products: SSAValue) -> Iterator[None]:
    """What to do when an output of the block is NaN or huge, by the sums of squares left in the first products."""
    squares = on.view(products, [0] * 6, [1, *shape_of(products)[1:]], range(1, 6))
    total = on.scratch()
    on.clear(total)
    body = Arithmetic([f32, f32], on.location)
    body.end([body.add(body.block.args[1], body.block.args[0])])
    on.generic([squares], [total], [AffineMap.identity(5), AffineMap(5, 0, ())], 0, body.block)
    found = on.put(memref.LoadOp.get(total, [])).res
    # scaled so that it is infinite beyond the limit: exact domains have no order, and never take the branch
    scale = on.put(arith.ConstantOp(FloatAttr(2.0**128 / LIMIT**2, f32))).result
    scaled = on.put(arith.MulfOp(found, scale)).result
    infinity = on.put(arith.ConstantOp(FloatAttr(float("inf"), f32))).result
    beyond = on.put(arith.CmpfOp(scaled, infinity, "ueq")).result
    with on.only_if(beyond):
        yield


def convolve_row(
    on: LoopWriter, op: WinogradConv2DOp, epilogue: GenericOp | None, place: Sequence[Offset], width: int
) -> None:
    """output = the direct convolution and the epilogue, for `width` outputs of one row at `place`: image, block of
    filters, row, first column."""
    image, filters, row, column = place
    _, channels, _, _, in_lanes, lanes = shape_of(op.filter)
    # column, filter lane; channel block, tap row, tap column, channel lane
    d = [AffineDimExpr(i) for i in range(6)]
    maps = [
        AffineMap(6, 0, (d[2], d[3], d[0] + d[4], d[5])),
        AffineMap(6, 0, (d[2], d[3], d[4], d[5], d[1])),
        AffineMap(6, 0, (d[0], d[1])),
    ]
    taps = [1, channels, TAPS, TAPS, in_lanes, lanes]
    w = on.view(op.filter, [filters, 0, 0, 0, 0, 0], taps, range(1, 6))
    window = [1, channels, TAPS, width + TAPS - 1, in_lanes]
    x = on.view(op.input, [image, 0, row, column, 0], window, range(1, 5))
    dest, sizes = [*place, 0], [1, 1, 1, width, lanes]
    y = on.view(op.output, dest, sizes, (3, 4))
    on.clear(y)
    body = Arithmetic([f32] * 3, on.location)
    term = body.put(arith.MulfOp(body.block.args[0], body.block.args[1]))
    body.end([body.add(body.block.args[2], term)])
    on.generic([x, w], [y], maps, 2, body.block, cold=True)
    if epilogue is not None:
        _epilogue_of_row(on, epilogue, y, dest, sizes)


def _epilogue_of_row(
    on: LoopWriter, epilogue: GenericOp, y: SSAValue, dest: Sequence[Offset], sizes: Sequence[int]
) -> None:
    """The epilogue on the part `y` of the output at `dest`."""
    zero = AffineExpr.constant(0)
    places = [zero, zero, zero, AffineDimExpr(0), AffineDimExpr(1)]
    inputs: list[SSAValue] = []
    maps: list[AffineMap] = []
    for value, attr in zip(epilogue.inputs, epilogue.indexing_maps.data, strict=False):
        dims = [e.position for e in attr.data.results if isinstance(e, AffineDimExpr)]
        if isinstance(value.type, MemRefType):
            value = on.view(value, [dest[k] for k in dims], [sizes[k] for k in dims], range(len(dims)))
        inputs.append(value)
        maps.append(AffineMap(2, 0, tuple(places[k] for k in dims)))
    body = Arithmetic([element_type(v) for v in (*inputs, y)], on.location)
    body.end([body.inline(epilogue.body.block, body.block.args)])
    on.generic(inputs, [y], [*maps, AffineMap.identity(2)], 2, body.block)
