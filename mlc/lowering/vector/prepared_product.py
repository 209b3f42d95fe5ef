"""A product with its epilogue: its fill before, the elementwise ops behind it, and rows that are multiplied plainly.

What `expand_winograd_matmul.py` and `expand_split_matmul.py` have in common in this.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import FloatAttr, MemRefType, f32
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.dialects.linalg_ext.prepared_matmul import PLAIN, UNSCALE, PreparedMatmulOp
from mlc.lowering.vector.loop_writer import Arithmetic, Offset, element_type, shape_of
from mlc.lowering.vector.prepared_rows import D, PreparedRows, loops_map

_VIEWS = (memref.CastOp, memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp)


def fill_before(op: PreparedMatmulOp) -> FillOp | None:
    """The fill right before `op` of what it adds to."""
    before = op.prev_op
    while isinstance(before, (arith.ConstantOp, *_VIEWS)):
        before = before.prev_op
    return before if isinstance(before, FillOp) and list(before.outputs) == [op.output] else None


def epilogue_behind(op: PreparedMatmulOp) -> list[GenericOp]:
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


def _is_pointwise(after: GenericOp, op: PreparedMatmulOp) -> bool:
    if list(after.outputs) != [op.output] or {*after.inputs} & {*op.outputs}:
        return False
    maps = [m.data for m in after.get_indexing_maps()]
    bare = all(isinstance(e, AffineDimExpr) for m in maps for e in m.results)
    if not bare or maps[-1] != AffineMap.identity(len(shape_of(op.output))):
        return False
    return not any(isinstance(inner, IndexOp | memref.LoadOp) for inner in after.body.block.ops)


class PreparedProduct(PreparedRows):
    """One product with what stands around it."""

    def __init__(self, op: PreparedMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        super().__init__(op, fill or op, epilogue[-1] if epilogue else op, epilogue)
        self.result, self.fill, self.epilogue = op.output, fill, epilogue

    @abstractmethod
    def plain_row(self, row: Sequence[Offset], block: Offset) -> None:
        """y[row, block] += the plain product."""

    def output(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> SSAValue:
        """Some rows of one block of columns of the output."""
        place, sizes = [first[0], block, *first[1:], 0], [rows[0], 1, *rows[1:], self.lanes]
        return self.view(self.result, place, sizes, self.kept_outputs)

    def sum_maps(self) -> tuple[AffineMap, AffineMap, AffineMap]:
        """From loops over rows and lanes: rows, lanes, both."""
        loops = self.inner + 1
        return loops_map(loops, *range(self.inner)), loops_map(loops, self.inner), AffineMap.identity(loops)

    def start(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> SSAValue:
        """Some rows of one block of columns of the output, with what is added to."""
        y = self.output(first, block, rows)
        if self.fill is not None:
            self.put(FillOp(list(self.fill.inputs), [y], []))
        return y

    def add_scaled(
        self,
        whole: SSAValue,
        factor: SSAValue,
        first: Sequence[Offset],
        rows: Sequence[int],
        y: SSAValue,
        taken_off: Sequence[SSAValue] = (),
    ) -> None:
        """y += the sum of all terms without the factors of its row and column (`factor`: one by the latter), unless the
        row is multiplied plainly. `taken_off`: what is taken off before, per row and per column."""
        by_row, by_lane, both = self.sum_maps()
        ins = [whole, self.row(UNSCALE, first, rows), factor, self.row(PLAIN, first, rows), *taken_off]
        maps = [both, by_row, by_lane, by_row, *([by_row, by_lane] if taken_off else [])]
        on = self.body(len(ins) + 1)
        value, unscale, unscale_column, plain, *more, old = on.block.args
        if more:
            value = on.sub(value, on.add(more[0], more[1]))
        # one after the other: the product of the two may be less than any float
        value = on.put(arith.MulfOp(value, unscale))
        new = on.add(old, on.put(arith.MulfOp(value, unscale_column)))
        odd = on.put(arith.CmpfOp(plain, on.constant(0.0), "une"))
        on.end([on.put(arith.SelectOp(odd, old, new))])
        self.generic(ins, [y], [*maps, both], self.inner + 1, on.block)

    def if_any(self, total: SSAValue, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> None:
        """Multiply plainly what is not to be scaled."""
        any_row = self.nonzero(self.put(memref.LoadOp.get(total, [])).res)
        with self.only_if(any_row), ExitStack() as stack:
            at = [self.plus(n, stack.enter_context(self.loop(0, k))) for n, k in zip(first, rows, strict=True)]
            self.if_plain(at, block)

    def if_plain(self, at: Sequence[Offset], block: Offset) -> None:
        """Multiply a row plainly, if it is to be."""
        places = [n if isinstance(n, SSAValue) else self.index(n) for n in (PLAIN, *at)]
        with self.only_if(self.nonzero(self.put(memref.LoadOp.get(self.numbers_of_rows, places)).res)):
            self.plain_row(at, block)
            if self.fill is not None:
                one = [1] * len(at)
                self.write_epilogue(at, block, one, self.output(at, block, one))

    def nonzero(self, value: SSAValue) -> SSAValue:
        zero = self.put(arith.ConstantOp(FloatAttr(0.0, f32))).result
        return self.put(arith.CmpfOp(value, zero, "une")).result

    def write_epilogue(self, first: Sequence[Offset], block: Offset, rows: Sequence[int], y: SSAValue) -> None:
        """The elementwise ops that follow, on some rows and one block of columns."""
        for op in self.epilogue:
            self.write_elementwise(op, first, block, rows, y)

    def write_elementwise(
        self, op: GenericOp, first: Sequence[Offset], block: Offset, rows: Sequence[int], y: SSAValue
    ) -> None:
        dest, sizes = [first[0], block, *first[1:], 0], [rows[0], 1, *rows[1:], self.lanes]
        places: list[AffineExpr] = [AffineExpr.constant(0)] * len(dest)
        for loop, dim in enumerate(self.kept_outputs):
            places[dim] = D[loop]
        inputs: list[SSAValue] = []
        maps: list[AffineMap] = []
        for value, attr in zip(op.inputs, op.indexing_maps.data, strict=False):
            dims = [e.position for e in attr.data.results if isinstance(e, AffineDimExpr)]
            if isinstance(value.type, MemRefType):
                value = self.view(value, [dest[k] for k in dims], [sizes[k] for k in dims], range(len(dims)))
            inputs.append(value)
            maps.append(AffineMap(len(self.kept_outputs), 0, tuple(places[k] for k in dims)))
        on = Arithmetic([element_type(v) for v in (*inputs, y)], self.location)
        on.end([on.inline(op.body.block, on.block.args)])
        loops = len(self.kept_outputs)
        self.generic(inputs, [y], [*maps, AffineMap.identity(loops)], loops, on.block)


def even_parts(count: int, most: int, least: int) -> list[tuple[int, int, int]]:
    """Parts of one size from `least` to `most` that cover `count`, and what is left: first, end, size."""
    if count <= most:
        return [(0, count, count)]
    sizes = range(max(least, 1), most + 1)
    size = max(sizes, key=lambda n: (count % n == 0, count % n, n))
    whole = count // size * size
    return [(0, whole, size), *([(whole, count, count - whole)] if whole < count else [])]
