"""Read structured ops as stages: loops from iterator types, accesses from indexing maps and layouts.

    maps (d0, d1, d2) -> (d0, d2), (d2, d1), (d0, d1) on memref<8x64>, memref<64x32>, memref<8x32>
    -->  Stage(parallel=[0, 1], reduction=[2], ins=[x + 64*d0 + d2, w + 32*d2 + d1], outs=[o + 32*d0 + d1])

A `floordiv` or `mod` by a constant splits the loop there, after which the map is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects import memref
from xdsl.dialects.builtin import AffineMapAttr, ArrayAttr, MemRefType
from xdsl.dialects.linalg import attrs
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import IndexOp
from xdsl.ir import Operation
from xdsl.ir.affine import AffineBinaryOpExpr, AffineBinaryOpKind, AffineConstantExpr, AffineDimExpr, AffineExpr

from mlc.lowering.vector.sizes import ONE, ZERO, Size
from mlc.lowering.vector.space import Access, Operand, Refusal, Space, Stage, View


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
