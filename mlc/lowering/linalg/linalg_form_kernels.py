"""Partition the model into kernels: every computation moves into a function in destination-passing style.

    func.func @forward(%x) {                          func.func private @matmul_add_0(%x, %w, %b, %out) {kernel} {
      %0 = linalg.fill …                                %0 = linalg.fill … outs(%out)
      %1 = linalg.generic #matmul ins(%x, %w) outs(%0)  %1 = linalg.generic #matmul ins(%x, %w) outs(%0)
      %2 = linalg.generic #bias ins(%1, %b) outs(%e)    %2 = linalg.generic #bias ins(%b) outs(%1) … return %2 }
      return %2 }                              -->    func.func @forward(%x) {
                                                        %e = tensor.empty()
                                                        %2 = func.call @matmul_add_0(%x, %w, %b, %e) … }

What: groups of ops (`kernel_groups`) become kernels, loops over single elements among them; equal groups share one
(`kernel_outline`); concat, pad and insert_slice become writes into slices of one destination (`kernel_destinations`);
what a loop carries is written over (`carried_destinations`). What is left in the model are
constants, empties, views, index arithmetic, `scf` around calls, checks. A returned value is always some kernel's
result or a reshape of one, each of its own: what else is returned is copied first. Why an elementwise op, a sum or a
loop does not join the kernel that makes its operand is a remark.
Runs after: linalg-fuse-elementwise. Runs before: bufferization.
Tests: tests/lowering/linalg/linalg_form_kernels.mlir, tests/lowering/linalg/test_linalg_numerics.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import func, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, SymbolRefAttr, TensorType
from xdsl.ir import Block, OpResult, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At
from mlc.lowering.linalg.carried_destinations import CarriedDestinations
from mlc.lowering.linalg.destination_chains import DestinationChains
from mlc.lowering.linalg.kernel_destinations import CHAIN, SPELLED_OUT, Destinations, slice_of
from mlc.lowering.linalg.kernel_groups import Group, Grouping, stays
from mlc.lowering.linalg.kernel_outline import KernelTable, Outline, identity_copy
from mlc.lowering.linalg.structure import (
    erase_dead,
    functions_to_lower,
    is_scalar_loop,
    is_tensor,
    nested_blocks,
    shape_of,
)

_RESHAPES = (tensor.ExpandShapeOp, tensor.CollapseShapeOp, tensor.CastOp)


@dataclass(frozen=True)
class LinalgFormKernels(MlcPass):
    name = "linalg-form-kernels"
    contract = Contract(
        level_in="linalg",
        level_out="kernels",
        preserves=Bitwise(),
        profile="linalg-groups",
        establishes=("the model holds only calls, views, constants, empties, control flow and index arithmetic",),
        idempotent=False,  # it takes the linalg level, and leaves another
        rules={
            "form-kernel": "a group of ops -> a call of a new kernel",
            "form-loop-kernel": "an scf.for over single elements -> a call of a kernel that holds the loop",
            "reuse-kernel": "a group equal to an earlier one -> a call of its kernel",
            "write-into-slice": "insert_slice of what a kernel makes -> the kernel writes the slice",
            "write-over-state": "what a loop carries on, made of what it carried -> the kernel writes over that",
            "write-row": "insert_slice of a reshaped or shared value into what a loop carries -> its kernel writes it",
            "copy-into-slice": "any other insert_slice -> a kernel that copies into the slice",
            "copy-returned": "a returned argument, constant or view -> a copy of its own",
            **SPELLED_OUT,
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        table = KernelTable(module)
        for entry in list(functions_to_lower(module.ops)):
            for block in list(nested_blocks(entry)):
                if _in_scalar_loop(block):
                    continue
                _FormKernels(ctx, self.name, table).run(block)


def _in_scalar_loop(block: Block) -> bool:
    """Whether a loop that becomes one kernel holds `block`."""
    op = block.parent_op()
    while op is not None and not is_scalar_loop(op):
        op = op.parent_op()
    return op is not None


class _FormKernels:
    def __init__(self, ctx: MlcContext, pass_name: str, table: KernelTable) -> None:
        self.ctx, self.pass_name, self.table = ctx, pass_name, table
        self.slice_for: dict[SSAValue, tensor.InsertSliceOp] = {}  # kernel result -> where it is inserted
        self.given: dict[SSAValue, SSAValue] = {}  # kernel result -> what a loop carries, written over

    def run(self, block: Block) -> None:
        spelled = Destinations(block).spell_out()
        spelled["copy-returned"] = _copy_returned_aliases(block)
        for rule, times in spelled.items():
            self.ctx.remarks.count(self.pass_name, rule, times)
        carried = CarriedDestinations(block)
        self.given = carried.given
        self.ctx.remarks.count(self.pass_name, "write-over-state", carried.states)
        self.ctx.remarks.count(self.pass_name, "write-row", carried.rows)
        grouping = Grouping(block)
        chains = DestinationChains(grouping, self.ctx.remarks, self.pass_name, carried.placed)
        self.slice_for = chains.direct
        lasts = {group.last: group for group in grouping.groups}
        for op in list(block.ops):
            if op in lasts:
                self._emit(lasts[op], block, [why for o in lasts[op].ops if (why := grouping.apart.get(o))])
            elif isinstance(op, tensor.InsertSliceOp) and op not in chains.in_place:
                self._emit_copy(op, block)
        chains.read_newest()
        for op in block.ops:
            if isinstance(op, (tensor.InsertSliceOp, tensor.ExtractSliceOp)):
                op.attributes.pop(CHAIN, None)
        erase_dead(block)

    # -- calls ---------------------------------------------------------------------------------------------------

    def _emit(self, group: Group, block: Block, apart: Sequence[str]) -> None:
        outputs = group.outputs(block)
        at = At(group.last)
        destinations: list[SSAValue] = []
        for value in outputs:
            insert = self.slice_for.get(value)
            if value in self.given:
                destinations.append(self.given[value])
            elif insert is not None:
                dest = insert.dest
                while isinstance(dest.owner, tensor.InsertSliceOp) and dest.owner.source in outputs:
                    dest = dest.owner.dest  # another result of this call goes there first
                destinations.append(at.add(slice_of(insert, dest)).result)
            else:
                destinations.append(_fresh_destination(value, at))
        following = group.last.next_op
        assert following is not None
        inside = set(group.ops)
        readers = [
            [u for u in value.uses if block.find_ancestor_op_in_block(u.operation) not in inside] for value in outputs
        ]
        outline = Outline(group.ops, outputs, self.given)
        reused = self.table.reused
        rule = "form-loop-kernel" if any(is_scalar_loop(op) for op in group.ops) else "form-kernel"
        kernel = outline.kernel(self.table)
        arguments = [outline.free[i] for i in kernel.kept]
        name = kernel.function.sym_name.data
        call = func.CallOp(SymbolRefAttr(name), [*arguments, *destinations], [v.type for v in outputs])
        call.location = outline.location
        block.insert_op_before(call, following)
        for old, new, uses in zip(outputs, call.results, readers, strict=True):
            new.name_hint = old.name_hint
            for use in uses:
                use.operation.operands[use.index] = new
        self.ctx.remarks.applied(
            self.pass_name,
            call,
            f"formed kernel @{name}",
            rule="reuse-kernel" if self.table.reused > reused else rule,
            kernel=name,
            ops=len(group.ops),
            reused=self.table.reused > reused,
        )
        for why in dict.fromkeys(apart):
            what = "not in one kernel with what makes its operand"
            self.ctx.remarks.missed(self.pass_name, call, what, reason=why, kernel=name)

    def _emit_copy(self, insert: tensor.InsertSliceOp, block: Block) -> None:
        """Copy the source into its slice by a kernel."""
        self.ctx.remarks.count(self.pass_name, "copy-into-slice")
        at = At(insert)
        dest = at.add(slice_of(insert, insert.dest)).result
        copy = at.add(identity_copy(insert.source, at.empty_like(insert.source), at.location))
        insert.operands[0] = copy.results[0]
        outline = Outline([copy], [copy.results[0]])  # pyright: ignore[reportArgumentType]
        kernel = outline.kernel(self.table)
        arguments = [outline.free[i] for i in kernel.kept]
        call = func.CallOp(SymbolRefAttr(kernel.function.sym_name.data), [*arguments, dest], [dest.type])
        insert.operands[0] = at.add(call).results[0]


def _fresh_destination(value: OpResult, at: At) -> SSAValue:
    """A new tensor for a kernel's result."""
    ty = value.type
    assert isinstance(ty, TensorType)
    if DYNAMIC_INDEX not in ty.get_shape():
        return at.add(tensor.EmptyOp([], ty)).tensor
    sizes = [at.dim(value, i) if n == DYNAMIC_INDEX else n for i, n in enumerate(shape_of(value))]
    return at.empty(sizes, ty.element_type)


def _copy_returned_aliases(block: Block) -> int:
    """Every tensor that a function returns becomes the result of some op of its own. How many were copied."""
    final = block.last_op
    copies = 0
    if not isinstance(final, func.ReturnOp):
        return copies
    seen: set[SSAValue] = set()
    for i, value in enumerate(final.operands):
        if not is_tensor(value):
            continue
        base = value
        while isinstance(base, OpResult) and isinstance(base.op, _RESHAPES):
            base = base.op.operands[0]
        own = isinstance(base, OpResult) and (
            not stays(base.op) or isinstance(base.op, tensor.InsertSliceOp) or base.op.name.startswith("scf.")
        )
        if own and base not in seen:
            seen.add(base)
            continue
        at = At(final)
        copy = at.add(identity_copy(value, at.empty_like(value), at.location))
        final.operands[i] = copy.results[0]
        copies += 1
    return copies
