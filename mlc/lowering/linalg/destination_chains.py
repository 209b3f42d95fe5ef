"""Chains of insertions into one destination: their order, and which kernels write in place.

    %d1 = insert_slice %a into %d0[0]           %d1 = insert_slice %b into %d0[4]      // %b is ready first
    %d2 = insert_slice %b into %d1[4]    -->    %d2 = insert_slice %a into %d1[0]

Insertions of a chain do not overlap, so they may happen in the order in which their sources are made. The kernel that
makes a source writes into the slice; other readers of the source read the slice of the newest value of the
destination, so that no older value of it is read after a newer one exists.
"""

from __future__ import annotations

from xdsl.dialects import arith, tensor
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import Block, Operation, OpResult, SSAValue

from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.ir.remarks import RemarkLog
from mlc.lowering.linalg.kernel_destinations import CHAIN, slice_of
from mlc.lowering.linalg.kernel_groups import Group, Grouping, stays
from mlc.lowering.linalg.structure import users

_MOVABLE = (arith.ConstantOp, tensor.EmptyOp, FillOp, tensor.DimOp, arith.AddiOp, arith.MuliOp, arith.SubiOp)


class DestinationChains:
    """The chains of one block. `direct[v]` is the insertion that the kernel making `v` writes in place.

    `placed`: insertions of what is in place already.
    """

    def __init__(self, grouping: Grouping, remarks: RemarkLog, pass_name: str, placed: set[Operation]) -> None:
        self.grouping, self.block = grouping, grouping.block
        self.remarks, self.pass_name = remarks, pass_name
        self.direct: dict[SSAValue, tensor.InsertSliceOp] = {}
        self.order: list[list[tensor.InsertSliceOp]] = []
        for chain in self._collect(placed):
            self._thread(chain)
        self.in_place = {*self.direct.values(), *placed}

    def _collect(self, placed: set[Operation]) -> list[list[tensor.InsertSliceOp]]:
        found: dict[object, list[tensor.InsertSliceOp]] = {}
        for op in self.block.ops:
            if isinstance(op, tensor.InsertSliceOp) and op not in placed:
                found.setdefault(op.attributes.get(CHAIN, op), []).append(op)
        return list(found.values())

    def _thread(self, chain: list[tensor.InsertSliceOp]) -> None:
        """Order the insertions by when their sources are there; note which kernels write in place."""
        block, position = self.block, self.grouping.position
        base, end = chain[0].dest, chain[-1].result
        events: list[tuple[int, int, tensor.InsertSliceOp, Group | None]] = []
        for i, insert in enumerate(chain):
            group = self._writer(insert)
            if group is not None and not self._hoist(base, group.last):
                group = None
            if group is not None:
                self.direct[insert.source] = insert
            events.append((position[group.last if group is not None else insert], i, insert, group))
        events.sort(key=lambda e: (e[0], e[1]))
        self.order.append([insert for _, _, insert, _ in events])
        current = base
        readers = [use for use in end.uses if use.operation not in chain]
        for _, _, insert, group in events:
            insert.operands[1] = current
            current = insert.result
            if group is not None:
                insert.detach()
                block.insert_op_after(insert, self._after(group))
                self.remarks.applied(
                    self.pass_name, insert, "the kernel writes into the slice", rule="write-into-slice"
                )
            else:
                reason = "no kernel of its own makes the source"
                self.remarks.missed(self.pass_name, insert, "copied into the slice", reason=reason)
        for use in readers:
            use.operation.operands[use.index] = current

    def _after(self, group: Group) -> Operation:
        """The last insertion behind the group's last op, so that several stay in order."""
        op: Operation = group.last
        while (
            isinstance(following := op.next_op, tensor.InsertSliceOp) and self.direct.get(following.source) is following
        ):
            op = following
        return op

    def _writer(self, insert: tensor.InsertSliceOp) -> Group | None:
        """The group that can write its result into the slice of `insert`."""
        source = insert.source
        if not isinstance(source, OpResult) or source in self.direct:
            return None
        group = self.grouping.group_of.get(source.op)
        if group is None or not isinstance(source.op, (GenericOp, FillOp, PreparedMatmulOp)):
            return None
        others = [u for u in users(source, self.block) if u is not insert]
        if others and (CHAIN not in insert.attributes or any(stays(u) for u in others if u.name != insert.name)):
            return None
        if any(not self._hoist(v, group.last) for v in (*insert.offsets, *insert.sizes, *insert.strides)):
            return None
        return group

    def _hoist(self, value: SSAValue, before: Operation) -> bool:
        """Make `value` defined before `before`, moving cheap ops up; False when that cannot be."""
        position = self.grouping.position
        if not isinstance(value, OpResult) or value.op.parent_block() is not self.block:
            return True
        op = value.op
        if position.get(op, -1) < position[before]:
            return True
        if not isinstance(op, _MOVABLE) or not all(self._hoist(v, before) for v in op.operands):
            return False
        op.detach()
        self.block.insert_op_before(op, before)
        position[op] = position[before] - 1
        return True

    def read_newest(self) -> None:
        """Readers of a source or of an older destination read the newest destination instead (after calls are made)."""
        position = {op: i for i, op in enumerate(self.block.ops)}
        for chain in self.order:
            if CHAIN not in chain[0].attributes:
                continue
            for insert in chain:
                self._redirect_source(insert, chain, position)
            for insert in chain[:-1]:
                self._redirect_views(insert, chain, position)

    def _newest(
        self, chain: list[tensor.InsertSliceOp], user: Operation, position: dict[Operation, int]
    ) -> tensor.InsertSliceOp:
        return [insert for insert in chain if position[insert] < position[user]][-1]

    def _redirect_source(
        self, insert: tensor.InsertSliceOp, chain: list[tensor.InsertSliceOp], position: dict[Operation, int]
    ) -> None:
        if insert not in self.in_place:
            return
        for use in list(insert.source.uses):
            user = _ancestor(self.block, use.operation)
            if user is None or user is insert:
                continue
            view = slice_of(insert, self._newest(chain, user, position).result)
            view.location = insert.location
            self.block.insert_op_before(view, user)
            position[view] = position[user]
            use.operation.operands[use.index] = view.result

    def _redirect_views(
        self, insert: tensor.InsertSliceOp, chain: list[tensor.InsertSliceOp], position: dict[Operation, int]
    ) -> None:
        for use in list(insert.result.uses):
            view = use.operation
            if not isinstance(view, tensor.ExtractSliceOp) or view.attributes.pop(CHAIN, None) is None:
                continue
            for reader in list(view.result.uses):
                user = _ancestor(self.block, reader.operation)
                assert user is not None
                copy = view.clone()
                copy.operands[0] = self._newest(chain, user, position).result
                self.block.insert_op_before(copy, user)
                position[copy] = position[user]
                reader.operation.operands[reader.index] = copy.result


def _ancestor(block: Block, op: Operation) -> Operation | None:
    return block.find_ancestor_op_in_block(op)
