"""Iteration spaces: a structured op as loops over dims and memory accesses that are linear in them.

    linalg.generic, maps (d0, d1, d2) -> (d0, d2), (d2, d1), (d0, d1) on memref<8x64>, memref<64x32>, memref<8x32>
    -->  Stage(parallel=[0, 1], reduction=[2], ins=[x + 64*d0 + d2, w + 32*d2 + d1], outs=[o + 32*d0 + d1])

Everything the vectoriser decides (which dim is contiguous, what is reused along which dim, what can be collapsed)
it reads from these coefficients, whatever the layout of the operands. Sizes may hold symbols (dynamic dims): they are
monomials, an integer times a product of symbols.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, AffineMapAttr, ArrayAttr, MemRefType, NoneAttr, StridedLayoutAttr
from xdsl.dialects.linalg import attrs
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import IndexOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.ir.affine import AffineBinaryOpExpr, AffineBinaryOpKind, AffineConstantExpr, AffineDimExpr, AffineExpr


class Refusal(Exception):
    """Why the vectoriser leaves an op to the scalar loops. Caught by the pass, reported as a `missed` remark."""


class Symbol(NamedTuple):
    """A size known at run time: dimension or stride `position` of `value`."""

    kind: str  # "dim" or "stride"
    value: SSAValue
    position: int


@dataclass(frozen=True)
class Size:
    """`factor` times the product of `symbols` (numbers of a `Symbols` table, sorted)."""

    factor: int
    symbols: tuple[int, ...] = ()

    def __mul__(self, other: Size) -> Size:
        factor = self.factor * other.factor
        return Size(factor, tuple(sorted(self.symbols + other.symbols)) if factor else ())

    @property
    def static(self) -> int | None:
        return None if self.symbols else self.factor

    def divide(self, by: Size) -> Size | None:
        """The exact quotient, when there is one."""
        rest = list(self.symbols)
        for symbol in by.symbols:
            if symbol not in rest:
                return None
            rest.remove(symbol)
        if by.factor == 0 or self.factor % by.factor:
            return None
        return Size(self.factor // by.factor, tuple(rest))


ZERO = Size(0)
ONE = Size(1)


class Symbols:
    """Run-time sizes of a kernel; sizes that an op ties together become one symbol, or a number."""

    def __init__(self) -> None:
        self.entries: list[Symbol] = []
        self._numbers: dict[Symbol, int] = {}
        self._parent: dict[int, int | Size] = {}

    def size(self, symbol: Symbol) -> Size:
        """The size that `symbol` stands for."""
        number = self._numbers.setdefault(symbol, len(self.entries))
        if number == len(self.entries):
            self.entries.append(symbol)
        return self._find(number)

    def _find(self, number: int) -> Size:
        while number in self._parent:
            parent = self._parent[number]
            if isinstance(parent, Size):
                return parent
            number = parent
        return Size(1, (number,))

    def canonical(self, size: Size) -> Size:
        """`size` with every tied symbol replaced by what it is tied to."""
        out = Size(size.factor)
        for symbol in size.symbols:
            out *= self._find(symbol)
        return out

    def tie(self, a: Size, b: Size) -> None:
        """Record that `a` and `b` are equal (from two operands indexed by one loop)."""
        a, b = self.canonical(a), self.canonical(b)
        if a == b:
            return
        if b.factor == 1 and len(b.symbols) == 1 and (a.static is not None or b.symbols[0] > min(a.symbols)):
            a, b = b, a
        if a.factor == 1 and len(a.symbols) == 1 and a.symbols[0] not in b.symbols:
            self._parent[a.symbols[0]] = b.symbols[0] if b.factor == 1 and len(b.symbols) == 1 else b


@dataclass(frozen=True)
class Access:
    """Element `const + sum(coeff * dim)` of the memory of `root`, counted from its first element."""

    root: SSAValue
    const: int
    coeffs: tuple[tuple[int, Size], ...]  # sorted by dim, no zeros

    def coeff(self, dim: int) -> Size:
        for d, c in self.coeffs:
            if d == dim:
                return c
        return ZERO

    def with_coeffs(self, coeffs: dict[int, Size]) -> Access:
        return replace(self, coeffs=tuple(sorted((d, c) for d, c in coeffs.items() if c.factor)))

    @property
    def element_type(self) -> Attribute:
        assert isinstance(self.root.type, MemRefType)
        return self.root.type.element_type


Operand = Access | SSAValue


@dataclass
class Stage:
    """One structured op: loops and what its body reads and writes at each point."""

    op: Operation
    parallel: list[int]
    reduction: list[int]
    ins: list[Operand]  # an SSAValue is a scalar operand
    outs: list[Access]
    block: Block
    indices: list[dict[int, int]]  # original loop i as a combination of the current dims (for linalg.index)
    uses_index: bool = False
    tables: frozenset[SSAValue] = frozenset()  # memory that the body itself loads from, at computed positions

    def accesses(self) -> list[Access]:
        return [o for o in self.ins if isinstance(o, Access)] + self.outs

    def reads_out(self, i: int) -> bool:
        """Whether the body uses the old value of output `i`."""
        return bool(self.block.args[len(self.ins) + i].uses)

    def dims(self) -> list[int]:
        return self.parallel + self.reduction

    def roots(self) -> set[SSAValue]:
        return {a.root for a in self.accesses()}

    def written(self) -> set[SSAValue]:
        return {a.root for a in self.outs}

    def rewrite(self, change: dict[int, list[tuple[int, int]]]) -> None:
        """Replace each dim `d` of `change` by the combination of new dims `[(dim, multiplier), ...]`."""

        def access(a: Access) -> Access:
            coeffs: dict[int, Size] = {}
            for d, c in a.coeffs:
                for new, multiplier in change.get(d, [(d, 1)]):
                    coeffs[new] = (
                        Size(coeffs[new].factor + c.factor * multiplier, c.symbols)
                        if (new in coeffs)
                        else Size(c.factor * multiplier, c.symbols)
                    )
            return a.with_coeffs(coeffs)

        self.ins = [access(o) if isinstance(o, Access) else o for o in self.ins]
        self.outs = [access(o) for o in self.outs]
        self.parallel = [new for d in self.parallel for new, _ in change.get(d, [(d, 1)])]
        self.reduction = [new for d in self.reduction for new, _ in change.get(d, [(d, 1)])]
        for form in self.indices:
            for d in [d for d in form if d in change]:
                k = form.pop(d)
                for new, multiplier in change[d]:
                    form[new] = form.get(new, 0) + k * multiplier


@dataclass
class View:
    """A memref value as sizes and strides over the memory of its root."""

    root: SSAValue
    const: int
    sizes: list[Size]
    strides: list[Size]


@dataclass
class Space:
    """All dims of a kernel, with their extents, and the views behind its memref values."""

    symbols: Symbols = field(default_factory=Symbols)
    extents: dict[int, Size] = field(default_factory=dict)
    _views: dict[SSAValue, View] = field(default_factory=dict)

    def new_dim(self, extent: Size) -> int:
        dim = len(self.extents)
        self.extents[dim] = extent
        return dim

    def static(self, dim: int) -> int | None:
        return self.extents[dim].static

    def view(self, value: SSAValue) -> View:
        """Sizes and strides of `value` over its root, following views inside the kernel."""
        found = self._views.get(value)
        if found is None:
            found = self._views[value] = self._resolve(value)
        return found

    def _sizes(self, value: SSAValue) -> list[Size]:
        assert isinstance(value.type, MemRefType)
        return [
            Size(n) if n != DYNAMIC_INDEX else self.symbols.size(Symbol("dim", value, i))
            for i, n in enumerate(value.type.get_shape())
        ]

    def _resolve(self, value: SSAValue) -> View:
        owner = value.owner
        match owner:
            case memref.CastOp():
                return self.view(owner.source)
            case memref.CollapseShapeOp() | memref.ExpandShapeOp():
                return self._reshaped(owner, value)
            case memref.SubviewOp():
                return self._subview(owner)
            case memref.ViewOp() | memref.ReinterpretCastOp():
                raise Refusal(f"a view by {owner.name} inside a kernel")
            case _:
                return self._root(value)

    def _root(self, value: SSAValue) -> View:
        if not isinstance(value.type, MemRefType):
            raise Refusal(f"an operand of type {value.type}")
        sizes = self._sizes(value)
        layout = value.type.layout
        if isinstance(layout, NoneAttr):
            return View(value, 0, sizes, _row_major(sizes))
        if not isinstance(layout, StridedLayoutAttr):
            raise Refusal("a memref whose layout is not strided")
        strides = [
            Size(s) if s is not None else self.symbols.size(Symbol("stride", value, i))
            for i, s in enumerate(layout.get_strides())
        ]
        return View(value, 0, sizes, strides)

    def _reshaped(self, op: memref.CollapseShapeOp | memref.ExpandShapeOp, value: SSAValue) -> View:
        source = self.view(op.src)
        groups = [[i.value.data for i in group] for group in op.reassociation]
        if isinstance(op, memref.CollapseShapeOp):
            sizes, strides = [], []
            for group in groups:
                size, stride = ONE, ONE
                for i in group:
                    size *= source.sizes[i]
                    if source.sizes[i] != ONE:
                        stride = source.strides[i]
                sizes.append(size)
                strides.append(stride)
            return View(source.root, source.const, sizes, strides)
        own = self._sizes(value)
        strides = [ONE] * len(own)
        for i, group in enumerate(groups):
            stride = source.strides[i]
            known = ONE
            for j in group:
                known *= own[j] if own[j].static is not None else ONE
            dynamic = [j for j in group if own[j].static is None]
            if len(dynamic) == 1 and (rest := source.sizes[i].divide(known)) is not None:
                self.symbols.tie(own[dynamic[0]], rest)
                own[dynamic[0]] = rest
            for j in reversed(group):
                strides[j] = stride
                stride *= own[j]
        return View(source.root, source.const, own, strides)

    def _subview(self, op: memref.SubviewOp) -> View:
        source = self.view(op.source)
        offsets, sizes, steps = (list(a.get_values()) for a in (op.static_offsets, op.static_sizes, op.static_strides))
        if DYNAMIC_INDEX in (*offsets, *sizes, *steps):
            raise Refusal("a subview with dynamic offsets, sizes or strides inside a kernel")
        const = source.const
        for offset, stride in zip(offsets, source.strides, strict=True):
            if offset:
                if stride.static is None:
                    raise Refusal("a subview at an offset along a dynamic stride")
                const += offset * stride.static
        strides = [s * Size(k) for s, k in zip(source.strides, steps, strict=True)]
        assert isinstance(op.result.type, MemRefType)
        shape = list(op.result.type.get_shape())
        kept: list[int] = []
        for i, n in enumerate(sizes):  # a subview may drop dims of size 1
            if len(kept) < len(shape) and n == shape[len(kept)]:
                kept.append(i)
            elif n != 1:
                raise Refusal("a rank-reducing subview that cannot be followed")
        if len(kept) != len(shape):
            raise Refusal("a rank-reducing subview that cannot be followed")
        return View(source.root, const, [Size(sizes[i]) for i in kept], [strides[i] for i in kept])


def _row_major(sizes: Sequence[Size]) -> list[Size]:
    strides: list[Size] = []
    step = ONE
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    return strides[::-1]


def tie_sizes(space: Space, ops: Iterable[Operation]) -> None:
    """Learn which dynamic sizes are equal from the loops that index them. Call before `stage_of`."""
    for op in ops:
        if not isinstance(op, LinalgStructuredOperation):
            continue
        seen: dict[int, Size] = {}
        for operand, attr in zip(op.operands, op.get_indexing_maps(), strict=True):
            if not isinstance(operand.type, MemRefType):
                continue
            for expr, size in zip(attr.data.results, space.view(operand).sizes, strict=True):
                if isinstance(expr, AffineDimExpr):
                    if expr.position in seen:
                        space.symbols.tie(seen[expr.position], size)
                    else:
                        seen[expr.position] = size


class _Split(Exception):
    """A `floordiv` or `mod` of a loop by a constant: the loop must be split there first."""

    def __init__(self, dim: int, by: int) -> None:
        super().__init__()
        self.dim, self.by = dim, by


def _linear(expr: AffineExpr, forms: list[dict[int, int]], space: Space) -> tuple[int, dict[int, int]]:
    """`expr` over the original loops as constant and coefficients over the current dims."""
    match expr:
        case AffineConstantExpr():
            return expr.value, {}
        case AffineDimExpr():
            return 0, forms[expr.position]
        case AffineBinaryOpExpr(kind=AffineBinaryOpKind.Add):
            c, a = _linear(expr.lhs, forms, space)
            d, b = _linear(expr.rhs, forms, space)
            return c + d, {k: a.get(k, 0) + b.get(k, 0) for k in (*a, *(k for k in b if k not in a))}
        case AffineBinaryOpExpr(kind=AffineBinaryOpKind.Mul):
            c, a = _linear(expr.lhs, forms, space)
            d, b = _linear(expr.rhs, forms, space)
            if a and b:
                raise Refusal("an indexing map that multiplies two loops")
            return c * d, {k: v * d for k, v in a.items()} if a else {k: v * c for k, v in b.items()}
        case AffineBinaryOpExpr(kind=AffineBinaryOpKind.FloorDiv | AffineBinaryOpKind.Mod):
            c, a = _linear(expr.lhs, forms, space)
            by, b = _linear(expr.rhs, forms, space)
            if b or c or by <= 0:
                raise Refusal("an indexing map with a general division")
            high = {k: v for k, v in a.items() if v % by == 0}
            low = {k: v for k, v in a.items() if v % by}
            reach = 0
            for k, v in low.items():
                n = space.static(k)
                if n is None or v < 0:
                    raise Refusal("an indexing map that divides a dynamic loop")
                reach += v * (n - 1)
            if reach < by:
                return (
                    (0, {k: v // by for k, v in high.items()})
                    if expr.kind is AffineBinaryOpKind.FloorDiv
                    else (
                        0,
                        low,
                    )
                )
            if len(low) == 1:
                ((k, v),) = low.items()
                n = space.static(k)
                if n is not None and by % v == 0 and n % (by // v) == 0:
                    raise _Split(k, by // v)
            raise Refusal("an indexing map with a division that does not split a loop evenly")
        case _:
            raise Refusal("an indexing map that is not affine in the loops")


def stage_of(op: LinalgStructuredOperation, space: Space) -> Stage:
    """`op` on memrefs as a stage. Dims of extent one vanish."""
    maps = _maps(op)
    if any(isinstance(r.type, MemRefType) is False for r in op.outputs) or op.results:
        raise Refusal("it works on tensors")
    views = [space.view(v) if isinstance(v.type, MemRefType) else None for v in op.operands]
    loops = maps[0].data.num_dims
    extents: list[Size | None] = [None] * loops
    for view, attr in zip(views, maps, strict=True):
        for expr, size in zip(attr.data.results, view.sizes if view else (), strict=view is not None):
            if isinstance(expr, AffineDimExpr) and (extents[expr.position] is None or size.static is not None):
                extents[expr.position] = space.symbols.canonical(size)
    if any(e is None for e in extents):
        raise Refusal("a loop whose extent no operand gives")
    kinds = [t.data for t in op.get_iterator_types()]
    if any(k not in (attrs.IteratorType.PARALLEL, attrs.IteratorType.REDUCTION) for k in kinds):
        raise Refusal("a window iterator")
    groups: list[list[int]] = []  # per loop: the dims it is split into, outermost first
    forms: list[dict[int, int]] = []
    for extent in extents:
        assert extent is not None
        groups.append([space.new_dim(extent)] if extent != ONE else [])
        forms.append({d: 1 for d in groups[-1]})
    operands = _operands(op, maps, views, groups, forms, space)
    parallel = [d for g, k in zip(groups, kinds, strict=True) if k is attrs.IteratorType.PARALLEL for d in g]
    reduction = [d for g, k in zip(groups, kinds, strict=True) if k is attrs.IteratorType.REDUCTION for d in g]
    outs = [o for o in operands[len(op.inputs) :] if isinstance(o, Access)]
    block = op.body.block
    uses_index = any(isinstance(inner, IndexOp) for inner in block.ops)
    tables = frozenset(space.view(inner.memref).root for inner in block.ops if isinstance(inner, memref.LoadOp))
    if any(out.root in tables for out in outs):
        raise Refusal("the body loads from what it writes")
    return Stage(op, parallel, reduction, operands[: len(op.inputs)], outs, block, forms, uses_index, tables)


def _maps(op: LinalgStructuredOperation) -> Sequence[AffineMapAttr]:
    maps: ArrayAttr[AffineMapAttr] = op.get_indexing_maps()
    if any(m.data.num_symbols for m in maps):
        raise Refusal("an indexing map with symbols")
    return maps.data


def _operands(
    op: LinalgStructuredOperation,
    maps: Sequence[AffineMapAttr],
    views: Sequence[View | None],
    groups: list[list[int]],
    forms: list[dict[int, int]],
    space: Space,
) -> list[Operand]:
    while True:
        try:
            return [
                _access(view, attr, forms, space) if view else value
                for value, view, attr in zip(op.operands, views, maps, strict=True)
            ]
        except _Split as split:
            extent = space.static(split.dim)
            assert extent is not None
            high, low = space.new_dim(Size(extent // split.by)), space.new_dim(Size(split.by))
            for group, form in zip(groups, forms, strict=True):
                if split.dim in group:
                    at = group.index(split.dim)
                    group[at : at + 1] = [high, low]
                    k = form.pop(split.dim)
                    form.update({high: k * split.by, low: k})


def _access(view: View, attr: AffineMapAttr, forms: list[dict[int, int]], space: Space) -> Access:
    const = view.const
    coeffs: dict[int, Size] = {}
    for expr, stride in zip(attr.data.results, view.strides, strict=True):
        stride = space.symbols.canonical(stride)
        c, form = _linear(expr, forms, space)
        if c:
            if stride.static is None:
                raise Refusal("an indexing map with a constant along a dynamic stride")
            const += c * stride.static
        for dim, k in form.items():
            term = stride * Size(k)
            if dim in coeffs and coeffs[dim].symbols != term.symbols:
                raise Refusal("a loop that indexes two dynamic strides")
            coeffs[dim] = Size(coeffs.get(dim, ZERO).factor + term.factor, term.symbols)
    return Access(view.root, const, ()).with_coeffs(coeffs)
