"""A stable merge sort in loops over single elements, for `tm_tensor.sort` whose region is a total order.

    rows 3 1 2 0    places 0 1 2 3   -- runs of 1 -->  1 0 | 3 2   -- runs of 2 -->  3 1 2 0    elements by their places

The op means passes of a bubble sort. With a region that keeps equal neighbours and orders all others they end in the
one stable order, so that any stable sort gives the same. The floats' `ole` and `oge` do so in rows without a NaN: with
one, the loops of this sort run no step, and those of the bubble sort run instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, math, tensor
from xdsl.dialects.builtin import AnyFloat, IndexType, i1, i64
from xdsl.ir import Block, Operation, SSAValue

from mlc.dialects.tm_tensor.ops import SortOp, YieldOp
from mlc.lowering.linalg.build import At, element_type

Values = list[SSAValue]
Loops = Callable[[At, Sequence[SSAValue], Values, Callable[[At, Values, Values], Values]], Values]
_TOTAL = {"arith.cmpi": ("sle", "sge", "ule", "uge"), "arith.cmpf": ("ole", "oge")}


def compared(op: SortOp) -> int | None:
    """Which operand the region orders by, keeping equal elements; None when it is not just that."""
    block: Block = op.body.block
    test, last = block.first_op, block.last_op
    if test is None or test.next_op is not last or not isinstance(last, YieldOp):
        return None
    if not isinstance(test, (arith.CmpiOp, arith.CmpfOp)) or last.arguments[0] is not test.result:
        return None
    predicates = (
        arith.CMPI_COMPARISON_OPERATIONS if isinstance(test, arith.CmpiOp) else arith.CMPF_COMPARISON_OPERATIONS
    )
    if predicates[test.predicate.value.data] not in _TOTAL[test.name]:
        return None
    for i in range(0, len(block.args), 2):
        if {test.lhs, test.rhs} == {block.args[i], block.args[i + 1]}:
            return i // 2
    return None


def no_nan(at: At, x: SSAValue, sizes: Sequence[SSAValue], loops: Loops) -> SSAValue:
    """Whether no element of `x` is NaN."""
    yes = at.add(arith.ConstantOp.from_int_and_width(1, i1)).result
    if not isinstance(element_type(x), AnyFloat):
        return yes

    def look(inner: At, i: Values, carried: Values) -> Values:
        value = _extract(inner, x, i)
        number = inner.add(arith.CmpfOp(value, value, "ord")).result
        return [inner.add(arith.AndIOp(carried[0], number)).result]

    return loops(at, sizes, [yes], look)[0]


class MergeSort:
    """Sorts the rows along `d` of tensors of sizes `sizes`; `keep(at, i, j)`: element i may stand before element j."""

    def __init__(self, at: At, d: int, sizes: Sequence[SSAValue], loops: Loops) -> None:
        self.d, self.sizes, self.loops = d, sizes, loops
        self.size, self.one, self.zero = sizes[d], at.index(1), at.index(0)
        less = _op(at, arith.MaxSIOp, _op(at, arith.SubiOp, self.size, self.one), self.zero)
        zeros = at.add(math.CountLeadingZerosOp(at.add(arith.IndexCastOp(less, i64)).result)).result
        digits = _op(at, arith.SubiOp, at.scalar(64, i64), zeros)
        self.levels = _index(at, digits)
        double = _op(at, arith.AddiOp, self.size, self.size)
        self.places = at.empty([double], i64)

    def run(self, at: At, sources: Values, active: SSAValue, keep: Callable[[At, Values, Values], SSAValue]) -> Values:
        """`sources` in order if `active`, otherwise as they are."""
        rows = [*self.sizes[: self.d], *self.sizes[self.d + 1 :]]
        once = _op(at, arith.SelectOp, active, self.one, self.zero)

        def row(inner: At, i: Values, carried: Values) -> Values:
            at_row = i[1:]

            def here(k: SSAValue) -> Values:
                return [*at_row[: self.d], k, *at_row[self.d :]]

            def number(b: At, k: Values, now: Values) -> Values:
                return [_insert(b, b.add(arith.IndexCastOp(k[0], i64)).result, now[0], k)]

            (places,) = self.loops(inner, [self.size], [carried[-1]], number)

            def level(b: At, k: Values, now: Values) -> Values:
                return [*self._level(b, k[0], now, lambda c, x, y: keep(c, here(x), here(y))), now[2], now[1]]

            places, start, _ = self.loops(inner, [self.levels], [places, self.zero, self.size], level)

            def fetch(b: At, k: Values, now: Values) -> Values:
                place = _index(b, _extract(b, places, [_op(b, arith.AddiOp, start, k[0])]))
                return [
                    _insert(b, _extract(b, s, here(place)), t, here(k[0])) for s, t in zip(sources, now, strict=True)
                ]

            return [*self.loops(inner, [self.size], carried[:-1], fetch), places]

        return self.loops(at, [once, *rows], [*sources, self.places], row)[:-1]

    def _level(
        self, at: At, level: SSAValue, now: Values, keep: Callable[[At, SSAValue, SSAValue], SSAValue]
    ) -> Values:
        """Runs of 2^level places at `source` merged to `target`."""
        places, source, target = now
        width = _op(at, arith.ShLIOp, self.one, level)
        double = _op(at, arith.AddiOp, width, width)
        last = _op(at, arith.SubiOp, self.size, self.one)
        up = _op(at, arith.SubiOp, _op(at, arith.AddiOp, self.size, double), self.one)
        blocks = _op(at, arith.ShRUIOp, up, _op(at, arith.AddiOp, level, self.one))

        def block(b: At, k: Values, carried: Values) -> Values:
            start = _op(b, arith.MuliOp, k[0], double)
            middle = _op(b, arith.MinSIOp, _op(b, arith.AddiOp, start, width), self.size)
            end = _op(b, arith.MinSIOp, _op(b, arith.AddiOp, start, double), self.size)
            last_left = _op(b, arith.SubiOp, middle, self.one)

            def place(e: At, n: Values, state: Values) -> Values:
                written, left, right = state
                i, j = _op(e, arith.MinSIOp, left, last_left), _op(e, arith.MinSIOp, right, last)
                x, y = (_extract(e, written, [_op(e, arith.AddiOp, source, v)]) for v in (i, j))
                empty = e.add(arith.CmpiOp(left, middle, "sge")).result
                ahead = _op(
                    e,
                    arith.XOrIOp,
                    keep(e, _index(e, x), _index(e, y)),
                    e.add(arith.ConstantOp.from_int_and_width(1, i1)).result,
                )
                inside = e.add(arith.CmpiOp(right, end, "slt")).result
                takes = _op(e, arith.AndIOp, inside, _op(e, arith.OrIOp, empty, ahead))
                to = _op(e, arith.AddiOp, _op(e, arith.AddiOp, target, start), n[0])
                step = _op(e, arith.SelectOp, takes, self.one, self.zero)
                return [
                    _insert(e, _op(e, arith.SelectOp, takes, y, x), written, [to]),
                    _op(e, arith.AddiOp, left, _op(e, arith.SubiOp, self.one, step)),
                    _op(e, arith.AddiOp, right, step),
                ]

            count = _op(b, arith.SubiOp, end, start)
            return self.loops(b, [count], [carried[0], start, middle], place)[:1]

        return self.loops(at, [blocks], [places], block)


def _op(at: At, cls: type[Operation], *args: SSAValue) -> SSAValue:
    return at.add(cls(*args)).results[0]


def _index(at: At, value: SSAValue) -> SSAValue:
    return at.add(arith.IndexCastOp(value, IndexType())).result


def _extract(at: At, value: SSAValue, indices: Sequence[SSAValue]) -> SSAValue:
    return at.add(tensor.ExtractOp(value, list(indices), element_type(value))).result


def _insert(at: At, scalar: SSAValue, dest: SSAValue, indices: Sequence[SSAValue]) -> SSAValue:
    return at.add(tensor.InsertOp(scalar, dest, list(indices))).result
