"""What a loop carries is written by the kernels that make it: its state over the old state, its rows into the whole.

    scf.for %i … iter_args(%c, %all) {                       scf.for %i … iter_args(%c, %all) {
      %old = expand_shape %c                                   %old = expand_shape %c
      %new = linalg.generic ins(%f, %old) outs(%e)             %new = linalg.generic ins(%f) outs(%old)
      %h = linalg.generic ins(%o, %new) outs(%e)      -->      %h = linalg.generic ins(%o, %new) outs(%e)
      %h2 = collapse_shape %h                                  %s = expand_shape (extract_slice %all[%i, 0])
      %whole = insert_slice %h2 into %all[%i, 0]               %row = linalg.generic ins(%h) outs(%s)   // a copy
      yield collapse_shape %new, %whole                        %whole = insert_slice (collapse_shape %row) …

State is written over when the op that makes it is the last to read it, element by element. The copy of a row that
others read too joins the kernel of the row (`kernel_groups`), which then stores it twice instead of loading it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects import scf, tensor
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from mlc.lowering.linalg.build import At, groups_of
from mlc.lowering.linalg.kernel_destinations import slice_of
from mlc.lowering.linalg.kernel_outline import identity_copy, overwrite
from mlc.lowering.linalg.structure import is_elementwise, is_identity, is_static, maps_of, reads_output, shape_of, users

_RESHAPES = (tensor.ExpandShapeOp, tensor.CollapseShapeOp)


@dataclass
class CarriedDestinations:
    """One block. `given[v]`: the tensor that the kernel making `v` writes over; `placed`: insertions of such values;
    `states`, `rows`: how many of each kind there are."""

    block: Block
    given: dict[SSAValue, SSAValue] = field(default_factory=dict)
    placed: set[Operation] = field(default_factory=set)
    states: int = 0
    rows: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.block.parent_op(), scf.ForOp):
            return
        last = self.block.last_op
        assert last is not None
        for argument, value in zip(self.block.args[1:], list(last.operands), strict=True):
            self._state(argument, value)
        for op in list(self.block.ops):
            if isinstance(op, tensor.InsertSliceOp):
                self._row(op)

    def _state(self, argument: SSAValue, value: SSAValue) -> None:
        """Let the op that makes the next `argument` write over the one that it reads."""
        made = _reshaped_from(value)[0]
        if not self._fresh(made):
            return
        assert isinstance(made, OpResult) and isinstance(made.op, GenericOp)
        op = made.op
        reads = [
            (v, m)
            for v, m in zip(op.inputs, maps_of(op), strict=False)
            if _reshaped_from(v)[0] is argument and v.type == made.type
        ]
        if len(reads) != 1 or not is_identity(reads[0][1]):
            return
        old = reads[0][0]
        if not old.has_one_use() or not self._last_reader(op, argument):
            return
        following = _following(op)
        op.detach()
        new = overwrite(op, old, {})
        self.block.insert_op_before(new, following)
        made.replace_all_uses_with(new.results[0])
        op.erase()
        self.given[new.results[0]] = old
        self.states += 1

    def _fresh(self, value: SSAValue) -> bool:
        """Whether an elementwise op of this block makes `value`, in memory that is its own so far."""
        if not isinstance(value, OpResult) or not isinstance(op := value.op, GenericOp):
            return False
        return (
            op.parent_block() is self.block
            and is_elementwise(op)
            and len(op.results) == 1
            and not reads_output(op)
            and is_static(value)
            and isinstance(op.outputs[0].owner, tensor.EmptyOp)
        )

    def _last_reader(self, op: Operation, value: SSAValue) -> bool:
        """Whether nothing behind `op` reads `value`, reshaped or not."""
        for user in users(value, self.block):
            if isinstance(user, _RESHAPES):
                if not self._last_reader(op, user.results[0]):
                    return False
            elif user is not op and not user.is_before_in_block(op):
                return False
        return True

    def _row(self, insert: tensor.InsertSliceOp) -> None:
        """Let the op that makes a row, or a copy behind it, write it into the whole."""
        made, reshapes = _reshaped_from(insert.source)
        if not self._fresh(made):
            return
        assert isinstance(made, OpResult) and isinstance(made.op, GenericOp)
        if not self._reachable(insert, made):
            return
        others = [u for u in users(made, self.block) if u is not (reshapes[-1] if reshapes else insert)]
        if not (reshapes or others) or not all(_may_undo(op) for op in reshapes):
            return
        maker = made.op
        alone = not others and all(op.results[0].has_one_use() for op in reshapes)
        at = At(maker if alone else _following(maker), maker.location)
        target: SSAValue = at.add(slice_of(insert, insert.dest)).result
        for op in reshapes:
            groups = groups_of(op)
            if isinstance(op, tensor.ExpandShapeOp):
                target = at.collapse(target, groups)
            else:
                target = at.expand(target, groups, shape_of(op.src))
        if alone:
            row = made
            maker.operands[len(maker.inputs)] = target
        else:
            row = at.add(identity_copy(made, target, at.location)).results[0]
            value: SSAValue = row
            at = At(insert)
            for op in reversed(reshapes):
                groups = groups_of(op)
                if isinstance(op, tensor.ExpandShapeOp):
                    value = at.expand(value, groups, shape_of(op.result))
                else:
                    value = at.collapse(value, groups)
            insert.operands[0] = value
        self.given[row] = target
        self.placed.add(insert)
        self.rows += 1

    def _reachable(self, insert: tensor.InsertSliceOp, made: OpResult) -> bool:
        """Whether the slice is known where `made` is computed, of a whole that only `insert` looks at."""
        dest = insert.dest
        where = [v for v in (*insert.offsets, *insert.sizes) if isinstance(v, OpResult)]
        return (
            isinstance(dest, BlockArgument)
            and dest.block is self.block
            and dest.has_one_use()
            and is_static(insert.source)
            and not insert.strides
            and all(s == 1 for s in insert.static_strides.get_values())
            and all(v.op.parent_block() is not self.block or v.op.is_before_in_block(made.op) for v in where)
        )


def _reshaped_from(value: SSAValue) -> tuple[SSAValue, list[tensor.ExpandShapeOp | tensor.CollapseShapeOp]]:
    """What `value` is a reshape of, and the reshapes, last one first."""
    reshapes: list[tensor.ExpandShapeOp | tensor.CollapseShapeOp] = []
    while isinstance(value, OpResult) and isinstance(value.op, _RESHAPES):
        reshapes.append(value.op)
        value = value.op.operands[0]
    return value, reshapes


def _may_undo(op: tensor.ExpandShapeOp | tensor.CollapseShapeOp) -> bool:
    """Whether a slice of any strides can be reshaped back without a copy."""
    if not is_static(op.src) or not is_static(op.result):
        return False
    shape = shape_of(op.result)
    return isinstance(op, tensor.CollapseShapeOp) or all(sum(shape[d] != 1 for d in g) <= 1 for g in groups_of(op))


def _following(op: Operation) -> Operation:
    following = op.next_op
    assert following is not None
    return following
