"""Reshapes as views: merging and splitting dimensions without leaving chains of reshapes behind.

expand(collapse(%x)) with the groups swapped  ->  %x
moving only dimensions of size one            ->  collapse, expand
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX
from xdsl.ir import OpResult, SSAValue

from mlc.lowering.linalg.build import At, groups_of
from mlc.lowering.linalg.structure import shape_of

Groups = Sequence[Sequence[int]]


def _same(groups: Groups, others: Groups) -> bool:
    return [tuple(g) for g in groups] == [tuple(g) for g in others]


def expand_view(at: At, value: SSAValue, groups: Groups, shape: Sequence[int | SSAValue]) -> SSAValue:
    """`value` with dimension i split into the dimensions `groups[i]` of `shape`; undoes a collapse where it can."""
    if all(len(g) == 1 for g in groups):
        return value
    static = tuple(d if isinstance(d, int) else DYNAMIC_INDEX for d in shape)
    if isinstance(value, OpResult) and isinstance(value.op, tensor.CollapseShapeOp):
        source = value.op.src
        if _same(groups_of(value.op), groups) and shape_of(source) == static:
            return source
    return at.expand(value, groups, shape)


def collapse_view(at: At, value: SSAValue, groups: Groups) -> SSAValue:
    """`value` with the dimensions of each group merged; undoes an expand where it can."""
    if all(len(g) == 1 for g in groups) and len(groups) == len(shape_of(value)):
        return value
    if (
        isinstance(value, OpResult)
        and isinstance(value.op, tensor.ExpandShapeOp)
        and _same(groups_of(value.op), groups)
    ):
        return value.op.src
    return at.collapse(value, groups)


def only_units_move(shape: Sequence[int], permutation: Sequence[int]) -> bool:
    """Whether a transpose keeps all dimensions larger than one in order (static shapes)."""
    if DYNAMIC_INDEX in shape:
        return False
    wide = [p for p in permutation if shape[p] != 1]
    return wide == sorted(wide)


def move_units(at: At, value: SSAValue, shape: Sequence[int]) -> SSAValue:
    """`value` in `shape`, which has the same dimensions larger than one in the same order."""
    if shape_of(value) == tuple(shape):
        return value
    merged = collapse_view(at, value, _wide_groups(shape_of(value)))
    return expand_view(at, merged, _wide_groups(shape), list(shape))


def _wide_groups(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Groups with one dimension larger than one each (a single group when there is none)."""
    groups: list[list[int]] = []
    leading: list[int] = []
    for d, n in enumerate(shape):
        if n != 1:
            groups.append([*leading, d])
            leading = []
        elif groups:
            groups[-1].append(d)
        else:
            leading.append(d)
    return [tuple(g) for g in groups] if groups else [tuple(leading)]
