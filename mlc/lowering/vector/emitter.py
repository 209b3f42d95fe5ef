"""Builds loop-level IR: constants once, index arithmetic folded, memory through flat views at tile bases.

    memref<64x256xf32> at row base %i     -->  %v = memref.reinterpret_cast %x to offset: [%b], sizes: [n], strides: [1]
    elements (%i + 2, 16) .. (%i + 2, 31)      vector.load %v[%c528]

A tile computes one base per operand and reaches everything else by constant positions, so a kernel stays at a few
hundred ops. Values built in an enclosing block are found again through `scopes`, innermost first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from xdsl.dialects import arith, memref, scf, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    BoolAttr,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    VectorType,
    i64,
)
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import Rewriter

from mlc.dialects.memref.prefetch import PrefetchOp
from mlc.dialects.scf.syntax import DIVIDED, ParallelOp
from mlc.lowering.vector.sizes import Size, Symbol
from mlc.lowering.vector.space import Access, Refusal, Space

INDEX = IndexType()
_PLAIN: dict[str, Attribute] = {"nontemporal": BoolAttr.from_bool(False)}


@dataclass(frozen=True)
class Index:
    """A position: an optional run-time part plus a constant."""

    value: SSAValue | None = None
    const: int = 0


class Emitter:
    """Appends ops to a stack of blocks; `prologue` holds what must come before all of them."""

    def __init__(self, space: Space, location: LocationAttr, *, fma: bool = True) -> None:
        self.space = space
        self.fma = fma
        self.location = location
        self.prologue: list[Operation] = []
        self.top = Block()
        self._blocks = [self.top]
        self._scopes: list[dict[object, SSAValue]] = [{}]
        self._once: dict[object, SSAValue] = {}
        self._spans: dict[SSAValue, tuple[memref.ReinterpretCastOp, int]] = {}

    # Ops and blocks

    def add(self, op: Operation) -> SSAValue:
        """Append `op`; returns its first result."""
        op.location = self.location
        self._blocks[-1].add_op(op)
        return op.results[0]

    def do(self, op: Operation) -> None:
        """Append an op without results."""
        op.location = self.location
        self._blocks[-1].add_op(op)

    def early(self, key: object, op: Operation) -> SSAValue:
        """Put `op` in the prologue unless `key` is there."""
        op.location = self.location
        self.prologue.append(op)
        self._once[key] = op.results[0]
        return op.results[0]

    @contextmanager
    def _inside(self, block: Block) -> Iterator[None]:
        self._blocks.append(block)
        self._scopes.append({})
        try:
            yield
        finally:
            self._blocks.pop()
            self._scopes.pop()

    def _known(self, key: object) -> SSAValue | None:
        for scope in reversed(self._scopes):
            if key in scope:
                return scope[key]
        return None

    def _keep(self, key: object, value: SSAValue) -> SSAValue:
        self._scopes[-1][key] = value
        return value

    # Constants

    def index(self, n: int) -> SSAValue:
        key = ("index", n)
        return self._once.get(key) or self.early(key, arith.ConstantOp(IntegerAttr(n, INDEX)))

    def scalar(self, value: Attribute) -> SSAValue:
        """A scalar constant by its attribute."""
        key = ("scalar", value)
        assert isinstance(value, FloatAttr | IntegerAttr)
        return self._once.get(key) or self.early(key, arith.ConstantOp(value))

    def splat(self, value: Attribute, lanes: int) -> SSAValue:
        """A vector of equal constants."""
        key = ("splat", value, lanes)
        if key in self._once:
            return self._once[key]
        assert isinstance(value, FloatAttr | IntegerAttr)
        kind = vector_of(value.type, lanes)
        dense = DenseIntOrFPElementsAttr.from_list(kind, [value.value.data])  # pyright: ignore[reportArgumentType, reportCallIssue]
        return self.early(key, arith.ConstantOp(dense))

    def iota(self, lanes: int, step: int) -> SSAValue:
        """0, step, 2*step, ... as a vector of index."""
        key = ("iota", lanes, step)
        if key in self._once:
            return self._once[key]
        kind = vector_of(INDEX, lanes)
        values = [int(i) for i in np.arange(lanes) * step]
        return self.early(key, arith.ConstantOp(DenseIntOrFPElementsAttr.from_list(kind, values)))  # pyright: ignore[reportArgumentType, reportCallIssue]

    # Index arithmetic

    def size(self, size: Size) -> Index:
        """A size as an index: a constant, or the product of run-time sizes, read once before all loops."""
        size = self.space.symbols.canonical(size)
        if size.static is not None:
            return Index(const=size.static)
        key = ("size", size)
        if key in self._once:
            return Index(self._once[key])
        value: SSAValue | None = None
        for number in size.symbols:
            factor = self._symbol(self.space.symbols.entries[number])
            value = factor if value is None else self.early(None, arith.MuliOp(value, factor))
        assert value is not None
        if size.factor != 1:
            value = self.early(None, arith.MuliOp(value, self.index(size.factor)))
        self._once[key] = value
        return Index(value)

    def _symbol(self, symbol: Symbol) -> SSAValue:
        if symbol in self._once:
            return self._once[symbol]
        if symbol.kind == "dim":
            return self.early(symbol, memref.DimOp(symbol.value, self.index(symbol.position)))
        meta = self._metadata(symbol.value)
        self._once[symbol] = meta.strides[symbol.position]
        return self._once[symbol]

    def _metadata(self, root: SSAValue) -> memref.ExtractStridedMetaDataOp:
        key = ("metadata", root)
        if key not in self._once:
            self.early(key, memref.ExtractStridedMetaDataOp(root))
        op = self._once[key].owner
        assert isinstance(op, memref.ExtractStridedMetaDataOp)
        return op

    def plus(self, a: Index, b: Index) -> Index:
        if a.value is None or b.value is None:
            return Index(a.value or b.value, a.const + b.const)
        key = ("+", a.value, b.value)
        total = self._known(key) or self._keep(key, self.add(arith.AddiOp(a.value, b.value)))
        return Index(total, a.const + b.const)

    def times(self, a: Index, by: Size) -> Index:
        """`a * by`; a constant part is scaled too."""
        factor = self.size(by)
        if factor.value is None:
            if factor.const == 0 or a == Index():
                return Index()
            if a.value is None or factor.const == 1:
                return Index(a.value, a.const * factor.const)
            key = ("*", a.value, factor.const)
            known = self._known(key) or self._keep(key, self.add(arith.MuliOp(a.value, self.index(factor.const))))
            return Index(known, a.const * factor.const)
        whole = self.materialize(a)
        if a == Index():
            return Index()
        if a == Index(const=1):
            return factor
        key = ("*", whole, factor.value)
        return Index(self._known(key) or self._keep(key, self.add(arith.MuliOp(whole, factor.value))))

    def materialize(self, a: Index) -> SSAValue:
        """`a` as one SSA value."""
        if a.value is None:
            return self.index(a.const)
        if a.const == 0:
            return a.value
        key = ("+c", a.value, a.const)
        return self._known(key) or self._keep(key, self.add(arith.AddiOp(a.value, self.index(a.const))))

    def round_down(self, extent: Index, low: Index, size: int) -> Index:
        """`low` plus the largest multiple of `size` that fits below `extent` (all before the loops)."""
        key = ("round", extent, low, size)
        if key not in self._once:
            high, start = self.materialize(extent), low.value
            assert low.const == 0
            length = high if start is None else self.early(None, arith.SubiOp(high, start))
            rest = self.early(None, arith.RemUIOp(length, self.index(size)))
            self.early(key, arith.SubiOp(high, rest))
        return Index(self._once[key])

    def least(self, a: Index, b: Index) -> Index:
        """The smaller of two positions."""
        return Index(self.add(arith.MinUIOp(self.materialize(a), self.materialize(b))))

    def unused(self, kind: Attribute) -> SSAValue:
        """Some scalar of type `kind` for a body argument without uses."""
        return self.scalar(number(0, kind))

    # Memory

    def root_base(self, root: SSAValue) -> Index:
        """Where the first element of `root` lies in its buffer."""
        assert isinstance(root.type, MemRefType)
        layout = root.type.layout
        if isinstance(layout, NoneAttr):
            return Index()
        assert isinstance(layout, StridedLayoutAttr)
        offset = layout.get_offset()
        return Index(const=offset) if offset is not None else Index(self._metadata(root).offset)

    def _view(self, root: SSAValue, base: SSAValue | None, reach: int) -> SSAValue:
        """Flat view of `root` whose element 0 is element `base` of its buffer, at least `reach` elements long."""
        key = ("view", root, base)
        known = self._known(key)
        if known is None:
            assert isinstance(root.type, MemRefType)
            known = self._keep(key, self.add(self._cast(root, base, 1)))
            op = known.owner
            assert isinstance(op, memref.ReinterpretCastOp)
            self._spans[known] = (op, 1)
        op, span = self._spans[known]
        self._spans[known] = (op, max(span, reach))
        return known

    def _cast(self, root: SSAValue, base: SSAValue | None, span: int) -> memref.ReinterpretCastOp:
        assert isinstance(root.type, MemRefType)
        kind = _flat_type(root.type, dynamic=base is not None, span=span)
        source = root if isinstance(root.type.layout, NoneAttr) else self._metadata(root).base_buffer
        return memref.ReinterpretCastOp.from_dynamic(source, [0 if base is None else base], [span], [1], kind)

    def finish_views(self) -> None:
        """Give every flat view the length that its uses need. Call once, when everything is built."""
        for value, (op, span) in self._spans.items():
            assert isinstance(value.type, MemRefType)
            kind = _flat_type(value.type, dynamic=bool(op.offsets), span=span)
            op.properties["static_sizes"] = type(op.static_sizes).from_list(op.static_sizes.elt_type, [span])  # pyright: ignore[reportArgumentType]
            new = Rewriter.replace_value_with_new_type(value, kind)
            assert new is op.results[0]

    def load(self, access: Access, at: Index, lanes: int | None) -> SSAValue:
        """`lanes` neighbouring elements at `at` (counted in the buffer), or one scalar; groups as vectors."""
        if at.const < 0:
            raise Refusal("a negative position")
        count = (lanes or 1) * access.group
        view = self._view(access.root, at.value, at.const + count)
        kind, op = access.element_type, memref.LoadOp
        if lanes is not None or access.group > 1:
            kind, op = vector_of(kind, count), vector.LoadOp
        return self.add(op.create(operands=[view, self.index(at.const)], result_types=[kind], properties=dict(_PLAIN)))

    def prefetch(self, access: Access, at: Index) -> None:
        """Bring the element at `at` near; it may lie behind the end of the buffer."""
        view = self._view(access.root, at.value, 1)
        self.do(PrefetchOp(view, [self.index(at.const)], 2))

    def store(self, value: SSAValue, access: Access, at: Index) -> None:
        lanes = value.type.get_shape()[0] if isinstance(value.type, VectorType) else None
        view = self._view(access.root, at.value, at.const + (lanes or 1))
        if lanes is None:
            self.do(memref.StoreOp.create(operands=[value, view, self.index(at.const)], properties=dict(_PLAIN)))
        else:
            self.do(vector.StoreOp.create(operands=[value, view, self.index(at.const)], properties=dict(_PLAIN)))

    def gather(self, access: Access, positions: Sequence[Index]) -> SSAValue:
        """A vector of scattered elements, one scalar load each."""
        kind = vector_of(access.element_type, len(positions))
        first = self.load(access, positions[0], None)
        result = self.add(vector.BroadcastOp(first, kind))
        for i, at in enumerate(positions[1:], 1):
            result = self.add(vector.InsertOp(self.load(access, at, None), result, [i]))
        return result

    def scatter(self, value: SSAValue, access: Access, positions: Sequence[Index]) -> None:
        """Store the lanes of `value` one by one."""
        for i, at in enumerate(positions):
            lane = self.add(vector.ExtractOp(value, [i], access.element_type))
            self.store(lane, access, at)

    def transpose(self, rows: list[SSAValue]) -> list[SSAValue]:
        """n vectors of n lanes turned over: log2(n) rounds, each swapping one bit of row number and lane number."""
        n = len(rows)
        kind = rows[0].type
        assert isinstance(kind, VectorType)
        distance = n // 2
        while distance:
            upper = [n + j - distance if j & distance else j for j in range(n)]
            lower = [n + j if j & distance else j + distance for j in range(n)]
            masks = [DenseArrayBase.from_list(i64, m) for m in (upper, lower)]
            turned = list(rows)
            for i in range(n):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    turned[i] = self.add(vector.ShuffleOp(*pair, masks[0], result_type=kind))
                    turned[i + distance] = self.add(vector.ShuffleOp(*pair, masks[1], result_type=kind))
            rows = turned
            distance //= 2
        return rows

    def broadcast(self, value: SSAValue, lanes: int | None) -> SSAValue:
        """`value` in all lanes; a vector or a scalar request is returned as it is."""
        if lanes is None or isinstance(value.type, VectorType):
            return value
        owner = value.owner
        if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, FloatAttr | IntegerAttr):
            return self.splat(owner.value, lanes)
        key = ("broadcast", value, lanes)
        known = self._known(key)
        return known or self._keep(
            key,
            self.add(vector.BroadcastOp.create(operands=[value], result_types=[vector_of(value.type, lanes)])),
        )

    def repeat(self, group: SSAValue, lanes: int) -> SSAValue:
        """A vector that holds `group`, a short vector, once per lane."""
        key = ("repeat", group, lanes)
        assert isinstance(group.type, VectorType)
        n = group.type.get_shape()[0]
        mask = DenseArrayBase.from_list(i64, [i % n for i in range(n * lanes)])
        kind = vector_of(group.type.element_type, n * lanes)
        return self._known(key) or self._keep(key, self.add(vector.ShuffleOp(group, group, mask, result_type=kind)))

    # Loops

    @contextmanager
    def loop(
        self, low: Index, high: Index, step: int, inits: Sequence[SSAValue] = ()
    ) -> Iterator[tuple[SSAValue, list[SSAValue], list[SSAValue]]]:
        """An `scf.for`. Yields (induction variable, carried values, list to fill with the values to yield);
        afterwards that list holds the results."""
        block = Block(arg_types=[INDEX, *(v.type for v in inits)])
        yields: list[SSAValue] = []
        with self._inside(block):
            yield block.args[0], list(block.args[1:]), yields
            self.do(scf.YieldOp(*yields))
        op = scf.ForOp(self.materialize(low), self.materialize(high), self.index(step), list(inits), Region(block))
        self.do(op)
        yields[:] = op.results

    @contextmanager
    def parallel(
        self, bounds: Sequence[tuple[Index, Index, int]], divided: int | None = None
    ) -> Iterator[list[SSAValue]]:
        """An `scf.parallel` over (low, high, step) per dim; threads are to divide the dim number `divided`."""
        block = Block(arg_types=[INDEX] * len(bounds))
        with self._inside(block):
            yield list(block.args)
            self.do(scf.ReduceOp())
        lows = [self.materialize(low) for low, _, _ in bounds]
        highs = [self.materialize(high) for _, high, _ in bounds]
        op = ParallelOp(lows, highs, [self.index(step) for _, _, step in bounds], Region(block))
        if divided:
            op.attributes[DIVIDED] = IntegerAttr(divided, i64)
        self.do(op)

    # Horizontal reduction

    def reduce(self, kind: str, value: SSAValue) -> SSAValue:
        """All lanes of `value` combined to a scalar."""
        assert isinstance(value.type, VectorType)
        flags = [FastMathFlag.REASSOC] if kind in ("add", "mul") and is_float(value.type.element_type) else "none"
        properties: dict[str, Attribute] = {
            "kind": vector.CombiningKindAttr(vector.CombiningKindFlag(kind)),
            "fastmath": arith.FastMathFlagsAttr(flags),
        }
        return self.add(
            vector.ReductionOp.create(operands=[value], result_types=[value.type.element_type], properties=properties)
        )


def _flat_type(like: MemRefType, *, dynamic: bool, span: int) -> MemRefType:
    layout = StridedLayoutAttr([1], None) if dynamic else NoneAttr()
    return MemRefType(like.element_type, [span], layout, like.memory_space)


@cache
def vector_of(element: Attribute, lanes: int) -> VectorType:
    """`vector<lanes x element>`, made once: building a type costs as much as building an op."""
    return VectorType(element, [lanes])


def number(value: float, kind: Attribute) -> FloatAttr | IntegerAttr:
    """The constant `value` of a scalar type."""
    if isinstance(kind, AnyFloat):
        return FloatAttr(value, kind)
    assert isinstance(kind, IntegerType | IndexType)
    return IntegerAttr(int(value), kind)


def is_float(kind: Attribute) -> bool:
    return isinstance(kind, AnyFloat)
