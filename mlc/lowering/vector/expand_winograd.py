"""Write a Winograd convolution as structured ops on blocks of tiles.

    linalg_ext.winograd_conv_2d           scf.for image, tile rows, tile columns of a block {
      ins(%x, %u) outs(%y, %v, %m)          linalg.generic ins(36 views of %x) outs(36 views of %v)   input transform
    linalg.generic #relu outs(%y)   -->     scf.parallel position { scf.for piece of the channels {
                                              fill(%part), linalg.generic #product, %m[position] += %part } }
                                            linalg.generic ins(36 views of %m) outs(16 views of %y)   output transform
                                          }                                                           with #relu inside

The elementwise op that follows in place is taken into the output transform, once per output of a tile. Where tiles
reach past the image, the last ones get an output transform of their own that writes what exists.
Runs after bufferize (it works on buffers). Runs before vectorize-structured, which makes register tiles of all of it.
Tests: tests/lowering/vector/expand_winograd.mlir
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, TypeVar

from xdsl.dialects import arith, math, memref, scf
from xdsl.dialects.builtin import (
    AffineMapAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    LocationAttr,
    MemRefType,
    ModuleOp,
    NoneAttr,
    StridedLayoutAttr,
    f32,
)
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.dialects.linalg_ext.winograd import run_both_ways
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass

_VIEWS = (memref.CastOp, memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp)
OpT = TypeVar("OpT", bound=Operation)
Offset = int | SSAValue


@dataclass(frozen=True)
class ExpandWinograd(MlcPass):
    """See the module."""

    name = "expand-winograd"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Reassociates("the convolution's own arithmetic; products and sums contract to fma"),
        profile="winograd",
        establishes=("no linalg_ext.winograd_conv_2d is left",),
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, WinogradConv2DOp) and not op.res:
                epilogue = _epilogue(op)
                _Expansion(op, epilogue).write()
                ctx.remarks.applied(
                    self.name,
                    op,
                    "written as structured ops",
                    epilogue=epilogue is not None,
                    block=list(op.block.get_values()),
                )
                for old in (epilogue, op):
                    if old is not None:
                        old.detach()
                        old.erase()


def _epilogue(op: WinogradConv2DOp) -> GenericOp | None:
    """The elementwise op right after `op` that works on its output in place, when it can run point by point."""
    after = op.next_op
    while isinstance(after, (arith.ConstantOp, *_VIEWS)):
        after = after.next_op
    if not isinstance(after, GenericOp) or list(after.outputs) != [op.output] or op.output in after.inputs:
        return None
    maps = [m.data for m in after.get_indexing_maps()]
    bare = all(isinstance(e, AffineDimExpr) for m in maps for e in m.results)
    if not bare or maps[-1] != AffineMap.identity(5) or any(v in after.inputs for v in (op.tiles, op.products)):
        return None
    if any(isinstance(inner, IndexOp | memref.LoadOp) for inner in after.body.block.ops):
        return None
    return after


class Part(NamedTuple):
    """Neighbouring tiles of a block in one direction: from which on, how many, and outputs of each."""

    first: int
    tiles: int
    outputs: int


class _Values:
    """Builds the arithmetic of a body."""

    def __init__(self, types: Sequence[Attribute], location: LocationAttr) -> None:
        self.block, self.location = Block(arg_types=types), location
        self.constants: dict[float, SSAValue] = {}

    def put(self, op: Operation) -> Any:
        op.location = self.location
        self.block.add_op(op)
        return op.results[0] if op.results else None

    def constant(self, value: float) -> SSAValue:
        if value not in self.constants:
            self.constants[value] = self.put(arith.ConstantOp(FloatAttr(value, f32)))
        return self.constants[value]

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(arith.AddfOp(a, b))

    def sub(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(arith.SubfOp(a, b))

    def mul(self, factor: float, a: SSAValue) -> SSAValue:
        return self.put(arith.MulfOp(self.constant(factor), a))

    def fma(self, factor: float, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.put(math.FmaOp(self.constant(factor), a, b))

    def inline(self, body: Block, arguments: Sequence[SSAValue]) -> SSAValue:
        """What `body` yields for `arguments`."""
        known: dict[SSAValue, SSAValue] = dict(zip(body.args, arguments, strict=True))
        last = body.last_op
        for op in body.ops:
            if op is not last:
                copy = op.clone(known)
                known.update(zip(op.results, copy.results, strict=True))
                self.block.add_op(copy)
        assert last is not None
        return known.get(last.operands[0], last.operands[0])

    def end(self, results: Sequence[SSAValue]) -> None:
        """Yield."""
        self.put(YieldOp(*results))

    def drop_unused(self) -> None:
        """Erase what no result needs (outputs past the image)."""
        op = self.block.last_op
        while op is not None:
            before = op.prev_op
            if op.results and not any(r.uses for r in op.results):
                op.detach()
                op.erase()
            op = before


class _Expansion:
    """One convolution with its epilogue."""

    def __init__(self, op: WinogradConv2DOp, epilogue: GenericOp | None) -> None:
        self.op, self.epilogue = op, epilogue
        self.location = op.location if epilogue is None else fuse_locations([op.location, epilogue.location])
        self.rows, self.columns = op.filterings()
        self.grid = op.grid()
        self.block_size = tuple(op.block.get_values())
        assert op.parent is not None
        self.into: list[Block] = [op.parent]
        self.indices: dict[int, SSAValue] = {}
        self.origin: list[Offset] = [0] * 5  # of the block at hand in the input and the output

    # Building

    def put(self, op: OpT) -> OpT:
        op.location = self.location
        if len(self.into) == 1:
            self.into[0].insert_op_before(op, self.epilogue or self.op)
        else:
            self.into[-1].add_op(op)
        return op

    def index(self, value: int) -> SSAValue:
        if value not in self.indices:
            op = arith.ConstantOp(IntegerAttr(value, IndexType()))
            op.location = self.location
            self.into[0].insert_op_before(op, self.op)
            self.indices[value] = op.result
        return self.indices[value]

    @contextmanager
    def loop(self, low: int, high: int, step: int = 1, *, parallel: bool = False) -> Iterator[Offset]:
        """A loop from `low` to `high` by `step`; no loop where there is one trip."""
        if high - low <= step:
            yield low
            return
        body = Block(arg_types=[IndexType()])
        bounds = self.index(low), self.index(high), self.index(step)
        self.into.append(body)
        yield body.args[0]
        self.put(scf.ReduceOp() if parallel else scf.YieldOp())
        self.into.pop()
        if parallel:
            self.put(scf.ParallelOp([bounds[0]], [bounds[1]], [bounds[2]], Region(body)))
        else:
            self.put(scf.ForOp(*bounds, [], Region(body)))

    def times(self, value: Offset, factor: int) -> Offset:
        if isinstance(value, int):
            return value * factor
        return value if factor == 1 else self.put(arith.MuliOp(value, self.index(factor))).result

    def view(
        self,
        source: SSAValue,
        offsets: Sequence[Offset],
        sizes: Sequence[int],
        steps: Sequence[int] | None = None,
        drop: int = 0,
    ) -> SSAValue:
        """A strided box of `source`; its first `drop` dimensions, of one element each, are left out."""
        ty = source.type
        assert isinstance(ty, MemRefType)
        steps = steps or [1] * len(sizes)
        strides = ty.get_strides()
        assert strides is not None and None not in strides
        start: int | None = 0
        if isinstance(ty.layout, StridedLayoutAttr):
            start = ty.layout.get_offset()
        for offset, stride in zip(offsets, strides, strict=True):
            assert stride is not None
            start = start + offset * stride if start is not None and isinstance(offset, int) else None
        layout = StridedLayoutAttr(
            [s * k for s, k in zip(strides, steps, strict=True) if s is not None][drop:],
            NoneAttr() if start is None else start,  # pyright: ignore[reportArgumentType]
        )
        result = MemRefType(ty.element_type, list(sizes)[drop:], layout, ty.memory_space)
        return self.put(memref.SubviewOp.get(source, list(offsets), list(sizes), list(steps), result)).result

    def generic(
        self, ins: Sequence[SSAValue], outs: Sequence[SSAValue], maps: Sequence[AffineMap], parallel: int, body: Block
    ) -> None:
        """A `linalg.generic` whose first `parallel` loops are that and the others reductions."""
        loops = maps[0].num_dims
        kinds = [IteratorTypeAttr.parallel()] * parallel + [IteratorTypeAttr.reduction()] * (loops - parallel)
        self.put(GenericOp(list(ins), list(outs), Region(body), [AffineMapAttr(m) for m in maps], kinds, []))

    # The convolution

    def write(self) -> None:
        """All of it, before the op."""
        images, tile_rows, tile_columns = self.grid
        b = self.block_size
        with (
            self.loop(0, images, b[0]) as image,
            self.loop(0, tile_rows, b[1]) as row,
            self.loop(0, tile_columns, b[2]) as column,
        ):
            self.origin = [image, 0, self.times(row, self.rows.tile), self.times(column, self.columns.tile), 0]
            self.transform_input()
            self.multiply()
            for rows in _parts(b[1], shape_of(self.op.output)[2], self.rows.tile):
                for columns in _parts(b[2], shape_of(self.op.output)[3], self.columns.tile):
                    self.transform_output(rows, columns)

    def transform_input(self) -> None:
        """tiles[position] = B x B^T for every tile of the block and every channel."""
        images, rows, columns = self.block_size
        channels, lanes = shape_of(self.op.input)[1], shape_of(self.op.input)[4]
        positions, pieces, *_, per_piece, _ = shape_of(self.op.tiles)
        extent = [images, channels, self.rows.tile * rows + 2, self.columns.tile * columns + 2, lanes]
        x = self.view(self.op.input, self.origin, extent)
        sizes = [1, pieces, *self.block_size, per_piece, lanes]
        outs = [self.view(self.op.tiles, [p, *[0] * 6], sizes, drop=1) for p in range(positions)]
        d = [AffineDimExpr(i) for i in range(6)]  # piece, image, row, column, block of channels, lane
        maps = [
            AffineMap(
                6, 0, (d[1], d[0] * per_piece + d[4], d[2] * self.rows.tile + i, d[3] * self.columns.tile + j, d[5])
            )
            for i in range(self.rows.size)
            for j in range(self.columns.size)
        ]
        on = _Values([f32] * 2 * positions, self.location)
        grid = [on.block.args[i * self.columns.size : (i + 1) * self.columns.size] for i in range(self.rows.size)]
        on.end([v for row in run_both_ways(self.rows.input, self.columns.input, grid, on) for v in row])
        self.generic([x] * positions, outs, [*maps, *[AffineMap.identity(6)] * positions], 6, on.block)

    def multiply(self) -> None:
        """products[position] = tiles[position] * filter[position], one piece of the channels after the other."""
        positions, pieces = shape_of(self.op.filter)[:2]
        filters, *space = shape_of(self.op.products)[1:]
        with self.loop(0, positions, parallel=True) as position:
            sums = self.view(self.op.products, [position, *[0] * 5], [1, filters, *space], drop=1)
            self.product(position, 0, sums)
            if pieces > 1:
                part = self.scratch([filters, *space])
                with self.loop(1, pieces) as piece:
                    self.product(position, piece, part)
                    on = _Values([f32, f32], self.location)
                    on.end([on.add(on.block.args[1], on.block.args[0])])
                    self.generic([part], [sums], [AffineMap.identity(5)] * 2, 5, on.block)

    def scratch(self, shape: Sequence[int]) -> SSAValue:
        """Sums of one piece. Vectorised they live in registers and this goes away."""
        op = memref.AllocaOp.get(f32, 64, list(shape))
        op.location = self.location
        self.into[0].insert_op_before(op, self.op)
        return op.memref

    def product(self, position: Offset, piece: Offset, out: SSAValue) -> None:
        """out[f, t] = sum over the channels c of a piece of tiles[t, c] * filter[c, f]."""
        tiles = self.view(self.op.tiles, [position, piece, *[0] * 5], [1, 1, *shape_of(self.op.tiles)[2:]], drop=2)
        weights = self.view(self.op.filter, [position, piece, 0, 0, 0], [1, 1, *shape_of(self.op.filter)[2:]], drop=2)
        zero = self.put(arith.ConstantOp(FloatAttr(0.0, f32))).result
        self.put(FillOp([zero], [out], []))
        d = [AffineDimExpr(i) for i in range(7)]  # filter block, image, row, column, filter lane; channel block, lane
        channel: AffineExpr = d[5] * shape_of(tiles)[4] + d[6]
        maps = [
            AffineMap(7, 0, (d[1], d[2], d[3], d[5], d[6])),
            AffineMap(7, 0, (d[0], channel, d[4])),
            AffineMap(7, 0, tuple(d[:5])),
        ]
        on = _Values([f32] * 3, self.location)
        product = on.put(arith.MulfOp(on.block.args[0], on.block.args[1]))
        on.end([on.add(on.block.args[2], product)])
        self.generic([tiles, weights], [out], maps, 5, on.block)

    def transform_output(self, rows: Part, columns: Part) -> None:
        """output = A products A^T and the epilogue, for the tiles in `rows` and `columns` of the block."""
        images, filters, _, _, lanes = shape_of(self.op.output)
        images = self.block_size[0]
        positions = shape_of(self.op.products)[0]
        d = [AffineDimExpr(i) for i in range(5)]  # image, block of filters, row, column, lane
        operands: dict[tuple[SSAValue, AffineMap], int] = {}

        def operand(value: SSAValue, results: Sequence[AffineExpr]) -> int:
            return operands.setdefault((value, AffineMap(5, 0, tuple(results))), len(operands))

        corner = [0, 0, 0, rows.first, columns.first, 0]
        products = self.view(
            self.op.products, corner, [positions, filters, images, rows.tiles, columns.tiles, lanes]
        )
        for p in range(positions):
            operand(products, (AffineExpr.constant(p), d[1], d[0], d[2], d[3], d[4]))
        whole = [images, filters, self._reach(rows, self.rows.tile), self._reach(columns, self.columns.tile), lanes]
        boxes: dict[SSAValue, SSAValue] = {}

        def box(value: SSAValue, dims: Sequence[int]) -> SSAValue:
            """What the block can reach of `value`, whose dimensions are `dims` of the output."""
            if value not in boxes:
                boxes[value] = self.view(value, [self.origin[k] for k in dims], [whole[k] for k in dims])
            return boxes[value]

        outs: list[SSAValue] = []
        arguments: list[list[int]] = []
        output = box(self.op.output, range(5))
        for i, j in product(range(rows.outputs), range(columns.outputs)):
            start = [0, 0, rows.first * self.rows.tile + i, columns.first * self.columns.tile + j, 0]
            steps = [1, 1, self.rows.tile, self.columns.tile, 1]
            outs.append(self.view(output, start, [images, filters, rows.tiles, columns.tiles, lanes], steps))
            point = [d[k] * steps[k] + start[k] if k in (2, 3) else d[k] for k in range(5)]
            arguments.append([])
            for value, dims in self._epilogue_inputs():
                source = box(value, dims) if isinstance(value.type, MemRefType) else value
                arguments[-1].append(operand(source, [point[k] for k in dims]))
        inputs = [v for v, _ in operands]
        on = _Values([element_type(v) for v in (*inputs, *outs)], self.location)
        width = self.columns.size
        grid = [on.block.args[i * width : (i + 1) * width] for i in range(self.rows.size)]
        values = run_both_ways(self.rows.output, self.columns.output, grid, on)
        kept = [v for row in values[: rows.outputs] for v in row[: columns.outputs]]
        if self.epilogue is not None:
            body = self.epilogue.body.block
            for k, numbers in enumerate(arguments):
                kept[k] = on.inline(body, [*(on.block.args[n] for n in numbers), kept[k]])
        on.end(kept)
        on.drop_unused()
        self.generic(inputs, outs, [*(m for _, m in operands), *[AffineMap.identity(5)] * len(outs)], 5, on.block)

    @staticmethod
    def _reach(part: Part, tile: int) -> int:
        return tile * (part.first + part.tiles - 1) + part.outputs

    def _epilogue_inputs(self) -> Iterator[tuple[SSAValue, list[int]]]:
        if self.epilogue is not None:
            for value, attr in zip(self.epilogue.inputs, self.epilogue.indexing_maps.data, strict=False):
                yield value, [e.position for e in attr.data.results if isinstance(e, AffineDimExpr)]


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """Shape of a memref."""
    assert isinstance(value.type, MemRefType)
    return tuple(value.type.get_shape())


def element_type(value: SSAValue) -> Attribute:
    """Element type of a memref, the type itself of a scalar."""
    return value.type.element_type if isinstance(value.type, MemRefType) else value.type


def _parts(tiles: int, extent: int, tile: int) -> list[Part]:
    """Whole tiles, and a last partial one."""
    rest = extent % tile
    if not rest:
        return [Part(0, tiles, tile)]
    whole = [Part(0, tiles - 1, tile)] if tiles > 1 else []
    return [*whole, Part(tiles - 1, 1, rest)]
