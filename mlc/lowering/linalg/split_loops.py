"""Split loops of a structured linalg op by constant tiles, operands taking their packed forms.

    loops (n, f, oh, ow, c, kh, kw), splits {f: 16, c: 16}
      --> loops (n, f/16, oh, ow, f%16, c/16, kh, kw, c%16)

Inner parallel loops go behind the other parallel loops, inner reductions to the very end, so that the innermost output
dimension is contiguous and the innermost reduction runs over a block. A split loop must stand bare in the maps.
"""

from __future__ import annotations

from xdsl.dialects.builtin import AffineMapAttr
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.lowering.linalg.build import At
from mlc.lowering.linalg.packed_values import Packing, Packings
from mlc.lowering.linalg.structure import iterators, iterators_of, maps_of

Splits = dict[int, int]


def operand_packing(map_: AffineMap, splits: Splits, kinds: str) -> Packing | None:
    """How an operand read through `map_` is packed; None when a split loop does not stand bare in it."""
    found: list[tuple[str, int, int]] = []
    for position, expr in enumerate(map_.results):
        if isinstance(expr, AffineDimExpr):
            if expr.position in splits:
                found.append((kinds[expr.position], position, splits[expr.position]))
        elif expr.used_dims() & splits.keys():
            return None
    found.sort(key=lambda item: item[0] == "p")  # reductions first: the parallel block is innermost
    return tuple((position, tile) for _, position, tile in found)


def can_split(op: LinalgStructuredOperation, splits: Splits) -> bool:
    """Whether all operands can take packed forms and no body asks for loop indices."""
    kinds = iterators_of(op)
    if any(inner.name == "linalg.index" for inner in op.body.block.ops):
        return False
    return all(operand_packing(m, splits, kinds) is not None for m in maps_of(op))


def split_loops(at: At, op: LinalgStructuredOperation, splits: Splits, packings: Packings) -> GenericOp:
    """The split op, built before `op`; records packed (or plain) results in `packings`."""
    kinds = iterators_of(op)
    loops = len(kinds)
    reductions = [d for d in range(loops) if kinds[d] == "r"]
    parallels = [d for d in range(loops) if kinds[d] == "p"]
    inner_parallel = [d for d in parallels if d in splits]
    inner_reduction = [d for d in reductions if d in splits]
    order = [*parallels, *inner_parallel, *reductions, *inner_reduction]
    outer_at = {d: order.index(d) for d in range(loops)}
    inner_at = {d: len(parallels) + i for i, d in enumerate(inner_parallel)}
    base = len(parallels) + len(inner_parallel)
    for d in reductions:
        outer_at[d] = base + reductions.index(d)
    inner_at.update({d: base + len(reductions) + i for i, d in enumerate(inner_reduction)})
    new_kinds = "p" * base + "r" * (len(order) - base)

    new_dims: list[AffineExpr] = [AffineDimExpr(outer_at[d]) for d in range(loops)]
    operands: list[SSAValue] = []
    maps: list[AffineMapAttr] = []
    for value, map_ in zip((*op.inputs, *op.outputs), maps_of(op), strict=True):
        packing = operand_packing(map_, splits, kinds)
        assert packing is not None
        results = [e.replace_dims_and_symbols(new_dims, []) for e in map_.results]
        for position, _ in packing:
            expr = map_.results[position]
            assert isinstance(expr, AffineDimExpr)
            results.append(AffineDimExpr(inner_at[expr.position]))
        maps.append(AffineMapAttr(AffineMap(len(order), 0, tuple(results))))
        operands.append(packings.packed(at, value, packing) if packing else packings.plain(at, value))
    inputs = len(op.inputs)
    new = GenericOp(
        operands[:inputs],
        operands[inputs:],
        op.body.clone(),
        maps,
        iterators(new_kinds),
        [v.type for v in operands[inputs:]],
    )
    at.add(new)
    for old, result, map_ in zip(op.results, new.results, maps_of(op)[inputs:], strict=True):
        packing = operand_packing(map_, splits, kinds)
        if packing:
            packings.set(old, packing, result)
        else:
            old.replace_all_uses_with(result)
    return new
