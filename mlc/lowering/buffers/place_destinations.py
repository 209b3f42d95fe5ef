"""Let values be computed where they are needed: the second step of `bufferize`, on tensors.

    %e = tensor.empty                                          %s = tensor.extract_slice %d[0, 64] [1, 32] [1, 1]
    %r = call @k(%x, %e)                                  -->  %r = call @k(%x, %s)
    %c = tensor.insert_slice %r into %d[0, 64] …               %c = tensor.insert_slice %r into %d[0, 64] …

    scf.for … iter_args(%a = %x) { %r = call @k(%y, %e)   -->  scf.for … iter_args(%a = %x) { %r = call @k(%y, %a)
                                   yield %r }                                                 yield %r }

    %c = linalg.conv … outs(%e)                                %c = linalg.conv … outs(%out)
    %r = linalg.generic ins(%c, %b) outs(%out)            -->  %r = linalg.generic ins(%c, %b) outs(%out)

What a `tensor.empty` holds is anyone's choice, so putting another tensor in its place never changes a value; whether
the memory is free at that time is checked afterwards (`alias_analysis`), and a bad guess here costs a copy, no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, scf, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import BlockArgument, Operation, OpResult, SSAValue

from mlc.lowering.buffers.destination_style import Writer
from mlc.lowering.buffers.destinations import (
    VIEW_OPS,
    Destinations,
    erase,
    indexing_maps,
    is_elementwise,
    is_permutation,
    is_tensor,
    root_value,
)
from mlc.lowering.buffers.extents import dims_of, leaves

_MOVABLE = (
    tensor.EmptyOp,
    tensor.DimOp,
    tensor.ExtractSliceOp,
    tensor.ExpandShapeOp,
    tensor.CollapseShapeOp,
    arith.ConstantOp,
    arith.AddiOp,
    arith.SubiOp,
    arith.MuliOp,
    linalg.FillOp,
)
_RESHAPES = (tensor.ExpandShapeOp, tensor.CollapseShapeOp)


@dataclass
class Placement:
    """One function, with the destinations that its results must end in."""

    function: FuncOp
    outs: Sequence[SSAValue]
    destinations: Destinations

    def run(self) -> None:
        """Split shared empties, then place results, insertions and in-place elementwise ops."""
        self._split_empties()
        terminator = self.function.body.block.last_op
        assert terminator is not None
        for value, out in zip([v for v in terminator.operands if is_tensor(v)], self.outs, strict=True):
            self._place_result(value, out)
        for op in reversed(list(self.function.body.walk())):
            if isinstance(op, scf.ForOp):
                self._place_carried(op)
            elif isinstance(op, tensor.InsertSliceOp):
                self._place_insertion(op)
            elif isinstance(op, linalg.GenericOp) and is_elementwise(op):
                self._place_elementwise(op)

    # --- one empty per purpose ---

    def _split_empties(self) -> None:
        for op in list(self.function.body.walk()):
            if isinstance(op, tensor.EmptyOp) and op.tensor.has_more_than_one_use():
                self._split(op)

    def _split(self, op: tensor.EmptyOp) -> None:
        chains: dict[object, tensor.EmptyOp] = {}
        for use in list(op.tensor.uses):
            user = use.operation
            if isinstance(user, tensor.ExtractSliceOp) and user.result.has_more_than_one_use():
                for i, later in enumerate(list(user.result.uses)):
                    if i:
                        copy = user.clone()
                        user.parent_block().insert_op_before(copy, user)  # pyright: ignore[reportOptionalMemberAccess]
                        later.operation.operands[later.index] = copy.result
        for use in sorted(op.tensor.uses, key=lambda u: self._position(u.operation)):
            user = use.operation
            if isinstance(user, tensor.DimOp):
                continue
            key = self._chain(user) or (user, use.index)
            if not chains:
                chains[key] = op
            elif key not in chains:
                copy = op.clone()
                op.parent_block().insert_op_after(copy, op)  # pyright: ignore[reportOptionalMemberAccess]
                chains[key] = copy
            user.operands[use.index] = chains[key].tensor

    def _position(self, op: Operation) -> int:
        block = op.parent_block()
        return block.get_operation_index(op) if block is not None else 0

    def _chain(self, user: Operation) -> Operation | None:
        """The first insertion of the chain of insertions that `user` of an empty takes part in."""
        if isinstance(user, tensor.InsertSliceOp):
            return user
        if not isinstance(user, tensor.ExtractSliceOp):
            return None
        value: SSAValue = user.result
        while (use := value.get_unique_use()) is not None:
            op = use.operation
            if isinstance(op, tensor.InsertSliceOp) and use.index == 0:
                root = op
                while isinstance(root.dest, OpResult) and isinstance(root.dest.op, tensor.InsertSliceOp):
                    root = root.dest.op
                return root
            indices = self.destinations.indices(op)
            if use.index not in indices:
                return None
            value = op.results[indices.index(use.index)]
        for use in value.uses:
            op = use.operation
            if isinstance(op, tensor.InsertSliceOp) and use.index == 0:
                root = op
                while isinstance(root.dest, OpResult) and isinstance(root.dest.op, tensor.InsertSliceOp):
                    root = root.dest.op
                return root
        return None

    # --- results of the function, and of one trip of a loop ---

    def _place_carried(self, loop: scf.ForOp) -> None:
        """What a trip hands on goes where the trip found it (sizes known at run time might differ)."""
        last = loop.body.block.last_op
        assert last is not None
        for value, argument in zip(last.operands, loop.body.block.args[1:], strict=True):
            if _is_static(value) and value is not argument:
                self._place_result(value, argument)

    def _place_result(self, value: SSAValue, out: SSAValue) -> None:
        reshapes: list[Operation] = []
        root = root_value(value, self.destinations)
        while isinstance(root, OpResult) and isinstance(root.op, (*_RESHAPES, scf.ForOp)):
            if isinstance(root.op, scf.ForOp):  # its result lies where it was before the first trip
                if not _is_static(root):
                    return
                root = root_value(root.op.iter_args[root.index], self.destinations)
                continue
            reshapes.append(root.op)
            root = root_value(root.op.operands[0], self.destinations)
        if not isinstance(root, OpResult) or not isinstance(root.op, tensor.EmptyOp):
            return
        sizes = [leaf for op in reshapes for e in dims_of(op.operands[0]) for leaf in leaves(e)]
        if not all(self._available(v, root.op, move=False) for v in (out, *sizes)):
            return
        writer = Writer(root.op)
        target = out
        for op in reshapes:
            target = _inverse(op, target, writer)
        root.replace_all_uses_with(target)
        erase(root.op)

    # --- values inserted into a larger one ---

    def _place_insertion(self, op: tensor.InsertSliceOp) -> None:
        source = root_value(op.source, self.destinations)
        if not isinstance(source, OpResult) or not isinstance(source.op, tensor.EmptyOp):
            return
        dest: SSAValue = op.dest
        while isinstance(dest, OpResult) and isinstance(dest.op, tensor.InsertSliceOp):
            dest = dest.op.dest
        operands = [*op.offsets, *op.sizes, *op.strides]
        base = root_value(dest, self.destinations)
        read_only = isinstance(base, BlockArgument) and base.block is self.function.body.block and base not in self.outs
        if base is source or read_only:
            return
        if not all(self._available(v, source.op, move=False) for v in (dest, *operands)):
            return
        for v in (dest, *operands):
            self._available(v, source.op, move=True)
        piece = tensor.ExtractSliceOp.build(
            operands=[dest, list(op.offsets), list(op.sizes), list(op.strides)],
            result_types=[source.type],
            properties={k: op.properties[k] for k in ("static_offsets", "static_sizes", "static_strides")},
        )
        Writer(source.op).insert(piece)
        source.replace_all_uses_with(piece.result)
        erase(source.op)

    def _available(self, value: SSAValue, before: Operation, *, move: bool) -> bool:
        """Whether `value` can be used at `before`, after moving what it is made of up when `move` is set."""
        block = before.parent_block()
        assert block is not None
        if isinstance(value, BlockArgument):
            return value.block is block or _encloses(value.block, block)
        assert isinstance(value, OpResult)
        op = value.op
        if op.parent_block() is not block:
            parent = op.parent_block()
            return parent is not None and _encloses(parent, block)
        if op.is_before_in_block(before):
            return True
        if op is before or not isinstance(op, _MOVABLE):
            return False
        if not all(self._available(v, before, move=move) for v in op.operands):
            return False
        if move:
            op.detach()
            block.insert_op_before(op, before)
        return True

    # --- elementwise ops over their own input ---

    def _place_elementwise(self, op: linalg.GenericOp) -> None:
        maps = indexing_maps(op)
        assert maps is not None
        for index in self.destinations.indices(op):
            dest = op.operands[index]
            if self.destinations.reads_contents(op, index) or not is_permutation(maps[index]):
                continue
            if isinstance(dest, OpResult) and not isinstance(dest.op, (tensor.EmptyOp, *VIEW_OPS)):
                continue
            if not dest.has_one_use():
                continue
            for i, source in enumerate(op.inputs):
                if maps[i] == maps[index] and source.type == dest.type and self._computed_for(source, op):
                    root = root_value(source, self.destinations)
                    assert isinstance(root, OpResult)
                    if root is dest or not self._available(dest, root.op, move=False):
                        continue
                    self._available(dest, root.op, move=True)
                    root.replace_all_uses_with(dest)
                    erase(root.op)
                    break

    def _computed_for(self, value: SSAValue, op: Operation) -> bool:
        """Whether `value` was made in a fresh empty and `op` alone reads it (or ops before `op` too)."""
        root = root_value(value, self.destinations)
        if not isinstance(root, OpResult) or not isinstance(root.op, tensor.EmptyOp) or root is value:
            return False
        block = op.parent_block()
        if root.op.parent_block() is not block:
            return False
        return all(
            u.operation is op or (u.operation.parent_block() is block and u.operation.is_before_in_block(op))
            for u in value.uses
        )


def _is_static(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType) and DYNAMIC_INDEX not in value.type.get_shape()


def _encloses(outer: object, inner: object) -> bool:
    block = inner
    while block is not None and block is not outer:
        op = block.parent_op()  # pyright: ignore[reportAttributeAccessIssue]
        block = op.parent_block() if op is not None else None
    return block is not None


def _inverse(op: Operation, target: SSAValue, writer: Writer) -> SSAValue:
    """`target` in the shape that `op` reshaped from."""
    source = op.operands[0]
    assert isinstance(source.type, TensorType)
    assert isinstance(op, tensor.ExpandShapeOp | tensor.CollapseShapeOp)
    if isinstance(op, tensor.ExpandShapeOp):
        collapse = tensor.CollapseShapeOp.build(
            operands=[target], result_types=[source.type], properties={"reassociation": op.reassociation}
        )
        return writer(collapse)
    sizes = writer.sizes(dims_of(source))
    expand = tensor.ExpandShapeOp(
        target,
        [s for s in sizes if not isinstance(s, int)],
        op.reassociation,
        [s if isinstance(s, int) else DYNAMIC_INDEX for s in sizes],
        source.type,
    )
    return writer(expand)
