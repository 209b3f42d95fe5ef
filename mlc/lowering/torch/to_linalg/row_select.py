"""The element at one place of a row's order, and the first few, without sorting the row.

    keys 7 1 5 3, place 1:   within 1..7, how many are <= 4?  2   -->  within 1..4, <= 2?  1   -->  3..4 …  3

The key is found by halving the range of keys and counting, in vectors and without a branch. In a long row the keys that
are left after a few halvings are moved together, so that the next ones count fewer. Rows in order are only looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.order_keys import key_bits, key_of_nan, key_type, order_keys
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.row_loops import RowLoops
from mlc.lowering.torch.to_linalg.row_sort import SHORT, Put, RowOrder, in_order, last_dim
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain

LONG = 2048  # keys of longer rows are moved together after so many halvings:
_HALVINGS = 8
# up to so many first elements are held in order while a row is read that is at least so many times as long
_FEW, _MANY_TIMES = 128, 64


@dataclass(frozen=True)
class RowSelection:
    """Finds the key at a place of the order of `n` keys, which are elements of dtype `t`."""

    c: Conversion
    n: Dim
    t: DType

    @property
    def _long(self) -> bool:
        return not isinstance(self.n, int) or self.n > LONG

    @property
    def _counts(self) -> DType:
        """What holds a count of keys: as wide as they are, where that suffices."""
        return key_type(self.t) if isinstance(self.n, int) and self.n < 1 << 31 else I64

    def scratch(self, others: tuple[Dim, ...]) -> dict[str, SSAValue]:
        """Tensors that `find` needs."""
        return {"left": self.c.empty((*others, self.n), key_type(self.t))} if self._long else {}

    def find(self, r: RowLoops, keys: SSAValue, place: SSAValue, active: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The key at `place` of the order and how many equal ones come before it; neither is of use unless `active`."""
        key = key_type(self.t)
        all_ = r.when(active, r.c.dims.value(self.n))
        least, most = r.fold(
            all_,
            [r.const(v, key) for v in reversed(key.limits())],
            lambda i, least, most: [
                r.b.minimum(least, r.load(keys, i), key), r.b.maximum(most, r.load(keys, i), key)
            ],
        )  # fmt: skip
        if not self._long:
            # the count has trips of its own: LLVM takes loops apart whose inner one runs under a condition of the outer
            steps = r.when(active, r.index(key_bits(self.t)))
            key_found, _ = self._halved(r, keys, steps, [least, most], r.c.dims.value(self.n), place)
            return key_found, r.sub(place, self.count(r, keys, "lt", key_found, all_))
        r.each(all_, lambda i: r.store("left", r.load(keys, i), i))

        def round_(_: SSAValue, least: SSAValue, most: SSAValue, count: SSAValue, place: SSAValue) -> list[SSAValue]:
            open_ = r.b.compare("lt", least, most, key)
            least, most = self._halved(r, "left", r.when(open_, r.index(_HALVINGS)), [least, most], count, place)

            def keep(i: SSAValue, to: SSAValue, below: SSAValue) -> list[SSAValue]:
                here = r.load("left", i)
                small, large = r.b.compare("lt", here, least, key), r.b.compare("gt", here, most, key)
                r.store("left", here, to)
                kept = r.b.logical_not(r.b.logical_or(small, large))
                return [r.add(to, r.one_if(kept)), r.add(below, r.one_if(small))]

            kept, below = r.fold(r.when(open_, count), [r.index(0), r.index(0)], keep)
            return [least, most, r.b.select(open_, kept, count), r.sub(place, below)]

        rounds = -(-key_bits(self.t) // _HALVINGS)
        key_found, _, _, rank = r.fold(rounds, [least, most, all_, place], round_)
        return key_found, rank

    def _halved(
        self,
        r: RowLoops,
        keys: str | SSAValue,
        steps: SSAValue,
        bounds: list[SSAValue],
        count: SSAValue,
        place: SSAValue,
    ) -> list[SSAValue]:
        """Smaller bounds of the key at `place` among `count` keys."""
        key = key_type(self.t)

        def step(_: SSAValue, least: SSAValue, most: SSAValue) -> list[SSAValue]:
            middle = r.add(least, r.op(arith.ShRUIOp, r.sub(most, least), r.const(1, key)))
            open_ = r.b.compare("lt", least, most, key)
            enough = r.b.index_compare("gt", self.count(r, keys, "le", middle, count), place)
            above = r.b.logical_and(open_, r.b.logical_not(enough))
            return [
                r.b.select(above, r.add(middle, r.const(1, key)), least),
                r.b.select(r.b.logical_and(open_, enough), middle, most),
            ]

        return r.fold(steps, bounds, step)

    def count(self, r: RowLoops, keys: str | SSAValue, kind: str, than: SSAValue, count: SSAValue) -> SSAValue:
        """How many of the first `count` keys compare so."""
        t = self._counts

        def step(i: SSAValue, sum_: SSAValue) -> list[SSAValue]:
            fits = r.b.compare(kind, r.load(keys, i), than, key_type(self.t))
            return [r.add(sum_, r.b.op(arith.ExtUIOp, fits, t.mlir))]

        return r.b.to_index(r.fold(count, [r.const(0, t)], step)[0])


Place = Callable[[RowLoops, Callable[[], SSAValue]], SSAValue]


def select_rows(c: Conversion, x: Tensor, d: int, place: Place) -> tuple[Tensor, Tensor]:
    """The element at one place of the order along `d`, and where it stood; `d` is left with size 1.

    `place(r, numbers)`: `numbers()` counts the elements of the row that are not NaN, which come first.
    """
    x, back = last_dim(c, x, d)
    t, key, (*others, n) = x.dtype, key_type(x.dtype), x.shape
    keys = order_keys(c, x, descending=False).value
    selection, size = RowSelection(c, n, t), c.dims.value(n)
    shape = (*others, 1)
    r = RowLoops(
        c, {"values": c.empty(shape, t), "places": c.empty(shape, I64), **selection.scratch(tuple(others))}
    )  # fmt: skip

    def row() -> None:
        nan = key_of_nan(t)

        def count_numbers() -> SSAValue:
            return selection.count(r, keys, "lt", r.const(nan, key), size)

        k = place(r, count_numbers)
        rises, falls = in_order(r, keys, size, key)
        active = r.b.logical_not(r.b.logical_or(rises, falls))
        wanted, rank = selection.find(r, keys, k, active)

        def look(i: SSAValue, found: SSAValue, seen: SSAValue) -> list[SSAValue]:
            equal = r.b.compare("eq", r.load(keys, i), wanted, key)
            here = r.b.logical_and(equal, r.b.index_compare("eq", seen, rank))
            return [r.b.select(here, i, found), r.add(seen, r.one_if(equal))]

        start = r.b.select(rises, k, r.sub(r.sub(size, r.index(1)), k))
        found, _ = r.fold(r.when(active, size), [start, r.index(0)], look)
        r.store("values", r.load(x.value, found), r.index(0))
        r.store("places", r.b.from_index(found, I64), r.index(0))

    values, places, *_ = r.rows(others, row)
    return c.permuted(plain(values, t, shape), back), c.permuted(plain(places, I64, shape), back)


def first_of_rows(c: Conversion, x: Tensor, d: int, k: int, *, descending: bool) -> tuple[Tensor, Tensor]:
    """The first `k` elements of the order along `d`, and where each stood."""
    x, back = last_dim(c, x, d)
    t, (*others, n) = x.dtype, x.shape
    keys = order_keys(c, x, descending=descending).value
    shape = (*others, k)
    results = {"values": c.empty(shape, t), "places": c.empty(shape, I64)}
    order = RowOrder(c, k, t)
    few = isinstance(n, int) and k <= _FEW and (k * _MANY_TIMES <= n or n <= SHORT)
    held = (*others, k + 1)
    scratch = {"keys": c.empty(held, key_type(t)), "marks": c.empty(held, I64), **order.scratch(tuple(others))}
    selection = RowSelection(c, n, t)
    if few:
        scratch |= {"next keys": c.empty(held, key_type(t)), "next marks": c.empty(held, I64)}
    else:
        scratch |= selection.scratch(tuple(others))
    r = RowLoops(c, results | scratch)

    def put(p: SSAValue, i: SSAValue) -> None:
        r.store("values", r.load(x.value, i), p)
        r.store("places", r.b.from_index(i, I64), p)

    def row() -> None:
        if few:
            _hold_first(r, keys, order, c.dims.value(n), put)
        else:
            _take_first(r, keys, order, selection, put)

    values, places, *_ = r.rows(others, row)
    return c.permuted(plain(values, t, shape), back), c.permuted(plain(places, I64, shape), back)


def _unless_in_order(r: RowLoops, keys: SSAValue, key: DType, size: SSAValue, count: SSAValue, put: Put) -> SSAValue:
    """Puts the first `count` of a row that is in order, or in reverse; whether it is neither."""
    rises, falls = in_order(r, keys, size, key)
    r.each(r.when(rises, count), lambda p: put(p, p))
    r.each(r.when(falls, count), lambda p: put(p, r.sub(r.sub(size, r.index(1)), p)))
    return r.b.logical_not(r.b.logical_or(rises, falls))


def _hold_first(r: RowLoops, keys: SSAValue, order: RowOrder, size: SSAValue, put: Put) -> None:
    """The first few so far are held in order; those behind a new one move on by one, all at once.

    Before them stands a key that nothing comes before.
    """
    key, count, one = key_type(order.t), r.c.dims.value(order.n), r.index(1)
    active = _unless_in_order(r, keys, key, size, count, put)
    r.store("keys", r.const(key.limits()[0], key), r.index(0))

    def start(p: SSAValue, i: SSAValue) -> None:
        r.store("keys", r.load(keys, i), r.add(p, one))
        r.store("marks", r.b.from_index(i, I64), r.add(p, one))

    order.write(r, keys, active, start)

    def offer(i: SSAValue) -> None:
        new = r.load(keys, i)
        trips = r.when(r.b.compare("lt", new, r.load("keys", count), key), count)

        def move(before: SSAValue) -> None:
            at = r.add(before, r.index(1))
            here = r.b.compare("lt", new, r.load("keys", at), key)
            further = r.b.compare("lt", new, r.load("keys", before), key)
            for name, fresh in (("keys", new), ("marks", r.b.from_index(i, I64))):
                stays = r.b.select(here, fresh, r.load(name, at))
                r.store(f"next {name}", r.b.select(further, r.load(name, before), stays), at)

        def renew(before: SSAValue) -> None:
            at = r.add(before, r.index(1))
            for name in ("keys", "marks"):
                r.store(name, r.load(f"next {name}", at), at)

        r.each(trips, move)
        r.each(trips, renew)

    r.each(r.b.select(active, size, count), offer, start=count)
    r.each(r.when(active, count), lambda p: put(p, r.b.to_index(r.load("marks", r.add(p, r.index(1))))))


def _take_first(r: RowLoops, keys: SSAValue, order: RowOrder, selection: RowSelection, put: Put) -> None:
    """The last of the first few is found; all up to it are taken as they come and then sorted."""
    key, count, size = key_type(order.t), r.c.dims.value(order.n), r.c.dims.value(selection.n)
    active = _unless_in_order(r, keys, key, size, count, put)
    last, rank = selection.find(r, keys, r.sub(count, r.index(1)), active)

    def take(i: SSAValue, to: SSAValue, seen: SSAValue) -> list[SSAValue]:
        here = r.load(keys, i)
        equal = r.b.compare("eq", here, last, key)
        among = r.b.logical_and(equal, r.b.index_compare("le", seen, rank))
        r.store("keys", here, to)
        r.store("marks", r.b.from_index(i, I64), to)
        taken = r.b.logical_or(r.b.compare("lt", here, last, key), among)
        return [r.add(to, r.one_if(taken)), r.add(seen, r.one_if(equal))]

    r.fold(r.when(active, size), [r.index(0), r.index(0)], take)
    order.write(r, "keys", active, lambda p, i: put(p, r.b.to_index(r.load("marks", i))))
