"""Let contractions read and write transposed tensors in place of copies.

    %t = linalg.generic (transposing copy) ins(%v : tensor<128x12x64xf32>)          // heads first
    %r = linalg.generic #matmul (b, i, d, j) ins(%p, %t) …            -->  %r = linalg.generic #matmul ins(%p, %v) …
                                                                               // %v read through (j, b, d)

What: a transposing copy that a contraction reads is composed into the contraction's indexing map, and one that alone
reads a contraction's result becomes the order in which the contraction writes. Not where it would take away the unit
stride of the innermost loop, in the output or in the operand that varies with it: vector loads need it. Nor where terms
that one instruction sums (pairs of bf16) would no longer lie side by side. (But products
of one to eight rows, as of a query and a cache of keys, sum along the rows as they lie: the copy would take longer.)
Runs after: linalg-propagate-reshapes. Runs before: linalg-fuse-elementwise.
Tests: tests/lowering/linalg/linalg_fold_transposes.mlir, tests/lowering/linalg/test_linalg_numerics.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import DYNAMIC_INDEX, AffineMapAttr, AnyFloat, IntegerType, ModuleOp
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import OpResult, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.linalg_fuse_elementwise import is_contraction
from mlc.lowering.linalg.structure import (
    dims_map,
    erase_dead,
    functions_to_lower,
    identity_map,
    is_copy,
    iterators,
    iterators_of,
    maps_of,
    nested_blocks,
    plain_dims,
    shape_of,
)

FEW_ROWS = 8
"""Of so many rows each with all rows of the other operand, a product takes less time than turning that over."""


@dataclass(frozen=True)
class LinalgFoldTransposes(MlcPass):
    name = "linalg-fold-transposes"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-transposes",
        establishes=("no contraction reads or feeds a transposing copy that keeps the innermost dimension",),
        nests=True,
        rules={
            "read-transposed": "a contraction of a transposing copy -> a contraction that reads its source",
            "write-transposed": "a transposing copy of a contraction -> a contraction that writes in that order",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                erase_dead(block)
                for op in list(block.ops):
                    if isinstance(op, GenericOp) and _foldable(op):
                        self._fold_reads(ctx, op)
                erase_dead(block)  # a copy that is read no more would hide that a result has one reader
                for op in list(block.ops):
                    if isinstance(op, GenericOp) and _foldable(op):
                        self._fold_write(ctx, op)
                erase_dead(block)

    def _fold_reads(self, ctx: MlcContext, op: GenericOp) -> None:
        """Read what transposing copies read, one behind the other."""
        for i in range(len(op.inputs)):
            while (source := _transposed(op.inputs[i])) is not None:
                copy, order = source
                read = plain_dims(maps_of(op)[i])
                assert read is not None
                dims = tuple(read[d] for d in order)
                innermost = plain_dims(maps_of(op)[-1])
                assert innermost is not None
                loses = (innermost[-1] in dims and dims[-1] != innermost[-1]) or _alone_in_vectors(op, i, dims)
                if _parts_groups(op, i, dims):
                    reason = "terms that one instruction sums would no longer lie side by side"
                    ctx.remarks.missed(self.name, op, "transpose kept", reason=reason)
                    break
                if loses and not _summed_for_few_rows(op, i, dims):
                    reason = "the innermost loop would lose its unit stride"
                    ctx.remarks.missed(self.name, op, "transpose kept", reason=reason)
                    break
                maps = list(op.indexing_maps.data)
                maps[i] = dims_map(maps_of(op)[0].num_dims, dims)
                op.operands[i] = copy.inputs[0]
                op.properties["indexing_maps"] = type(op.indexing_maps)(maps)
                op.location = fuse_locations([op.location, copy.location])
                ctx.remarks.applied(self.name, op, "reads a transposed operand", rule="read-transposed")

    def _fold_write(self, ctx: MlcContext, op: GenericOp) -> None:
        """Write in the order of the transposing copies that follow."""
        while (copy := _only_reader(op)) is not None:
            new = _write_transposed(op, copy)
            if new is None:
                return
            op = new
            ctx.remarks.applied(self.name, op, "the contraction writes in this order", rule="write-transposed")


def _foldable(op: GenericOp) -> bool:
    maps = maps_of(op)
    return (
        is_contraction(op)
        and len(op.results) == 1
        and bool(maps[-1].results)
        and all(plain_dims(m) is not None for m in maps)
    )


def _alone_in_vectors(op: GenericOp, i: int, dims: tuple[int, ...]) -> bool:
    """Whether operand `i`, read through `dims`, would lose results side by side that no other operand has: panels of
    rows that meet weights which are read along their rows."""
    reads, kinds = [plain_dims(m) for m in maps_of(op)], iterators_of(op)
    read = reads[i]
    assert read is not None
    panels = kinds[read[-1]] == "p" and any(kinds[d] == "r" for d in read)
    others = [r for j, r in enumerate(reads[:-1]) if j != i and r]
    return panels and kinds[dims[-1]] == "r" and all(kinds[r[-1]] == "r" for r in others)


def _parts_groups(op: GenericOp, i: int, dims: tuple[int, ...]) -> bool:
    """Whether operand `i`, read through `dims`, would lose the groups of terms that fill 32 bits (pairs of bf16)."""
    read = plain_dims(maps_of(op)[i])
    assert read is not None
    element = element_type(op.inputs[i])
    bits = element.bitwidth if isinstance(element, AnyFloat | IntegerType) else 32
    group = shape_of(op.inputs[i])[-1] if read else 1
    return group > 1 and bits * group == 32 and iterators_of(op)[read[-1]] == "r" and dims[-1] != read[-1]


def _summed_for_few_rows(op: GenericOp, i: int, dims: tuple[int, ...]) -> bool:
    """Whether operand `i`, read through `dims`, gives rows that are summed along, to results that lie side by side,
    with few rows of the others."""
    reads, kinds = [plain_dims(m) for m in maps_of(op)], iterators_of(op)
    others = [r for j, r in enumerate(reads[:-1]) if j != i]
    if kinds[dims[-1]] != "r" or any(r is None or not r or r[-1] != dims[-1] for r in others):
        return False
    written = reads[-1]
    if not written or written[-1] not in dims:
        return False
    sizes = dict(zip(written, shape_of(op.outputs[0]), strict=True))
    rows = [size for d, size in sizes.items() if d not in dims]
    return DYNAMIC_INDEX not in rows and prod(rows) <= FEW_ROWS


def _transposed(value: SSAValue) -> tuple[GenericOp, tuple[int, ...]] | None:
    """The transposing copy that made `value`, and for each dimension of its source the one of `value`."""
    if not isinstance(value, OpResult) or not isinstance(value.op, GenericOp) or not is_copy(value.op):
        return None
    order = plain_dims(maps_of(value.op)[0])
    if len(value.op.inputs) != 1 or order is None or sorted(order) != list(range(len(order))):
        return None
    return (value.op, order) if len(order) == maps_of(value.op)[0].num_dims else None


def _only_reader(op: GenericOp) -> GenericOp | None:
    """The transposing copy that alone reads the result of `op` and keeps its innermost dimension."""
    use = op.results[0].get_unique_use()
    if use is None or not isinstance(use.operation, GenericOp):
        return None
    found = _transposed(use.operation.results[0]) if use.operation.results else None
    if found is None or use.operation.inputs[0] is not op.results[0]:
        return None
    _, order = found
    return use.operation if order[-1] == len(order) - 1 else None


def _write_transposed(op: GenericOp, copy: GenericOp) -> GenericOp | None:
    """Replace `copy` by `op` with its loops, and so its result, in the order of `copy`; None where that cannot be."""
    init = op.outputs[0]
    kinds = iterators_of(op)
    written = plain_dims(maps_of(op)[-1])
    order = plain_dims(maps_of(copy)[0])
    assert written is not None and order is not None
    if not isinstance(init, OpResult) or not isinstance(init.op, FillOp) or _uses_index(op):
        return None
    if sorted(written) != [d for d, k in enumerate(kinds) if k == "p"]:
        return None
    at = At(copy, fuse_locations([op.location, copy.location]))
    rank = len(order)
    # new output dimension order[j] is old output dimension j
    outer = [written[order.index(d)] for d in range(rank)]
    loops = [*outer, *(d for d, k in enumerate(kinds) if k == "r")]
    place = {old: new for new, old in enumerate(loops)}

    def moved(dims: Sequence[int] | None) -> AffineMapAttr:
        assert dims is not None
        return dims_map(len(loops), tuple(place[d] for d in dims))

    dest = at.fill(init.op.inputs[0], at.empty(at.sizes(copy.outputs[0]), element_type(copy.outputs[0])))
    region = op.detach_region(0)
    maps = [moved(plain_dims(m)) for m in maps_of(op)[: len(op.inputs)]]
    out = identity_map(len(loops)) if rank == len(loops) else dims_map(len(loops), tuple(range(rank)))
    new = at.add(
        GenericOp(
            list(op.inputs),
            [dest],
            region,
            [*maps, out],
            iterators("p" * rank + "r" * (len(loops) - rank)),
            [dest.type],
        )
    )
    new.results[0].name_hint = copy.results[0].name_hint
    copy.results[0].replace_all_uses_with(new.results[0])
    for old in (copy, op):
        old.detach()
        old.erase()
    return new


def _uses_index(op: GenericOp) -> bool:
    return any(isinstance(inner, IndexOp) for inner in op.body.block.ops)
