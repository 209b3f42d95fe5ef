"""Rows in order, stably: by counting for short ones, by radix for long ones; rows that are in order are only read.

    keys   3 1 2 0    before each   3 1 2 0  (how many keys come before it)   -->  places 3 1 2 0
    keys   0x31 0x12 0x32   by the lower digit   0x31 0x12 0x32   by the upper   0x12 0x31 0x32

Counting is n^2 comparisons without a branch, in vectors; a radix pass moves every element once per digit, and digits
that all keys share are skipped. The keys are integers (`order_keys`), elements follow by their places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.order_keys import key_bits, key_type, order_keys
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.row_loops import RowLoops
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain

SHORT = 128  # longer rows are sorted by radix
_DIGIT = 8
Put = Callable[[SSAValue, SSAValue], None]


@dataclass(frozen=True)
class RowOrder:
    """Sorts rows of `n` keys, which are elements of dtype `t`; `name` tells its scratch from another's."""

    c: Conversion
    n: Dim
    t: DType
    name: str = "sort"

    @property
    def _short(self) -> bool:
        return isinstance(self.n, int) and self.n <= SHORT

    @property
    def _packed(self) -> bool:
        """Key and place share 64 bits."""
        return key_bits(self.t) <= 32

    @property
    def _digits(self) -> int:
        return -(-key_bits(self.t) // _DIGIT)

    def scratch(self, others: tuple[Dim, ...]) -> dict[str, SSAValue]:
        """Tensors that `write` needs."""
        c = self.c
        if self._short:
            return {f"{self.name}.{what}": c.empty((*others, self.n), I64) for what in ("before", "items")}
        double = c.dims.mul(self.n, 2)
        found = {
            f"{self.name}.items": c.empty((*others, double), I64),
            f"{self.name}.counts": c.empty((*others, self._digits << _DIGIT), I64),
        }
        if not self._packed:
            found[f"{self.name}.places"] = c.empty((*others, double), I64)
        return found

    def write(self, r: RowLoops, keys: str | SSAValue, active: SSAValue, put: Put) -> None:
        """`put(p, i)` for each element, where `p` is its place in order and `i` its place before; all if `active`."""
        size = r.c.dims.value(self.n)
        count = r.when(active, size)
        if self._short:
            self._by_counting(r, keys, count, size, put)
        else:
            self._by_radix(r, keys, count, put)

    def _by_counting(self, r: RowLoops, keys: str | SSAValue, count: SSAValue, size: SSAValue, put: Put) -> None:
        """Keys and places in one number are all different, and one comparison orders two of them."""
        before, items = f"{self.name}.before", f"{self.name}.items"
        place_bits = SHORT.bit_length() - 1
        low, fits = self._least(r, keys, count, 63 - place_bits)
        r.each(count, lambda i: r.store(before, r.const(0), i))

        def pack(i: SSAValue) -> None:
            item = r.op(arith.ShLIOp, r.sub(self._wide(r, keys, i), low), r.const(place_bits))
            r.store(items, r.op(arith.OrIOp, item, r.b.from_index(i, I64)), i)

        r.each(r.when(fits, count), pack)

        def against(ahead: Callable[[SSAValue, SSAValue], SSAValue]) -> Callable[[SSAValue], None]:
            def all_with(j: SSAValue) -> None:
                def one(i: SSAValue) -> None:
                    r.store(before, r.add(r.load(before, i), r.b.op(arith.ExtUIOp, ahead(j, i), i64)), i)

                r.each(size, one)

            return all_with

        def by_item(j: SSAValue, i: SSAValue) -> SSAValue:
            return r.b.compare("lt", r.load(items, j), r.load(items, i), I64)

        def by_key(j: SSAValue, i: SSAValue) -> SSAValue:
            x, y = r.load(keys, j), r.load(keys, i)
            tie = r.b.logical_and(r.b.compare("eq", x, y, I64), r.b.index_compare("lt", j, i))
            return r.b.logical_or(r.b.compare("lt", x, y, I64), tie)

        r.each(r.when(fits, count), against(by_item))
        if not self._packed:
            r.each(r.when(r.b.logical_not(fits), count), against(by_key))
        r.each(count, lambda i: put(r.b.to_index(r.load(before, i)), i))

    def _wide(self, r: RowLoops, keys: str | SSAValue, i: SSAValue) -> SSAValue:
        key = r.load(keys, i)
        return key if key_type(self.t) is I64 else r.b.op(arith.ExtSIOp, key, i64)

    def _least(self, r: RowLoops, keys: str | SSAValue, count: SSAValue, bits: int) -> tuple[SSAValue, SSAValue]:
        """A number not above any key, and whether the keys less that have at most `bits` bits."""
        if self._packed:
            return r.const(-1 << (key_bits(self.t) - 1)), r.b.index_compare("eq", count, count)
        low, high = r.fold(
            count,
            [r.const(I64.limits()[1]), r.const(I64.limits()[0])],
            lambda i, low, high: [
                r.op(arith.MinSIOp, low, r.load(keys, i)), r.op(arith.MaxSIOp, high, r.load(keys, i))
            ],
        )  # fmt: skip
        return low, r.b.emit(arith.CmpiOp(r.sub(high, low), r.const(1 << bits), "ult")).results[0]

    def _by_radix(self, r: RowLoops, keys: str | SSAValue, count: SSAValue, put: Put) -> None:
        items, counts, places = f"{self.name}.items", f"{self.name}.counts", f"{self.name}.places"
        low = 32 if self._packed else 0
        some = r.b.index_compare("gt", count, r.index(0))
        r.each(r.when(some, r.index(self._digits << _DIGIT)), lambda i: r.store(counts, r.const(0), i))

        def digit(item: SSAValue, shift: SSAValue, base: SSAValue) -> SSAValue:
            found = r.op(arith.AndIOp, r.op(arith.ShRUIOp, item, shift), r.const((1 << _DIGIT) - 1))
            return r.add(r.b.to_index(found), base)

        def fill(i: SSAValue) -> None:
            item = r.sub(self._wide(r, keys, i), least)
            for d in range(self._digits):
                at = digit(item, r.const(d * _DIGIT), r.index(d << _DIGIT))
                r.store(counts, r.add(r.load(counts, at), r.const(1)), at)
            if self._packed:
                item = r.op(arith.OrIOp, r.op(arith.ShLIOp, item, r.const(32)), r.b.from_index(i, I64))
            else:
                r.store(places, r.b.from_index(i, I64), i)
            r.store(items, item, i)

        least, _ = self._least(r, keys, count, 63)
        r.each(count, fill)

        def sort_by(d: SSAValue, source: SSAValue, target: SSAValue) -> list[SSAValue]:
            shift = r.add(r.op(arith.MuliOp, r.b.from_index(d, I64), r.const(_DIGIT)), r.const(low))
            base = r.op(arith.ShLIOp, d, r.index(_DIGIT))
            first = r.load(counts, digit(r.load(items, source), shift, base))
            same = r.b.compare("eq", first, r.b.from_index(count, I64), I64)
            trips = r.b.select(same, r.index(0), count)

            def start(v: SSAValue, sum_: SSAValue) -> list[SSAValue]:
                at = r.add(base, v)
                here = r.load(counts, at)
                r.store(counts, sum_, at)
                return [r.add(sum_, here)]

            values = r.b.select(same, r.index(0), r.index(1 << _DIGIT))
            r.fold(values, [r.const(0)], start)

            def move(i: SSAValue) -> None:
                item = r.load(items, r.add(source, i))
                at = digit(item, shift, base)
                place = r.load(counts, at)
                r.store(counts, r.add(place, r.const(1)), at)
                to = r.add(target, r.b.to_index(place))
                r.store(items, item, to)
                if not self._packed:
                    r.store(places, r.load(places, r.add(source, i)), to)

            r.each(trips, move)
            return [r.b.select(same, source, target), r.b.select(same, target, source)]

        size = r.c.dims.value(self.n)
        end, _ = r.fold(r.when(some, r.index(self._digits)), [r.index(0), size], sort_by)

        def last(i: SSAValue) -> None:
            at = r.add(end, i)
            place = (
                r.op(arith.AndIOp, r.load(items, at), r.const((1 << 32) - 1)) if self._packed else r.load(places, at)
            )
            put(i, r.b.to_index(place))

        r.each(count, last)


def in_order(r: RowLoops, keys: str | SSAValue, size: SSAValue, key: DType) -> tuple[SSAValue, SSAValue]:
    """Whether a row never falls, and whether it always does."""
    pairs = r.op(arith.MaxSIOp, r.sub(size, r.index(1)), r.index(0))
    yes = r.b.index_compare("eq", r.index(0), r.index(0))

    def step(i: SSAValue, rises: SSAValue, falls: SSAValue) -> list[SSAValue]:
        down = r.b.compare("gt", r.load(keys, i), r.load(keys, r.add(i, r.index(1))), key)
        return [r.b.logical_and(rises, r.b.logical_not(down)), r.b.logical_and(falls, down)]

    rises, falls = r.fold(pairs, [yes, yes], step)
    return rises, r.b.logical_and(falls, r.b.logical_not(rises))


def last_dim(c: Conversion, x: Tensor, d: int) -> tuple[Tensor, list[int]]:
    """`x` with dim `d` made the last, and the permutation that puts it back."""
    dims = [*(i for i in range(x.rank) if i != d), d]
    return c.plain(c.permuted(x, dims)), [dims.index(i) for i in range(x.rank)]


def sort_rows(c: Conversion, x: Tensor, d: int, *, descending: bool) -> tuple[Tensor, Tensor]:
    """Values in order along `d`, and where each stood."""
    x, back = last_dim(c, x, d)
    keys = order_keys(c, x, descending=descending).value
    others, n = x.shape[:-1], x.shape[-1]
    order = RowOrder(c, n, x.dtype)
    r = RowLoops(
        c, {"values": c.empty(x.shape, x.dtype), "places": c.empty(x.shape, I64), **order.scratch(others)}
    )  # fmt: skip
    size = c.dims.value(n)

    def put(p: SSAValue, i: SSAValue) -> None:
        r.store("values", r.load(x.value, i), p)
        r.store("places", r.b.from_index(i, I64), p)

    def row() -> None:
        rises, falls = in_order(r, keys, size, key_type(x.dtype))
        r.each(r.when(rises, size), lambda i: put(i, i))
        top = r.sub(size, r.index(1))
        r.each(r.when(falls, size), lambda i: put(i, r.sub(top, i)))
        order.write(r, keys, r.b.logical_not(r.b.logical_or(rises, falls)), put)

    values, places, *_ = r.rows(others, row)
    return (
        c.permuted(plain(values, x.dtype, x.shape), back),
        c.permuted(plain(places, I64, x.shape), back),
    )
