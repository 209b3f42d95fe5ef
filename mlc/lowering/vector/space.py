"""Iteration spaces: a structured op as loops over dims and memory accesses that are linear in them.

    linalg.generic, maps (d0, d1, d2) -> (d0, d2), (d2, d1), (d0, d1) on memref<8x64>, memref<64x32>, memref<8x32>
    -->  Stage(parallel=[0, 1], reduction=[2], ins=[x + 64*d0 + d2, w + 32*d2 + d1], outs=[o + 32*d0 + d1])

Everything the vectoriser decides (which dim is contiguous, what is reused along which dim, what can be collapsed)
it reads from these coefficients, whatever the layout of the operands. Sizes may hold symbols (dynamic dims): they are
monomials, an integer times a product of symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, NoneAttr, StridedLayoutAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mlc.ir.size_bounds import size_bound
from mlc.lowering.vector.sizes import ONE, ZERO, Size, Symbol, Symbols


class Refusal(Exception):
    """Why the vectoriser leaves an op to the scalar loops. Caught by the pass, reported as a `missed` remark."""


@dataclass(frozen=True)
class Access:
    """Element `const + sum(coeff * dim)` of the memory of `root`, counted from its first element, and the `group - 1`
    elements after it."""

    root: SSAValue
    const: int
    coeffs: tuple[tuple[int, Size], ...]  # sorted by dim, no zeros
    group: int = 1

    def coeff(self, dim: int) -> Size:
        for d, c in self.coeffs:
            if d == dim:
                return c
        return ZERO

    def contiguous(self, dim: int) -> bool:
        """Whether neighbours along `dim` are neighbours in memory."""
        return self.coeff(dim) == Size(self.group)

    def with_coeffs(self, coeffs: dict[int, Size]) -> Access:
        return replace(self, coeffs=tuple(sorted((d, c) for d, c in coeffs.items() if c.factor)))

    @property
    def element_type(self) -> Attribute:
        assert isinstance(self.root.type, MemRefType)
        return self.root.type.element_type


Operand = Access | SSAValue


@dataclass(frozen=True)
class Dot:
    """A stage that is a dot product of groups: the number of the input that differs from lane to lane, the elements of
    a group, and the input that is unsigned."""

    vector: int
    group: int
    unsigned: int | None = None


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
    dot: Dot | None = None  # found by `dot_products.py`

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

    def at_most(self, dim: int) -> int | None:
        """The extent of `dim`, or a number that it never goes beyond, where one is known."""
        return self.symbols.at_most(self.extents[dim])

    def view(self, value: SSAValue) -> View:
        """Sizes and strides of `value` over its root, following views inside the kernel."""
        found = self._views.get(value)
        if found is None:
            found = self._views[value] = self._resolve(value)
        return found

    def window_of(self, root: SSAValue) -> SSAValue:
        """The memory that `root` lies in: a subview at a run-time offset is a root of its own within another."""
        while isinstance(root.owner, memref.SubviewOp):
            root = self.view(root.owner.source).root
        return root

    def overlapping(self, stages: Sequence[Stage]) -> bool:
        """Whether two roots that the stages access lie in one memory, where one of them is written."""
        windows: dict[SSAValue, set[SSAValue]] = {}
        for root in {r: None for s in stages for r in s.roots()}:
            windows.setdefault(self.window_of(root), set()).add(root)
        written = {self.window_of(r) for s in stages for r in s.written()}
        return any(len(roots) > 1 and memory in written for memory, roots in windows.items())

    def _sizes(self, value: SSAValue) -> list[Size]:
        assert isinstance(value.type, MemRefType)
        return [
            Size(n) if n != DYNAMIC_INDEX else self.symbols.size(Symbol("dim", value, i), size_bound(value, i))
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
        if DYNAMIC_INDEX in (*sizes, *steps):
            raise Refusal("a subview with dynamic sizes or strides inside a kernel")
        if DYNAMIC_INDEX in offsets:
            return self._root(op.result)
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
