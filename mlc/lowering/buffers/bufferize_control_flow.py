"""Tensors carried by `scf.if`, `scf.for` and `scf.while` become buffers that the regions write.

%r = scf.for … iter_args(%a = %x) {          memref of %x (or a copy of it, when %x must stay): %a and %r
  %y = … ; scf.yield %y }               -->  scf.for … { …; copy %y into %a, unless it was computed there }

%r = scf.if %c { yield %t } else { yield %e }    -->  %b = alloc; scf.if %c { write %b } else { write %b }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import scf, tensor
from xdsl.ir import Block, BlockArgument, Operation, OpResult, Region, SSAValue

from mlc.lowering.buffers.destinations import is_tensor, root_value
from mlc.lowering.buffers.extents import Extent, dims_of, leaves
from mlc.lowering.buffers.function_bufferizer import PASS, FunctionBufferizer, rule
from mlc.lowering.buffers.views import View

Buffer = tuple[SSAValue, View]


def _scalars(values: Sequence[SSAValue]) -> list[SSAValue]:
    return [v for v in values if not is_tensor(v)]


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


def _same_size(b: FunctionBufferizer, op: Operation, before: SSAValue, after: SSAValue) -> None:
    """A carried tensor must keep its size: its buffer is one."""
    if dims_of(before) != dims_of(after):
        raise b.fail(op, f"{op.name} carries a tensor whose size may change", "keep the size of loop-carried tensors")


def _rebuild(
    b: FunctionBufferizer,
    op: Operation,
    make: Callable[[list[Region]], Operation],
    terminators: Sequence[tuple[Operation, Callable[[], Operation]]],
) -> None:
    """At the end, replace `op` by one that carries scalars only, its regions moved, their terminators made anew."""

    def finish() -> None:
        for last, renew in terminators:
            new_last = renew()
            new_last.location = last.location
            block = last.parent_block()
            assert block is not None
            block.insert_op_before(new_last, last)
        new = make([op.detach_region(r) for r in list(op.regions)])
        new.location = op.location
        new.attributes.update(op.attributes)
        home = op.parent_block()
        assert home is not None
        home.insert_op_before(new, op)
        for old, scalar in zip(_scalars(op.results), new.results, strict=True):
            scalar.name_hint = old.name_hint
            old.replace_all_uses_with(scalar)

    b.finishers.append(finish)
    for last, _ in terminators:
        b.drop(last)
    b.drop(op)


def _bind_results(b: FunctionBufferizer, op: Operation, buffers: Sequence[Buffer | None]) -> None:
    for result, buffer in zip(op.results, buffers, strict=True):
        if buffer is not None:
            b.bind(result, *buffer)


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
            _same_size(b, op, init, last.operands[i])
            buffers.append(_carried(b, op, 3 + i))
    _bind_args(b, body.args[1:], buffers)
    b.block(body)
    _moves(b, last.operands, buffers, last)
    _bind_results(b, op, buffers)
    _rebuild(
        b,
        op,
        lambda regions: scf.ForOp(op.lb, op.ub, op.step, _scalars(op.iter_args), regions[0]),
        [(last, lambda: scf.YieldOp(*_scalars(last.operands)))],
    )


@rule("scf.while")
def _while(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, scf.WhileOp)
    before, after = op.before_region.block, op.after_region.block
    condition, last = before.last_op, after.last_op
    assert isinstance(condition, scf.ConditionOp) and last is not None
    for init, value in zip(op.arguments, last.operands, strict=True):
        if is_tensor(init):
            _same_size(b, op, init, value)
    carried = [_carried(b, op, i) if is_tensor(v) else None for i, v in enumerate(op.arguments)]
    forwarded: list[Buffer | None] = []
    for value, result in zip(condition.args, op.res, strict=True):
        if not is_tensor(value):
            forwarded.append(None)
        elif isinstance(value, BlockArgument) and value.block is before:
            forwarded.append(carried[value.index])
        else:
            forwarded.append(b.allocate(result.type, _known_before(b, op, dims_of(value))))
    _bind_args(b, before.args, carried)
    b.block(before)
    _moves(b, condition.args, forwarded, condition)
    _bind_args(b, after.args, forwarded)
    b.block(after)
    _moves(b, last.operands, carried, last)
    _bind_results(b, op, forwarded)
    _rebuild(
        b,
        op,
        lambda regions: scf.WhileOp(_scalars(op.arguments), [r.type for r in _scalars(op.res)], *regions),
        [
            (condition, lambda: scf.ConditionOp(condition.condition, *_scalars(condition.args))),
            (last, lambda: scf.YieldOp(*_scalars(last.operands))),
        ],
    )


@rule("scf.if")
def _if(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, scf.IfOp)
    blocks = [r.block for r in (op.true_region, op.false_region) if r.blocks]
    yields = [y for block in blocks if (y := block.last_op) is not None]
    buffers: list[Buffer | None] = []
    for i, result in enumerate(op.output):
        if not is_tensor(result):
            buffers.append(None)
            continue
        extents = [dims_of(y.operands[i]) for y in yields]
        if any(e != extents[0] for e in extents):
            raise b.fail(op, "scf.if whose branches yield tensors of different dynamic sizes")
        buffer = b.allocate(result.type, _known_before(b, op, extents[0]))
        buffers.append(buffer)
        for y, block in zip(yields, blocks, strict=True):
            _reserve(b, y.operands[i], block, buffer)
    for y, block in zip(yields, blocks, strict=True):
        b.block(block)
        _moves(b, y.operands, buffers, y)
    _bind_results(b, op, buffers)
    _rebuild(
        b,
        op,
        lambda regions: scf.IfOp(op.cond, [r.type for r in _scalars(op.output)], regions[0], regions[1]),
        [(y, _yield_again(y)) for y in yields],
    )


def _yield_again(y: Operation) -> Callable[[], Operation]:
    return lambda: scf.YieldOp(*_scalars(y.operands))


def _reserve(b: FunctionBufferizer, value: SSAValue, block: Block, buffer: Buffer) -> None:
    """Let a value that a branch yields be computed in `buffer`, where it starts from an empty tensor of the branch."""
    root = root_value(value, b.module.destinations)
    if not isinstance(root, OpResult) or not isinstance(root.op, tensor.EmptyOp) or root.type != value.type:
        return
    if root.op.parent_block() is block:
        b.reserved.setdefault(root.op, buffer)


def _known_before(b: FunctionBufferizer, op: Operation, extents: Sequence[Extent]) -> Sequence[Extent]:
    """`extents`, checked to be known before `op`."""
    for extent in extents:
        for leaf in leaves(extent):
            parent = leaf.owner if isinstance(leaf.owner, Block) else leaf.owner.parent_block()
            if parent is not None and any(parent is inner for inner in op.walk_blocks()):
                raise b.fail(op, f"{op.name} yields a tensor whose size is only known inside it")
    return extents


@rule("scf.yield", "scf.condition")
def _terminator(b: FunctionBufferizer, op: Operation) -> None:
    """Left to the op whose region ends here."""
