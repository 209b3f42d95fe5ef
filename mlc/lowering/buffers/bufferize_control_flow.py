"""Tensors carried by `scf.if`, `scf.for` and `scf.while` become buffers that the regions write.

    %r = scf.for … iter_args(%a = %x) {          memref of %x (or a copy of it, when %x must stay): %a and %r
      %y = … ; scf.yield %y }               -->  scf.for … { …; copy %y into %a, unless it was computed there }

    %r = scf.if %c { yield %t } else { yield %e }    -->  %b = alloc; scf.if %c { write %b } else { write %b }
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import scf, tensor
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from mlc.lowering.buffers.destinations import is_tensor, root_value
from mlc.lowering.buffers.extents import Extent, dims_of, leaves
from mlc.lowering.buffers.function_bufferizer import PASS, FunctionBufferizer, rule
from mlc.lowering.buffers.views import View

Buffer = tuple[SSAValue, View]


def _scalars(values: Sequence[SSAValue]) -> list[SSAValue]:
    return [v for v in values if not is_tensor(v)]


def _replace_terminator(b: FunctionBufferizer, block: Block, new: Operation) -> None:
    last = block.last_op
    assert last is not None
    new.location = last.location
    block.insert_op_before(new, last)
    b.drop(last)


def _bind_args(b: FunctionBufferizer, args: Sequence[BlockArgument], buffers: Sequence[Buffer | None]) -> None:
    for arg, buffer in zip(args, buffers, strict=True):
        if buffer is not None:
            b.bind(arg, *buffer)
            b.erased_args.append(arg)


def _carried(b: FunctionBufferizer, op: Operation, index: int) -> Buffer:
    """The buffer that carries operand `index` of a loop: its own where nothing else needs it, otherwise a copy."""
    value = op.operands[index]
    view = b.analysis.places[value]
    reason = b.analysis.conflict(op, index, view)
    if reason is None:
        return b.memrefs[value], view
    b.module.ctx.remarks.missed(PASS, op, "carried through the loop in a copy", reason=reason)
    buffer, fresh = b.allocate(value.type, dims_of(value))
    if value not in b.analysis.undefined:
        b.copy(b.memrefs[value], buffer)
    return buffer, fresh


def _moves(b: FunctionBufferizer, values: Sequence[SSAValue], targets: Sequence[Buffer | None], at: Operation) -> None:
    """Copy `values` into `targets` before `at`."""
    b._anchor = at  # pyright: ignore[reportPrivateUsage]
    b.move_all(
        [
            (b.memrefs[v], b.analysis.places[v], *target)
            for v, target in zip(values, targets, strict=True)
            if target is not None and v not in b.analysis.undefined
        ]
    )


@rule("scf.for")
def _for(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, scf.ForOp)
    body = op.body.block
    last = body.last_op
    assert last is not None
    buffers: list[Buffer | None] = []
    for i, (init, arg) in enumerate(zip(op.iter_args, body.args[1:], strict=True)):
        if not is_tensor(init):
            buffers.append(None)
        elif last.operands[i] is arg:
            buffers.append((b.memrefs[init], b.analysis.places[init]))
        else:
            buffers.append(_carried(b, op, 3 + i))
    new = scf.ForOp(op.lb, op.ub, op.step, _scalars(op.iter_args), op.detach_region(op.body))
    b.insert(new)
    new.attributes.update(op.attributes)
    _bind_args(b, body.args[1:], buffers)
    b.block(body)
    _moves(b, last.operands, buffers, last)
    _replace_terminator(b, body, scf.YieldOp(*_scalars(last.operands)))
    _finish(b, op, new, buffers)


def _finish(b: FunctionBufferizer, op: Operation, new: Operation, buffers: Sequence[Buffer | None]) -> None:
    for result, buffer in zip(op.results, buffers, strict=True):
        if buffer is not None:
            b.bind(result, *buffer)
    for old, scalar in zip(_scalars(op.results), new.results, strict=True):
        b.replace(old, scalar)
    b.drop(op)


@rule("scf.while")
def _while(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, scf.WhileOp)
    before, after = op.before_region.block, op.after_region.block
    condition, last = before.last_op, after.last_op
    assert isinstance(condition, scf.ConditionOp) and last is not None
    carried = [_carried(b, op, i) if is_tensor(v) else None for i, v in enumerate(op.arguments)]
    forwarded: list[Buffer | None] = []
    for value, result in zip(condition.arguments, op.res, strict=True):
        if not is_tensor(value):
            forwarded.append(None)
        elif isinstance(value, BlockArgument) and value.block is before:
            forwarded.append(carried[value.index])
        else:
            forwarded.append(b.allocate(result.type, _known_before(b, op, dims_of(value))))
    new = scf.WhileOp(
        _scalars(op.arguments),
        [r.type for r in _scalars(op.res)],
        op.detach_region(op.before_region),
        op.detach_region(op.after_region),
    )
    b.insert(new)
    new.attributes.update(op.attributes)
    _bind_args(b, before.args, carried)
    b.block(before)
    _moves(b, condition.arguments, forwarded, condition)
    _replace_terminator(b, before, scf.ConditionOp(condition.condition, *_scalars(condition.arguments)))
    _bind_args(b, after.args, forwarded)
    b.block(after)
    _moves(b, last.operands, carried, last)
    _replace_terminator(b, after, scf.YieldOp(*_scalars(last.operands)))
    _finish(b, op, new, forwarded)


@rule("scf.if")
def _if(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, scf.IfOp)
    regions = [r for r in (op.true_region, op.false_region) if r.blocks]
    yields = [r.block.last_op for r in regions]
    buffers: list[Buffer | None] = []
    for i, result in enumerate(op.output):
        if not is_tensor(result):
            buffers.append(None)
            continue
        branches = [y.operands[i] for y in yields if y is not None]
        extents = [dims_of(v) for v in branches]
        if any(e != extents[0] for e in extents):
            raise b.fail(op, "scf.if whose branches yield tensors of different dynamic sizes")
        buffer = b.allocate(result.type, _known_before(b, op, extents[0]))
        buffers.append(buffer)
        for value, region in zip(branches, regions, strict=True):
            _reserve(b, value, region.block, buffer)
    new = scf.IfOp(
        op.cond,
        [r.type for r in _scalars(op.output)],
        op.detach_region(op.true_region),
        op.detach_region(op.false_region),
    )
    b.insert(new)
    new.attributes.update(op.attributes)
    for region, last in zip(regions, yields, strict=True):
        assert last is not None
        b.block(region.block)
        _moves(b, last.operands, buffers, last)
        _replace_terminator(b, region.block, scf.YieldOp(*_scalars(last.operands)))
    _finish(b, op, new, buffers)


def _reserve(b: FunctionBufferizer, value: SSAValue, block: Block, buffer: Buffer) -> None:
    """Let a value that a branch yields be computed in `buffer`, where it starts from an empty tensor of the branch."""
    root = root_value(value, b.module.destinations)
    fresh = isinstance(root, OpResult) and isinstance(root.op, tensor.EmptyOp) and root.op.parent_block() is block
    if fresh and root.type == value.type:
        b.reserved.setdefault(root.op, buffer)


def _known_before(b: FunctionBufferizer, op: Operation, extents: Sequence[Extent]) -> Sequence[Extent]:
    """`extents`, checked to be known before `op`."""
    for extent in extents:
        for leaf in leaves(extent):
            parent = leaf.owner if isinstance(leaf.owner, Block) else leaf.owner.parent_block()
            if parent is not None and any(parent is inner for inner in op.walk_blocks()):
                raise b.fail(op, f"{op.name} yields a tensor whose size is only known inside it")
    return extents
