"""`torch.prim.Loop` whose condition is always true: `scf.for`.

%r = torch.prim.Loop %n, %true, init(%x) {               %r = scf.for %i = 0 to %n step 1 iter_args(%a = %x) {
^bb0(%i: !torch.int, %a: …):                      -->      …
  torch.prim.Loop.condition %true, iter(%y)                scf.yield %y
}                                                        }

A tensor of which trip %i writes row %i, and that nothing reads before it is whole, starts empty, whatever it started
as.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.dialects import scf, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, TensorType
from xdsl.ir import Block, Operation, OpResult, SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F64, I64
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor, plain

Env = dict[SSAValue, Any]


def convert_loop(c: Conversion, op: Operation, env: Env, convert: Callable[[Operation], None]) -> tuple[Any, ...]:
    """The loop's results. `convert` converts one op of the body and puts its results into `env`."""
    c.operation = op
    body = op.regions[0].block
    last = body.last_op
    assert last is not None
    limit, go_on, *starts = [env[v] for v in op.operands]
    if go_on is not True:
        raise c.refuse("a loop whose condition is not always true has no lowering")
    held = [_as_value(c, v) for v in starts]
    block = Block(arg_types=[IndexType(), *(v.type for v in held)])
    env[body.args[0]] = Scalar(block.args[0], I64)
    trips = c.size(limit)
    c.dims.limit(block.args[0], 0, c.dims.range(trips)[1] - 1)
    for argument, new, start in zip(body.args[1:], block.args[1:], starts, strict=True):
        env[argument] = _like(new, start)
    with c.inside(block):
        for inner in body.ops:
            if inner is last:
                break
            convert(inner)
        c.operation = op
        if env[last.operands[0]] is not True:
            raise c.refuse("a loop whose condition is not always true has no lowering")
        after = [_as_value(c, env[v]) for v in last.operands[1:]]
        for value, argument, given in zip(after, block.args[1:], op.result_types, strict=True):
            if value.type != argument.type:
                raise c.refuse(
                    f"a loop starts with {argument.type} and goes on with {value.type}",
                    hint=f"give the loop's initial value the type that its body returns, {given}",
                )
        c.emit(scf.YieldOp(*after))
    for k, (argument, value) in enumerate(zip(block.args[1:], after, strict=True)):
        if isinstance(argument.type, TensorType) and _overwritten(argument, value, block.args[0], trips):
            held[k] = c.op(tensor.EmptyOp, [], argument.type)
    loop = c.emit(scf.ForOp(c.index(0), c.dims.value(trips), c.index(1), held, block))
    return tuple(_like(r, s) for r, s in zip(loop.results, starts, strict=True))


def _overwritten(argument: SSAValue, value: SSAValue, trip: SSAValue, trips: Dim) -> bool:
    """Whether the trips do no more with a carried tensor than write all of it, one row along one dim each."""
    if not isinstance(value, OpResult) or not isinstance(insert := value.op, tensor.InsertSliceOp):
        return False
    assert isinstance(argument.type, TensorType)
    shape, sizes = argument.type.get_shape(), insert.static_sizes.get_values()
    offsets = insert.static_offsets.get_values()
    rows = [d for d, at in enumerate(offsets) if at == DYNAMIC_INDEX]
    return (
        insert.dest is argument
        and argument.has_one_use()
        and value.has_one_use()
        and list(insert.offsets) == [trip]
        and all(at == 0 for d, at in enumerate(offsets) if d not in rows)
        and all(n == (1 if d in rows else full) for d, (n, full) in enumerate(zip(sizes, shape, strict=True)))
        and all(shape[d] == trips for d in rows)
        and DYNAMIC_INDEX not in shape
    )


def _as_value(c: Conversion, v: Any) -> SSAValue:
    """A tensor or number as one SSA value that a loop can carry."""
    match v:
        case Tensor():
            return c.plain(v).value
        case Scalar():
            return v.value
        case bool():
            return c.number(v, BOOL)
        case int():
            return c.index(v)
        case float():
            return c.number(v, F64)
        case _:
            raise c.refuse(f"a loop that carries {v!r} has no lowering", hint="carry tensors and numbers")


def _like(value: SSAValue, start: Any) -> Any:
    """`value` as the kind of thing that `start` is."""
    match start:
        case Tensor():
            return plain(value, start.dtype, start.shape)
        case Scalar():
            return Scalar(value, start.dtype)
        case bool():
            return Scalar(value, BOOL)
        case int():
            return Scalar(value, I64)
        case _:
            return Scalar(value, F64)
