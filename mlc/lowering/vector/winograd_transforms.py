"""The transforms of Winograd's filtering, as structured ops on one tile of one block of channels.

    6x6 inputs ── 36 values at once ──▶ 36 positions           where registers hold about as many
    6x6 inputs ── column by column ──▶ %half ── row by row ──▶ 36 positions        where they do not

With few registers most of 36 values are stored and loaded again whatever is written, so that one way after the other,
as loops over buffers that stay in the first-level cache, takes as long: and it is a fraction of the code.
Used by `expand_winograd.py`, which says where tiles, products and filters lie. Results have the same bits either way.
Tests: tests/lowering/vector/expand_winograd.mlir
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, MemRefType, f32
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.arrays.winograd import TAPS, Program, run_both_ways, run_program, some_outputs
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, element_type, shape_of

Transform = Callable[[Sequence[SSAValue], Arithmetic], list[SSAValue]]
"""Writes what values become into a body."""
Place = tuple[SSAValue, tuple[int, ...]]
"""A buffer, and where in it vectors of all its last dimensions lie."""


class WinogradTransforms:
    """The transforms of one convolution, written by `on`. `in_turn`: columns and rows one after the other."""

    def __init__(self, on: LoopWriter, op: WinogradConv2DOp, epilogue: GenericOp | None, *, in_turn: bool) -> None:
        self.on, self.op, self.epilogue, self.in_turn = on, op, epilogue, in_turn
        self.rows, self.columns = op.filterings()

    def input(self, tiles: SSAValue, source: Sequence[Offset], dest: Sequence[Offset]) -> None:
        """tiles[every position] = B x B^T for the tile of the input at `source`."""
        lanes = shape_of(self.op.input)[4]
        height, width = self.rows.size, self.columns.size
        x = self.on.view(self.op.input, source, [1, 1, height, width, lanes], (2, 3, 4))
        v = self.on.view(tiles, dest, [1, height * width, *[1] * 4, lanes], (1, 6))
        if not self.in_turn:
            ins = [(x, at) for at in product(range(height), range(width))]
            self._apply(_both(self.rows.input, self.columns.input), ins, self._rows(v))
            return
        half = self.on.scratch(height, width, lanes)
        with self.on.loop(0, width) as j:
            column, down = (self.on.view(b, [0, j, 0], [height, 1, lanes], (0, 2)) for b in (x, half))
            self._apply(_one(self.rows.input), [(column, (i,)) for i in range(height)], self._rows(down))
        with self.on.loop(0, height) as i:
            row = self.on.view(half, [i, 0, 0], [1, width, lanes], (1, 2))
            along = self.on.view(v, [self.on.times(i, width), 0], [width, lanes], (0, 1))
            self._apply(_one(self.columns.input), [(row, (j,)) for j in range(width)], self._rows(along))

    def filter(self, source: SSAValue, dest: SSAValue, position: Offset) -> None:
        """dest = G w G^T from `position` on, a slice of the positions. Only the first way differs from slice to
        slice: what to do where is told when the program runs."""
        some, in_lanes, lanes = shape_of(dest)
        width = self.columns.size
        slices = range(0, self.op.positions(), some)
        programs = [some_outputs(self.rows.filter, range(at // width, (at + some) // width)) for at in slices]
        if not self.in_turn:
            taps = [(source, at) for at in product(range(TAPS), range(TAPS))]
            for at, rows in zip(slices, programs, strict=True):
                with self.on.only_where(position, at):
                    self._apply(_both(rows, self.columns.filter), taps, self._rows(dest))
            return
        half = self.on.scratch(some // width, TAPS, in_lanes, lanes)
        for at, rows in zip(slices, programs, strict=True):
            with self.on.only_where(position, at), self.on.loop(0, TAPS) as j:
                column = self.on.view(source, [0, j, 0, 0], [TAPS, 1, in_lanes, lanes], (0, 2, 3))
                down = self.on.view(half, [0, j, 0, 0], [some // width, 1, in_lanes, lanes], (0, 2, 3))
                self._apply(_one(rows), [(column, (i,)) for i in range(TAPS)], self._rows(down))
        with self.on.loop(0, some // width) as i:
            row = self.on.view(half, [i, 0, 0, 0], [1, TAPS, in_lanes, lanes], (1, 2, 3))
            along = self.on.view(dest, [self.on.times(i, width), 0, 0], [width, in_lanes, lanes], (0, 1, 2))
            self._apply(_one(self.columns.filter), [(row, (j,)) for j in range(TAPS)], self._rows(along))

    def output(self, products: SSAValue, source: Sequence[Offset], dest: Sequence[Offset]) -> None:
        """output = A products A^T / scale and the epilogue, for the tile at `dest`. The first product becomes one more
        than the sum of the squares of its outputs before the epilogue."""
        lanes = shape_of(self.op.output)[4]
        height, width = self.rows.size, self.columns.size
        m = self.on.view(products, source, [height * width, *[1] * 4, lanes], (0, 5))
        squares = self.on.view(m, [0, 0], [1, lanes], (1,))  # in the products, which are read for the last time here
        if not self.in_turn:
            self._finish(_both(self.rows.output, self.columns.output), m, dest, self.rows.tile, squares, first=True)
            return
        half = self.on.scratch(self.rows.tile, width, lanes)
        with self.on.loop(0, width) as j:
            column = self.on.view(m, [j, 0], [(height - 1) * width + 1, lanes], (0, 1))
            down = self.on.view(half, [0, j, 0], [self.rows.tile, 1, lanes], (0, 2))
            ins = [(column, (at,)) for at in range(0, height * width, width)]
            self._apply(_one(self.rows.output), ins, self._rows(down))
        one = self.on.put(arith.ConstantOp(FloatAttr(1.0, f32))).result
        self.on.put(FillOp([one], [squares], []))
        with self.on.loop(0, self.rows.tile) as i:
            row = self.on.view(half, [i, 0, 0], [1, width, lanes], (1, 2))
            place = [*dest[:2], self.on.plus(dest[2], i), *dest[3:]]
            self._finish(_one(self.columns.output), row, place, 1, squares, first=False)

    def _finish(
        self, transform: Transform, m: SSAValue, dest: Sequence[Offset], rows: int, squares: SSAValue, *, first: bool
    ) -> None:
        """`rows` of the output at `dest` from the vectors of `m`. `first`: nothing is in `squares` yet."""
        count, lanes = shape_of(m)
        sizes = [1, 1, rows, self.columns.tile, lanes]
        y = self.on.view(self.op.output, dest, sizes, (2, 3, 4))
        operands: dict[tuple[SSAValue, AffineMap], int] = {}

        def operand(value: SSAValue, *results: AffineExpr) -> int:
            return operands.setdefault((value, AffineMap(1, 0, results)), len(operands))

        lane = AffineDimExpr(0)
        for p in range(count):
            operand(m, AffineExpr.constant(p), lane)
        boxes: list[tuple[SSAValue, list[int]]] = []
        if self.epilogue is not None:
            for value, attr in zip(self.epilogue.inputs, self.epilogue.indexing_maps.data, strict=False):
                dims = [e.position for e in attr.data.results if isinstance(e, AffineDimExpr)]
                if isinstance(value.type, MemRefType):
                    value = self.on.view(value, [dest[d] for d in dims], [sizes[d] for d in dims], range(len(dims)))
                boxes.append((value, dims))
        outs: list[SSAValue] = []
        arguments: list[list[int]] = []
        for i, j in product(range(rows), range(self.columns.tile)):
            outs.append(self.on.view(y, [i, j, 0], [1, 1, lanes], (2,)))
            here = [*(AffineExpr.constant(k) for k in (0, 0, i, j)), lane]
            arguments.append([operand(value, *(here[d] for d in dims)) for value, dims in boxes])
        inputs = [v for v, _ in operands]
        outs.append(squares)
        body = Arithmetic([element_type(v) for v in (*inputs, *outs)], self.on.location)
        results = self._unscaled(transform(body.block.args[:count], body), body)
        total = body.constant(1.0) if first else body.block.args[-1]
        for value in results:
            total = body.square_and_add(value, total)
        if self.epilogue is not None:
            what = self.epilogue.body.block
            for k, numbers in enumerate(arguments):
                results[k] = body.inline(what, [*(body.block.args[n] for n in numbers), results[k]])
        body.end([*results, total])
        maps = [*(m for _, m in operands), *[AffineMap.identity(1)] * len(outs)]
        self.on.generic(inputs, outs, maps, 1, body.block)

    def _unscaled(self, values: list[SSAValue], body: Arithmetic) -> list[SSAValue]:
        """`values` without the scale of the filtering, which filters transformed at run time have."""
        scales = [] if self.op.transformed else [f.scale for f in (self.rows, self.columns) if f.scale != 1]
        if not scales:
            return values
        factor = body.constant(1.0)
        for scale in scales:
            factor = body.put(arith.DivfOp(factor, body.constant(float(scale))))
        return [body.put(arith.MulfOp(factor, value)) for value in values]

    def _rows(self, source: SSAValue) -> list[SSAValue]:
        """Parts of `source` along its first dimension."""
        count, *shape = shape_of(source)
        places = ([k, *[0] * len(shape)] for k in range(count))
        return [self.on.view(source, place, [1, *shape], range(1, 1 + len(shape))) for place in places]

    def _apply(self, transform: Transform, ins: Sequence[Place], outs: Sequence[SSAValue]) -> None:
        """outs = transform(ins), for all lanes."""
        rank = len(shape_of(outs[0]))
        lanes = [AffineDimExpr(d) for d in range(rank)]
        maps = [AffineMap(rank, 0, (*map(AffineExpr.constant, at), *lanes)) for _, at in ins]
        body = Arithmetic([f32] * (len(ins) + len(outs)), self.on.location)
        body.end(transform(body.block.args[: len(ins)], body))
        buffers = [buffer for buffer, _ in ins]
        self.on.generic(buffers, outs, [*maps, *[AffineMap.identity(rank)] * len(outs)], rank, body.block)


def _one(program: Program) -> Transform:
    """One way."""
    return lambda values, body: run_program(program, values, body)


def _both(rows: Program, columns: Program) -> Transform:
    """Down every column and along every row of a grid, given row by row."""
    width = columns.inputs

    def transform(values: Sequence[SSAValue], body: Arithmetic) -> list[SSAValue]:
        grid = [values[at : at + width] for at in range(0, len(values), width)]
        return [value for row in run_both_ways(rows, columns, grid, body) for value in row]

    return transform
