"""Write a Winograd matrix product as loops around structured ops.

    linalg.fill %zero outs(%y)              scf.parallel rows {
    linalg_ext.winograd_matmul                linalg.generic #squares ins(%x) outs(%r[2])        sums of squares
      ins(%x, %w) outs(%y, %s, %r)            linalg.generic #factors ins(%r[2]) outs(%r[0], %r[1], %r[3])
    linalg.generic #relu outs(%y)     -->     scf.for piece {
                                                linalg.generic #scale ins(%x, %r[1]) outs(%s[piece])
                                                linalg.generic #pairs ins(%s[piece]) outs(%r[4 + piece]) } }
                                            scf.parallel rows, columns {
                                              linalg.fill %zero outs(%y)
                                              scf.if (any row is to be multiplied plainly) { … %y += %x * %w }
                                              scf.for piece {
                                                linalg.fill %zero outs(%part)
                                                linalg.generic #terms ins(%s[piece], %w[piece]) outs(%part)
                                                linalg.generic #add ins(%part, sums, factors) outs(%y) }
                                              linalg.generic #relu outs(%y) }
Elementwise ops that follow in place are taken into the loop over rows and columns, and so is a fill before.
`rows`: those that all columns are multiplied with before the next (0: as many as the second-level cache holds).
Runs after bufferize (it works on buffers). Runs before vectorize-structured, which makes register tiles of all of it.
Tests: tests/lowering/vector/expand_winograd_matmul.mlir
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, math, memref, scf
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
    f32,
    i64,
)
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap

from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    LARGEST,
    PLAIN,
    SCALE,
    SIZES,
    SMALLEST,
    SQUARES,
    PERIOD,
    SUMS,
    UNSCALE,
    WinogradMatmulOp,
    padded,
    room,
)
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, element_type, shape_of

_VIEWS = (memref.CastOp, memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp)
ROWS_AT_ONCE = 8
"""Rows prepared in one iteration, at most."""
BLOCK_BYTES = 384 << 10
"""Of a piece of scaled inputs that all columns are multiplied with before the next rows: it stays in the second-level cache."""
MOST_ROWS, LEAST_ROWS = 20, 12
"""Of a register tile."""
_D = [AffineDimExpr(i) for i in range(3)]


@dataclass(frozen=True)
class ExpandWinogradMatmul(MlcPass):
    """See the module."""

    name = "expand-winograd-matmul"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Reassociates("pairs of terms for one product each; products and sums contract to fma"),
        profile="winograd-matmul",
        options=({}, {"rows": 5}, {"rows": 4}),
        establishes=("no linalg_ext.winograd_matmul is left",),
        nests=True,
    )

    rows: int = option(0, Span(1, 1 << 20, special=(0,)))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, WinogradMatmulOp) and not op.res:
                fill, epilogue = _fill(op), _epilogue(op)
                _Expansion(op, fill, epilogue).write(self.rows)
                ctx.remarks.applied(
                    self.name, op, "written as structured ops", epilogue=len(epilogue), filled=fill is not None
                )
                for old in (*reversed(epilogue), op, fill):
                    if old is not None:
                        old.detach()
                        old.erase()


def _fill(op: WinogradMatmulOp) -> FillOp | None:
    """The fill right before `op` of what it adds to."""
    before = op.prev_op
    while isinstance(before, (arith.ConstantOp, *_VIEWS)):
        before = before.prev_op
    return before if isinstance(before, FillOp) and list(before.outputs) == [op.output] else None


def _epilogue(op: WinogradMatmulOp) -> list[GenericOp]:
    """The elementwise ops right after `op` that work on its output in place, and can run point by point."""
    found: list[GenericOp] = []
    after = op.next_op
    while after is not None:
        if isinstance(after, GenericOp) and _is_pointwise(after, op):
            found.append(after)
        elif not isinstance(after, (arith.ConstantOp, *_VIEWS)):
            break
        after = after.next_op
    return found


def _is_pointwise(after: GenericOp, op: WinogradMatmulOp) -> bool:
    if list(after.outputs) != [op.output] or {*after.inputs} & {op.output, op.scaled, op.rows}:
        return False
    maps = [m.data for m in after.get_indexing_maps()]
    bare = all(isinstance(e, AffineDimExpr) for m in maps for e in m.results)
    if not bare or maps[-1] != AffineMap.identity(3):
        return False
    return not any(isinstance(inner, IndexOp | memref.LoadOp) for inner in after.body.block.ops)


class _Expansion(LoopWriter):
    """One product with its epilogue."""

    def __init__(self, op: WinogradMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        location = fuse_locations([op.location, *(e.location for e in epilogue)])
        super().__init__(fill or op, epilogue[-1] if epilogue else op, location)
        self.op, self.fill, self.epilogue = op, fill, epilogue
        self.depth, self.pieces = op.piece(), op.pieces()
        self.whole = padded(self.depth)
        self.count, self.blocks, self.lanes = shape_of(op.output)

    def write(self, block: int) -> None:
        """All of it, before the last op that it replaces. `block`: rows of a block, 0 for what fits the cache."""
        step = max(n for n in range(1, ROWS_AT_ONCE + 1) if self.count % n == 0)
        signs, last = self.signs(), shape_of(self.op.weights)[1] - 1
        weights = self.view(self.op.weights, [0, last, 0], [1, 1, 1], ())
        with self.loop(0, self.count, step, parallel=True) as first:
            self.prepare(first, step, signs, weights)
        total = self.plain_rows()
        most = block or max(1, BLOCK_BYTES // (4 * self.whole))
        for low, high, rows in _even(self.count, most, most // 2):
            self.multiply(low, high, rows, total)

    # Rows

    def row(self, number: Offset, first: Offset, rows: int) -> SSAValue:
        """One of the numbers of every row, for `rows` rows."""
        return self.view(self.op.rows, [number, first], [1, rows], (1,))

    def numbers(self, first: Offset, rows: int, *which: int) -> list[SSAValue]:
        """Several numbers of every row, as parts of one view: it is known that they are apart."""
        whole = self.view(self.op.rows, [0, first], [SUMS, rows], (0, 1))
        return [self.view(whole, [n, 0], [1, rows], (1,)) for n in which]

    def prepare(self, first: Offset, rows: int, signs: SSAValue, weights: SSAValue) -> None:
        """Factors and scaled inputs of the rows from `first` on. `signs`: of the products of neighbouring terms;
        `weights`: whether any column is to be multiplied plainly."""
        terms = self.depth * self.pieces
        x = self.view(self.op.input, [first, 0], [rows, terms], (0, 1))
        squares, sizes = self.numbers(first, rows, SQUARES, SIZES)
        self.clear(squares)
        self.clear(sizes)
        on = self.body(3)
        value, square, size = on.block.args
        square = on.add(square, on.put(arith.MulfOp(value, value)))
        on.end([square, on.add(size, on.put(math.AbsFOp(value)))])
        self.generic([x], [squares, sizes], [_map(2, 0, 1), _map(2, 0), _map(2, 0)], 1, on.block)
        self.factors(first, rows, weights)
        with self.loop(0, self.pieces) as piece:
            self.scale(first, piece, rows)
            self.pairs(first, piece, rows, signs)

    def factors(self, first: Offset, rows: int, weights: SSAValue) -> None:
        """The power of two that brings the root of the mean of squares of a row near one; zero for a plain row."""
        kinds = self.numbers(first, rows, SQUARES, SIZES, UNSCALE, SCALE, PLAIN)
        on = self.body(6)
        squares, size, plain_weights = on.block.args[:3]
        zero, one = on.constant(0.0), on.constant(1.0)
        mean = on.put(arith.MulfOp(squares, on.constant(1.0 / (self.depth * self.pieces))))
        # infinite where the mean is outside: exact domains have no order, and find none there
        above = on.put(arith.MulfOp(mean, on.constant(2.0**128 / LARGEST)))
        below = on.put(arith.DivfOp(on.constant(2.0**128 * SMALLEST), mean))
        infinity = on.constant(float("inf"))
        large, small = (on.put(arith.CmpfOp(v, infinity, "ueq")) for v in (above, below))
        empty = on.put(arith.CmpfOp(size, zero, "oeq"))
        known = on.put(arith.SelectOp(large, one, on.put(arith.SelectOp(small, one, mean))))
        half = on.put(arith.MulfOp(on.put(math.Log2Op(known)), on.constant(-0.5)))
        factor = on.put(math.Exp2Op(on.put(math.RoundEvenOp(half))))
        outside = on.put(arith.SelectOp(large, one, on.put(arith.SelectOp(small, one, zero))))
        odd = on.add(on.put(arith.SelectOp(empty, zero, outside)), plain_weights)
        unscale = on.put(arith.SelectOp(empty, zero, on.put(arith.DivfOp(one, factor))))
        on.end([unscale, factor, odd])
        maps = [_map(1, 0), _map(1, 0), AffineMap(1, 0, ()), *[_map(1, 0)] * 3]
        self.generic([*kinds[:2], weights], kinds[2:], maps, 1, on.block)

    def scale(self, first: Offset, piece: Offset, rows: int) -> None:
        """scaled = x times the factor of its row, zeros in rows that are to be multiplied plainly and behind the terms."""
        x = self.view(self.op.input, [first, self.times(piece, self.depth)], [rows, self.depth], (0, 1))
        dest = self.view(self.op.scaled, [first, piece, 0], [rows, 1, self.depth], (0, 2))
        on = self.body(4)
        value = on.put(arith.MulfOp(on.block.args[0], on.block.args[1]))
        odd = on.put(arith.CmpfOp(on.block.args[2], on.constant(0.0), "une"))
        on.end([on.put(arith.SelectOp(odd, on.constant(0.0), value))])
        by_row, both = _map(2, 0), _map(2, 0, 1)
        ins = [x, self.row(SCALE, first, rows), self.row(PLAIN, first, rows)]
        self.generic(ins, [dest], [both, by_row, by_row, both], 2, on.block)
        rest = room(self.depth) - self.depth
        self.clear(self.view(self.op.scaled, [first, piece, self.depth], [rows, 1, rest], (0, 2)))

    def pairs(self, first: Offset, piece: Offset, rows: int, signs: SSAValue) -> None:
        """The sum of the products of pairs, those with turned signs taken off: of all neighbours, most of them times 0."""
        sums = self.row(self.plus(piece, SUMS), first, rows)
        self.clear(sums)
        periods = room(self.depth) // PERIOD
        neighbours = [
            self.split(self.view(self.op.scaled, [first, piece, k], [rows, 1, periods * PERIOD], (0, 2)), PERIOD)
            for k in (0, 1)
        ]
        on = self.body(4)
        a, b, sign, total = on.block.args
        on.end([on.add(total, on.put(arith.MulfOp(a, on.put(arith.MulfOp(b, sign)))))])
        self.generic([*neighbours, signs], [sums], [_map(3, 0, 1, 2)] * 2 + [_map(3, 2), _map(3, 0)], 1, on.block)

    def signs(self) -> SSAValue:
        """One, minus one or zero for the products of neighbouring terms of a period: 1 0 0 -1 0 0, and so on."""
        signs = self.put(memref.AllocaOp.get(f32, 64, [PERIOD // GROUP, GROUP])).memref
        self.clear(signs)
        for at, sign in ((0, 1.0), (3, -1.0)):
            value = self.put(arith.ConstantOp(FloatAttr(sign, f32))).result
            self.put(FillOp([value], [self.view(signs, [0, at], [PERIOD // GROUP, 1], (0,))], []))
        every = ArrayAttr([ArrayAttr([IntegerAttr(d, i64) for d in (0, 1)])])
        flat = MemRefType(f32, [PERIOD])
        return self.put(
            memref.CollapseShapeOp.build(operands=[signs], result_types=[flat], properties={"reassociation": every})
        ).result

    def split(self, terms: SSAValue, size: int) -> SSAValue:
        """Rows of terms in parts of `size`."""
        ty = terms.type
        assert isinstance(ty, MemRefType) and isinstance(ty.layout, StridedLayoutAttr)
        stride, one = ty.layout.strides.data
        rows, count = ty.get_shape()
        layout = StridedLayoutAttr([stride, IntAttr(size), one], ty.layout.offset)
        result = MemRefType(f32, [rows, count // size, size], layout)
        every = ArrayAttr([ArrayAttr([IntegerAttr(0, i64)]), ArrayAttr([IntegerAttr(d, i64) for d in (1, 2)])])
        shape = DenseArrayBase.from_list(i64, list(result.get_shape()))
        return self.put(
            memref.ExpandShapeOp.build(
                operands=[terms, []],
                result_types=[result],
                properties={"reassociation": every, "static_output_shape": shape},
            )
        ).result

    def scaled(self, first: Offset, piece: Offset, rows: int) -> SSAValue:
        """Scaled inputs of one piece: row, group, term of the group."""
        return self.split(self.view(self.op.scaled, [first, piece, 0], [rows, 1, self.whole], (0, 2)), GROUP)

    def plain_rows(self) -> SSAValue:
        """How many rows are to be multiplied plainly: zero or something else."""
        total = self.put(memref.AllocaOp.get(f32, 64, [])).memref
        self.clear(total)
        on = self.body(2)
        on.end([on.add(on.block.args[1], on.block.args[0])])
        self.generic([self.row(PLAIN, 0, self.count)], [total], [_map(1, 0), AffineMap(1, 0, ())], 0, on.block)
        return total

    # Products

    def multiply(self, low: int, high: int, rows: int, total: SSAValue) -> None:
        """Rows from `low` to `high`, `rows` at a time, with all columns."""
        with self.parallel([((high - low), rows), (self.blocks, 1)]) as (some, block):
            first = self.plus(some, low)
            if self.fill is None:  # what is added to is there only once
                self.if_any(total, first, block, rows)
            for start, end, size in _even(rows, MOST_ROWS, LEAST_ROWS):
                with self.loop(start, end, size) as row:
                    self.tile(self.plus(first, row), block, size)
            if self.fill is not None:
                self.if_any(total, first, block, rows)

    def tile(self, first: Offset, block: Offset, rows: int) -> None:
        """As many rows as accumulate in registers, with one block of columns."""
        part = self.put(memref.AllocaOp.get(f32, 64, [rows, self.lanes])).memref
        if self.pieces == 1:
            y = self.start(first, block, rows)
            self.clear(part)
            self.add_terms(first, block, 0, rows, part)
            self.add_scaled(part, first, block, rows, y, sums=True)
        else:
            whole = self.put(memref.AllocaOp.get(f32, 64, [rows, self.lanes])).memref
            self.clear(whole)
            with self.loop(0, self.pieces) as piece:
                self.clear(part)
                self.add_terms(first, block, piece, rows, part)
                on = self.body(4)
                value, of_row, of_column, old = on.block.args
                on.end([on.add(old, on.sub(value, on.add(of_row, of_column)))])
                ins = [part, *self.sums(first, block, piece, rows)]
                self.generic(ins, [whole], [_map(2, 0, 1), _map(2, 0), _map(2, 1), _map(2, 0, 1)], 2, on.block)
            y = self.start(first, block, rows)
            self.add_scaled(whole, first, block, rows, y, sums=False)
        self.write_epilogue(first, block, rows, y)

    def start(self, first: Offset, block: Offset, rows: int) -> SSAValue:
        """Some rows of one block of columns of the output, with what is added to."""
        y = self.view(self.op.output, [first, block, 0], [rows, 1, self.lanes], (0, 2))
        if self.fill is not None:
            self.put(FillOp(list(self.fill.inputs), [y], []))
        return y

    def add_terms(self, first: Offset, block: Offset, piece: Offset, rows: int, part: SSAValue) -> None:
        """part += the terms of one piece: pairs with what is to be taken off, and single ones."""
        x = self.scaled(first, piece, rows)
        w = self.view(self.op.weights, [block, self.times(piece, self.whole), 0], [1, self.whole, self.lanes], (1, 2))
        on = self.body(2 * GROUP + 1)
        a, b, acc = on.block.args[:GROUP], on.block.args[GROUP : 2 * GROUP], on.block.args[2 * GROUP]
        acc = on.add(acc, on.put(arith.MulfOp(on.add(b[1], a[0]), on.add(b[0], a[1]))))
        acc = on.add(acc, on.put(arith.MulfOp(a[2], b[2])))
        turned = on.put(arith.NegfOp(on.sub(b[4], a[3])))
        acc = on.add(acc, on.put(arith.MulfOp(turned, on.sub(b[3], a[4]))))
        on.end([on.add(acc, on.put(arith.MulfOp(a[5], b[5])))])
        # rows, lanes, groups
        reads = [AffineMap(3, 0, (_D[0], _D[2], AffineConstantExpr(s))) for s in range(GROUP)]
        columns = [AffineMap(3, 0, (_D[2] * GROUP + s, _D[1])) for s in range(GROUP)]
        self.generic([x] * GROUP + [w] * GROUP, [part], [*reads, *columns, _map(3, 0, 1)], 2, on.block)

    def sums(self, first: Offset, block: Offset, piece: Offset, rows: int) -> list[SSAValue]:
        """Of the products of pairs: per row, per column."""
        at = self.plus(piece, self.pieces * self.whole)
        columns = self.view(self.op.weights, [block, at, 0], [1, 1, self.lanes], (2,))
        return [self.row(self.plus(piece, SUMS), first, rows), columns]

    def add_scaled(self, whole: SSAValue, first: Offset, block: Offset, rows: int, y: SSAValue, *, sums: bool) -> None:
        """y += the sum of all terms without the factors of its row and column, unless the row is multiplied plainly.
        `sums`: take those of pairs off."""
        last = self.pieces * (self.whole + 1)
        factor = self.view(self.op.weights, [block, last, 0], [1, 1, self.lanes], (2,))
        ins = [whole, self.row(UNSCALE, first, rows), factor, self.row(PLAIN, first, rows)]
        by_row, by_lane, both = _map(2, 0), _map(2, 1), _map(2, 0, 1)
        maps = [both, by_row, by_lane, by_row]
        if sums:
            ins += self.sums(first, block, 0, rows)
            maps += [by_row, by_lane]
        on = self.body(len(ins) + 1)
        value, unscale, unscale_column, plain, *taken_off, old = on.block.args
        if taken_off:
            value = on.sub(value, on.add(taken_off[0], taken_off[1]))
        # one after the other: the product of the two may be less than any float
        value = on.put(arith.MulfOp(value, unscale))
        new = on.add(old, on.put(arith.MulfOp(value, unscale_column)))
        odd = on.put(arith.CmpfOp(plain, on.constant(0.0), "une"))
        on.end([on.put(arith.SelectOp(odd, old, new))])
        self.generic(ins, [y], [*maps, both], 2, on.block)

    def if_any(self, total: SSAValue, first: Offset, block: Offset, rows: int) -> None:
        """Multiply plainly what is not to be scaled."""
        any_row = self.nonzero(self.put(memref.LoadOp.get(total, [])).res)
        self.into.append(Block())
        with self.loop(0, rows) as row:
            at = self.plus(first, row)
            places = [self.index(PLAIN), at if isinstance(at, SSAValue) else self.index(at)]
            odd = self.nonzero(self.put(memref.LoadOp.get(self.op.rows, places)).res)
            self.into.append(Block())
            self.plain_row(at, block)
            if self.fill is not None:
                self.write_epilogue(at, block, 1, self.view(self.op.output, [at, block, 0], [1, 1, self.lanes], (0, 2)))
            self.end_if(odd)
        self.end_if(any_row)

    def nonzero(self, value: SSAValue) -> SSAValue:
        zero = self.put(arith.ConstantOp(FloatAttr(0.0, f32))).result
        return self.put(arith.CmpfOp(value, zero, "une")).result

    def end_if(self, condition: SSAValue) -> None:
        """Close the branch that is being written."""
        self.put(scf.YieldOp())
        then = Region(self.into.pop())
        self.put(scf.IfOp(condition, [], then))

    def plain_row(self, row: Offset, block: Offset) -> None:
        """y[row, block] += the plain product."""
        self.start(row, block, 1)
        y = self.view(self.op.output, [row, block, 0], [1, 1, self.lanes], (2,))
        factor_row = self.pieces * self.whole + self.pieces
        factor = self.view(self.op.weights, [block, factor_row, 0], [1, 1, self.lanes], (2,))
        with self.loop(0, self.pieces) as piece:
            x = self.view(self.op.input, [row, self.times(piece, self.depth)], [1, self.depth], (1,))
            place = [block, self.times(piece, self.whole), 0]
            w = self.view(self.op.weights, place, [1, self.depth, self.lanes], (1, 2))
            on = self.body(4)
            a, b, unscale, acc = on.block.args
            weight = on.put(arith.MulfOp(b, unscale))
            on.end([on.add(acc, on.put(arith.MulfOp(a, weight)))])
            maps = [_map(2, 1), _map(2, 1, 0), _map(2, 0), _map(2, 0)]  # lanes, terms
            self.generic([x, w, factor], [y], maps, 1, on.block, cold=True)

    def write_epilogue(self, first: Offset, block: Offset, rows: int, y: SSAValue) -> None:
        """The elementwise ops that follow, on some rows and one block of columns."""
        for op in self.epilogue:
            self.write_elementwise(op, first, block, rows, y)

    def write_elementwise(self, op: GenericOp, first: Offset, block: Offset, rows: int, y: SSAValue) -> None:
        dest, sizes = [first, block, 0], [rows, 1, self.lanes]
        places: list[AffineExpr] = [_D[0], AffineExpr.constant(0), _D[1]]
        inputs: list[SSAValue] = []
        maps: list[AffineMap] = []
        for value, attr in zip(op.inputs, op.indexing_maps.data, strict=False):
            dims = [e.position for e in attr.data.results if isinstance(e, AffineDimExpr)]
            if isinstance(value.type, MemRefType):
                value = self.view(value, [dest[k] for k in dims], [sizes[k] for k in dims], range(len(dims)))
            inputs.append(value)
            maps.append(AffineMap(2, 0, tuple(places[k] for k in dims)))
        on = Arithmetic([element_type(v) for v in (*inputs, y)], self.location)
        on.end([on.inline(op.body.block, on.block.args)])
        self.generic(inputs, [y], [*maps, AffineMap.identity(2)], 2, on.block)

    def body(self, count: int) -> Arithmetic:
        """Arithmetic on so many numbers."""
        return Arithmetic([f32] * count, self.location)


def _map(loops: int, *dims: int) -> AffineMap:
    """The map that picks loops."""
    return AffineMap(loops, 0, tuple(_D[d] for d in dims))


def _even(count: int, most: int, least: int) -> list[tuple[int, int, int]]:
    """Parts of one size from `least` to `most` that cover `count`, and what is left: first, end, size."""
    if count <= most:
        return [(0, count, count)]
    sizes = range(max(least, 1), most + 1)
    size = max(sizes, key=lambda n: (count % n == 0, count % n, n))
    whole = count // size * size
    return [(0, whole, size), *([(whole, count, count - whole)] if whole < count else [])]
