"""Let elementwise ops run in the loops of the op they follow, moving reshapes behind them.

    %m = linalg.generic #panels … -> tensor<128x48x16xf32>        %m = linalg.generic #panels …
    %c = tensor.collapse_shape %m -> tensor<128x768xf32>          %b' = tensor.expand_shape %b -> tensor<48x16xf32>
    %r = linalg.generic #bias ins(%c, %b)                  -->    %r' = linalg.generic #bias ins(%m, %b')
                                                                  %r = tensor.collapse_shape %r' -> tensor<128x768xf32>

What: where a reshape is the only reader of a root (or of another elementwise op, or a transposing copy) and an
elementwise op the only reader of the reshape, the op is rewritten over the shape before the reshape; its other
operands are reshaped instead, which costs nothing. So it can be fused or become the root's epilogue.
Runs after: linalg-decompose-named-ops. Runs before: linalg-fuse-elementwise.
Tests: tests/lowering/linalg/linalg_propagate_reshapes.mlir, tests/lowering/linalg/test_linalg_numerics.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, AffineMapAttr, ModuleOp
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import Block, Operation, OpResult, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, element_type, groups_of
from mlc.lowering.linalg.reshapes import collapse_view, expand_view
from mlc.lowering.linalg.structure import (
    erase_dead,
    functions_to_lower,
    is_copy,
    is_elementwise,
    is_identity,
    iterators,
    maps_of,
    nested_blocks,
    plain_dims,
    reads_output,
    shape_of,
)

Reshape = tensor.ExpandShapeOp | tensor.CollapseShapeOp


@dataclass(frozen=True)
class LinalgPropagateReshapes(MlcPass):
    name = "linalg-propagate-reshapes"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-reshapes",
        establishes=("no reshape stands between an op and the only elementwise op that follows it",),
        nests=True,
        rules={
            "cancel": "reshapes that come back to a shape -> the value that had it",
            "split-loops": "an elementwise op of a collapse -> the op over the loops before, then the collapse",
            "merge-loops": "an elementwise op of an expand -> the op over the merged loops, then the expand",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                erase_dead(block)  # a dead reader would hide that a value has one use
                for op in list(block.ops):
                    if isinstance(op, Reshape):
                        self._cancel(ctx, op)
                    elif isinstance(op, GenericOp) and is_elementwise(op):
                        self._settle(ctx, op)
                erase_dead(block)

    def _settle(self, ctx: MlcContext, op: GenericOp) -> None:
        """Rewrite `op` until it stands next to what it follows."""
        if any(isinstance(inner, IndexOp) for inner in op.body.block.ops) or reads_output(op):
            return
        while (reshape := _anchor(op)) is not None:
            new = _over_source(op, reshape)
            if new is None:
                ctx.remarks.missed(
                    self.name, op, "kept behind a reshape", reason="an operand depends on part of a merged dimension"
                )
                return
            op = new
            if not reshape.result.uses:  # a dead reader would hide that its source has one use
                reshape.detach()
                reshape.erase()
            rule = "split-loops" if isinstance(reshape, tensor.CollapseShapeOp) else "merge-loops"
            ctx.remarks.applied(self.name, op, "moved before a reshape", rule=rule)

    def _cancel(self, ctx: MlcContext, op: Reshape) -> None:
        """A chain of reshapes that comes back to a shape it has been in is no reshape."""
        shape = shape_of(op.result)
        if DYNAMIC_INDEX in shape:
            return
        source: SSAValue = op.result
        while isinstance(source, OpResult) and isinstance(source.op, Reshape):
            source = source.op.src
            if shape_of(source) == shape:
                op.result.replace_all_uses_with(source)
                ctx.remarks.applied(self.name, op, "reshapes cancelled", rule="cancel")
                break
        _erase_unread(op)


def _erase_unread(op: Reshape) -> None:
    """Erase a chain of reshapes from its end, as far as nothing reads them."""
    last: Operation | Block = op
    while isinstance(last, Reshape) and not last.result.uses:
        behind = last.src.owner
        last.detach()
        last.erase()
        last = behind


def _anchor(op: GenericOp) -> Reshape | None:
    """The reshape that separates `op` from what it should follow: a root first, then other elementwise ops.

    None when `op` already follows something as good, so that two candidates do not take turns.
    """
    direct, best, reshape = 0, 0, None
    moves_only = is_copy(op)  # a copy has nothing to gain next to arithmetic, only next to another copy
    for value, map_ in zip(op.inputs, maps_of(op), strict=False):
        dims = plain_dims(map_)
        if not isinstance(value, OpResult) or dims is None or len(dims) != map_.num_dims:
            continue
        limit = 2 if is_identity(map_) else 1  # only what is read in order can have an epilogue
        direct = max(direct, min(_rank_as_anchor(value), limit))
        source = _behind(value)
        behind = _rank_as_anchor(source) if isinstance(source, OpResult) and source is not value else 0
        if moves_only and behind and not is_copy(source.owner):  # pyright: ignore[reportArgumentType]
            continue
        if best < behind <= limit:
            best, reshape = behind, value.op
    return reshape if best > direct and isinstance(reshape, Reshape) else None


def _rank_as_anchor(value: OpResult) -> int:
    """2: the only use of a root; 1: the only use of an elementwise op; 0: nothing to follow."""
    op = value.op
    if not op.name.startswith("linalg.") or isinstance(op, FillOp) or not value.has_one_use():
        return 0
    return 1 if is_elementwise(op) else 2


def _behind(value: SSAValue) -> SSAValue:
    """What lies behind a chain of reshapes, each used once."""
    while isinstance(value, OpResult) and isinstance(value.op, Reshape) and value.has_one_use():
        value = value.op.src
    return value


def _over_source(op: GenericOp, reshape: Reshape) -> GenericOp | None:
    """`op` over the loops of what `reshape` reshapes; None when an operand does not follow."""
    index = list(op.inputs).index(reshape.result)
    dims = plain_dims(maps_of(op)[index])
    assert dims is not None
    if isinstance(reshape, tensor.CollapseShapeOp):
        return _split(op, reshape, dims)
    return _merge(op, reshape, dims)


def _split(op: GenericOp, reshape: tensor.CollapseShapeOp, dims: Sequence[int]) -> GenericOp | None:
    """The loops of merged dimensions become one loop per dimension before the merge."""
    at = At(op)
    groups = groups_of(reshape)
    if len(groups) != len(dims) or not groups or any(not g for g in groups):  # 0-d: no loop to split
        return None
    sizes = at.sizes(reshape.src)
    parts = {loop: [sizes[d] for d in group] for loop, group in zip(dims, groups, strict=True)}
    start, first = 0, {}
    for loop in range(len(dims)):
        first[loop] = start
        start += len(parts[loop])

    def expanded(value: SSAValue, map_: AffineMap) -> tuple[SSAValue, AffineMap]:
        shape: list[int | SSAValue] = []
        split: list[tuple[int, ...]] = []
        exprs: list[AffineExpr] = []
        own = at.sizes(value) if any(not isinstance(e, AffineDimExpr) for e in map_.results) else []
        for i, e in enumerate(map_.results):
            inner = parts[e.position] if isinstance(e, AffineDimExpr) else [own[i]]
            split.append(tuple(range(len(shape), len(shape) + len(inner))))
            shape += inner
            if isinstance(e, AffineDimExpr):
                exprs += [AffineDimExpr(first[e.position] + k) for k in range(len(inner))]
            else:
                exprs.append(AffineConstantExpr(0))
        new = AffineMap(start, 0, tuple(exprs))
        if isinstance(value, OpResult) and isinstance(value.op, tensor.EmptyOp):
            return at.empty(shape, element_type(value)), new
        return expand_view(at, value, split, shape), new

    if not _bare(op):
        return None
    operands = [expanded(v, m) for v, m in zip(op.operands, maps_of(op), strict=True)]
    back = [tuple(range(first[loop], first[loop] + len(parts[loop]))) for loop in range(len(dims))]
    new = _rebuild(at, op, operands, start)
    for old, result in zip(op.results, new.results, strict=True):
        old.replace_all_uses_with(at.collapse(result, back))
    op.detach()
    op.erase()
    return new


def _merge(op: GenericOp, reshape: tensor.ExpandShapeOp, dims: Sequence[int]) -> GenericOp | None:
    """The loops of split dimensions become one loop."""
    groups = groups_of(reshape)
    if not _bare(op) or not groups or any(not g for g in groups):  # 0-d: no loop to merge into
        return None
    loops = [[dims[d] for d in group] for group in groups]  # old loops of each new loop, in the reshape's order
    if any(g != list(range(g[0], g[0] + len(g))) for g in loops):
        return None
    order = sorted(range(len(loops)), key=lambda n: loops[n])
    loops = [loops[n] for n in order]
    extents = dict(zip(dims, shape_of(reshape.result), strict=True))
    plans = [_merged_dims(m, loops, extents) for m in maps_of(op)]
    if any(p is None for p in plans):
        return None
    at = At(op)
    source_sizes = at.sizes(reshape.result)
    sizes = [source_sizes[dims.index(loop)] for loop in range(len(dims))]
    operands: list[tuple[SSAValue, AffineMap]] = []
    for value, plan in zip(op.operands, plans, strict=True):
        assert plan is not None
        merged, exprs = plan
        if isinstance(value, OpResult) and isinstance(value.op, tensor.EmptyOp):
            whole = at.sizes(reshape.src)
            value = at.empty([whole[n] for n in order], element_type(value))
        else:
            value = collapse_view(at, value, merged)
        operands.append((value, AffineMap(len(loops), 0, tuple(exprs))))
    new = _rebuild(at, op, operands, len(loops))
    for old, result in zip(op.results, new.results, strict=True):
        old.replace_all_uses_with(expand_view(at, result, loops, sizes))
    op.detach()
    op.erase()
    return new


def _merged_dims(
    map_: AffineMap, loops: Sequence[Sequence[int]], extents: dict[int, int]
) -> tuple[list[tuple[int, ...]], list[AffineExpr]] | None:
    """Which dimensions of an operand merge, and its new map. A group is read whole (units aside) or not at all."""
    of_loop = {loop: n for n, group in enumerate(loops) for loop in group}
    merged: list[list[int]] = []
    exprs: list[AffineExpr] = []
    last: int | None = None
    for i, e in enumerate(map_.results):
        new = of_loop[e.position] if isinstance(e, AffineDimExpr) else None
        if new is not None and new == last:
            merged[-1].append(i)
            continue
        merged.append([i])
        exprs.append(AffineConstantExpr(0) if new is None else AffineDimExpr(new))
        last = new
    for k, group in enumerate(merged):
        e = exprs[k]
        if not isinstance(e, AffineDimExpr):
            continue
        read = [map_.results[i].position for i in group]  # pyright: ignore[reportAttributeAccessIssue]
        wide = [loop for loop in loops[e.position] if extents[loop] != 1]
        if read != sorted(read) or [loop for loop in read if extents[loop] != 1] != wide:
            if all(extents[loop] == 1 for loop in read):
                exprs[k] = AffineConstantExpr(0)
                continue
            return None
    positions = [e.position for e in exprs if isinstance(e, AffineDimExpr)]
    if len(positions) != len(set(positions)):
        return None
    return [tuple(g) for g in merged], exprs


def _bare(op: GenericOp) -> bool:
    """Whether every map picks bare, distinct loops, or the first element of a unit dimension."""
    for map_ in maps_of(op):
        positions = [e.position for e in map_.results if isinstance(e, AffineDimExpr)]
        others = [e for e in map_.results if not isinstance(e, AffineDimExpr)]
        if len(positions) != len(set(positions)):
            return False
        if any(not isinstance(e, AffineConstantExpr) or e.value != 0 for e in others):
            return False
    return True


def _rebuild(at: At, op: GenericOp, operands: Sequence[tuple[SSAValue, AffineMap]], loops: int) -> GenericOp:
    values = [v for v, _ in operands]
    count = len(op.inputs)
    new = GenericOp(
        values[:count],
        values[count:],
        op.detach_region(0),
        [AffineMapAttr(m) for _, m in operands],
        iterators("p" * loops),
        [v.type for v in values[count:]],
    )
    new.attributes.update(op.attributes)
    for old, result in zip(op.results, new.results, strict=True):
        result.name_hint = old.name_hint
    return at.add(new)
