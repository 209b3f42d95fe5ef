"""scf and cf -> blocks and branches.

    scf.for %i = %c0 to %n step %c1 { … }   -->   cond_br (0 < n) ^body(0), ^exit
                                                  ^body(%i): … ; cond_br (i + 1 < n) ^body(i + 1), ^exit

Loops come out rotated, with the guard only where the bounds do not show that the body runs; loops that run once or
never disappear. `scf.parallel` runs serially here. A failed `cf.assert` returns its number from the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from xdsl.dialects import llvm, scf
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IndexType, IntegerAttr, IntegerType, i1, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.dialects.llvm.ops import SwitchOp
from mlc.errors import UnsupportedError
from mlc.lowering.llvm.attributes import int_array, plain_values
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.registry import convert_block, converts
from mlc.lowering.llvm.types import parts

_I64_MAX = (1 << 63) - 1
_NO_FLAGS = IntegerAttr(0, 32)
_NSW = IntegerAttr(1, 32)
_SLT = IntegerAttr(2, 64)
_ULT = IntegerAttr(6, 64)


def _all_parts(types: Sequence[Attribute]) -> list[Attribute]:
    return [part for ty in types for part in parts(ty)]


def _flat(b: FunctionBuilder, values: Sequence[SSAValue]) -> list[SSAValue]:
    return [part for v in values for part in b.flatten(v)]


def loop(
    b: FunctionBuilder,
    lower: SSAValue,
    upper: SSAValue,
    step: SSAValue,
    iv: SSAValue,
    inits: Sequence[SSAValue],
    body: Callable[[Sequence[SSAValue]], list[SSAValue]],
    *,
    unsigned: bool = False,
) -> list[SSAValue]:
    """A counted loop carrying the flattened values `inits`; `body` maps them to the next ones. Binds `iv`."""
    index = isinstance(iv.type, IndexType)
    ty = i64 if index else cast(IntegerType, iv.type)
    if index:
        lo, hi, st = b.linear(lower), b.linear(upper), b.linear(step)
        static = not (lo.terms or hi.terms or st.terms)
        if static and st.const > 0:
            trips = max(0, -(-(hi.const - lo.const) // st.const))
            if trips == 0:
                return list(inits)
            if trips == 1:
                b.values[iv] = Linear(lo.const)
                return body(inits)
        nonneg = b.is_nonneg(lo)
        # The last increment cannot wrap when it ends below upper + step <= 2^63 - 1.
        nsw = not hi.terms and not st.terms and 0 < st.const <= _I64_MAX - hi.const
        runs = static and st.const > 0
    else:
        nonneg, nsw, runs = False, False, False
    lower_value, upper_value, step_value = b.value(lower), b.value(upper), b.value(step)
    predicate = _ULT if unsigned else _SLT
    header = b.new_block([ty, *(v.type for v in inits)])
    exit_block = Block(arg_types=[v.type for v in inits])
    if runs:
        b.branch(header, [lower_value, *inits])
    else:
        guard = b.emit(llvm.ICmpOp, (lower_value, upper_value), i1, {"predicate": predicate})
        b.cond_branch(guard, header, [lower_value, *inits], exit_block, list(inits))
    b.push(header)
    if nonneg:
        b.nonneg.add(header.args[0])
    b.values[iv] = Linear(0, {header.args[0]: 1}) if index else header.args[0]
    results = body(header.args[1:])
    flags = {"overflowFlags": _NSW if nsw else _NO_FLAGS}
    following = b.emit(llvm.AddOp, (header.args[0], step_value), ty, flags)
    again = b.emit(llvm.ICmpOp, (following, upper_value), i1, {"predicate": predicate})
    b.cond_branch(again, header, [following, *results], exit_block, results)
    b.region.add_block(exit_block)
    b.pop(exit_block)
    return list(exit_block.args)


def count_loop(b: FunctionBuilder, count: Linear, body: Callable[[Linear], None]) -> None:
    """A loop from 0 to `count` without carried values."""
    if not count.terms and count.const <= 1:
        if count.const == 1:
            body(Linear(0))
        return
    limit = b.materialize(count)
    header, exit_block = b.new_block([i64]), Block()
    if count.terms:
        guard = b.emit(llvm.ICmpOp, (b.int_const(0), limit), i1, {"predicate": _SLT})
        b.cond_branch(guard, header, [b.int_const(0)], exit_block, [])
    else:
        b.branch(header, [b.int_const(0)])
    b.push(header)
    b.nonneg.add(header.args[0])
    body(Linear(0, {header.args[0]: 1}))
    following = b.emit(llvm.AddOp, (header.args[0], b.int_const(1)), i64, {"overflowFlags": _NSW})
    again = b.emit(llvm.ICmpOp, (following, limit), i1, {"predicate": _SLT})
    b.cond_branch(again, header, [following], exit_block, [])
    b.region.add_block(exit_block)
    b.pop(exit_block)


@converts("scf.for")
def for_(b: FunctionBuilder, op: Operation) -> None:
    assert isinstance(op, scf.ForOp)
    block = op.body.block
    iter_args = block.args[1:]

    def body(args: Sequence[SSAValue]) -> list[SSAValue]:
        b.bind(iter_args, args)
        return _flat(b, convert_block(b, block).operands)

    unsigned = "unsignedCmp" in op.properties or "unsignedCmp" in op.attributes
    results = loop(b, op.lb, op.ub, op.step, block.args[0], _flat(b, op.iter_args), body, unsigned=unsigned)
    b.bind(op.results, results)


@converts("scf.parallel")
def parallel(b: FunctionBuilder, op: Operation) -> None:
    assert isinstance(op, scf.ParallelOp)
    block = op.body.block

    def nest(dim: int, args: Sequence[SSAValue]) -> list[SSAValue]:
        if dim == len(block.args):
            return _reduce(b, convert_block(b, block), args)
        return loop(
            b, op.lowerBound[dim], op.upperBound[dim], op.step[dim], block.args[dim], args,
            lambda inner: nest(dim + 1, inner),
        )  # fmt: skip

    b.bind(op.results, nest(0, _flat(b, op.initVals)))


def _reduce(b: FunctionBuilder, op: Operation, args: Sequence[SSAValue]) -> list[SSAValue]:
    """`scf.reduce`: each region combines the value so far with this iteration's."""
    out: list[SSAValue] = []
    at = 0
    for value, region in zip(op.operands, op.regions, strict=True):
        n = len(parts(value.type))
        b.bind(region.block.args, [*args[at : at + n], *b.flatten(value)])
        out += _flat(b, convert_block(b, region.block).operands)
        at += n
    return out


def _arm(b: FunctionBuilder, region: Region, merge: Block) -> None:
    """Convert a region that starts at the innermost scope's block and ends in a jump to `merge`."""
    b.branch(merge, _flat(b, convert_block(b, region.block).operands))


@converts("scf.if")
def if_(b: FunctionBuilder, op: Operation) -> None:
    then, other = op.regions
    has_else = bool(other.blocks)
    merge = Block(arg_types=_all_parts([r.type for r in op.results]))
    then_block = b.new_block()
    else_block = Block() if has_else else merge
    b.cond_branch(b.value(op.operands[0]), then_block, [], else_block, [])
    b.push(then_block)
    _arm(b, then, merge)
    b.scopes.pop()
    if has_else:
        b.region.add_block(else_block)
        b.push(else_block)
        _arm(b, other, merge)
        b.scopes.pop()
    b.region.add_block(merge)
    b.continue_at(merge)
    b.bind(op.results, merge.args)


@converts("scf.index_switch")
def index_switch(b: FunctionBuilder, op: Operation) -> None:
    assert isinstance(op, scf.IndexSwitchOp)
    merge = Block(arg_types=_all_parts([r.type for r in op.results]))
    default = b.new_block()
    blocks = [b.new_block() for _ in op.case_regions]
    cases = [(v, block, ()) for v, block in zip(int_array(op, "cases"), blocks, strict=True)]
    b.add(SwitchOp.get(b.value(op.arg), (default, ()), cases))
    for block, region in zip([default, *blocks], [op.default_region, *op.case_regions], strict=True):
        b.push(block)
        _arm(b, region, merge)
        b.scopes.pop()
    b.region.add_block(merge)
    b.continue_at(merge)
    b.bind(op.results, merge.args)


@converts("scf.while")
def while_(b: FunctionBuilder, op: Operation) -> None:
    before, after = (region.block for region in op.regions)
    header = b.new_block(_all_parts([a.type for a in before.args]))
    b.branch(header, _flat(b, op.operands))
    b.push(header)
    b.bind(before.args, header.args)
    condition = convert_block(b, before)
    passed = _flat(b, condition.operands[1:])
    body = b.new_block([v.type for v in passed])
    exit_block = Block(arg_types=[v.type for v in passed])
    b.cond_branch(b.value(condition.operands[0]), body, passed, exit_block, passed)
    b.continue_at(body)
    b.bind(after.args, body.args)
    b.branch(header, _flat(b, convert_block(b, after).operands))
    b.region.add_block(exit_block)
    b.pop(exit_block)
    b.bind(op.results, exit_block.args)


@converts("scf.execute_region", "memref.alloca_scope")
def execute_region(b: FunctionBuilder, op: Operation) -> None:
    region = op.regions[0]
    if len(region.blocks) != 1:
        raise UnsupportedError(f"'{op.name}' with several blocks cannot be converted")
    terminator = convert_block(b, region.block)
    for result, operand in zip(op.results, terminator.operands, strict=True):
        b.values[result] = b.lowered(operand)


@converts("cf.assert")
def assert_(b: FunctionBuilder, op: Operation) -> None:
    number = b.assertion_number(op)
    ok = b.new_block()
    fail = Block()
    b.cond_branch(b.value(op.operands[0]), ok, [], fail, [])
    fail.add_op(llvm.ReturnOp.create(operands=(b.int_const(number, 32),), location=op.location))
    b.fail_blocks.append(fail)
    b.continue_at(ok)


def convert_terminator(b: FunctionBuilder, op: Operation, blocks: dict[Block, Block]) -> None:
    """A terminator of a function's own blocks."""
    b.loc = op.location
    match op.name:
        case "func.return":
            if b.returns_status:
                b.add(llvm.ReturnOp.create(operands=(b.int_const(0, 32),), location=op.location))
            else:
                b.add(llvm.ReturnOp.create(operands=b.flatten(op.operands[0]), location=op.location))
        case "cf.br":
            b.branch(blocks[op.successors[0]], _flat(b, op.operands))
        case "cf.cond_br":
            n = int_array(op, "operandSegmentSizes")[1]
            then_args, else_args = op.operands[1 : 1 + n], op.operands[1 + n :]
            then, other = (blocks[s] for s in op.successors)
            b.cond_branch(b.value(op.operands[0]), then, _flat(b, then_args), other, _flat(b, else_args))
        case "cf.switch":
            _switch(b, op, blocks)
        case "ub.unreachable":
            b.add(llvm.UnreachableOp.create(location=op.location))
        case _:
            raise UnsupportedError(f"terminator '{op.name}' cannot be converted to the llvm dialect")


def _switch(b: FunctionBuilder, op: Operation, blocks: dict[Block, Block]) -> None:
    default_count = int_array(op, "operandSegmentSizes")[1]
    operands = list(op.operands[1:])
    default = (blocks[op.successors[0]], _flat(b, operands[:default_count]))
    rest = operands[default_count:]
    counts = int_array(op, "case_operand_segments")
    given = op.properties.get("case_values")
    values = [int(v) for v in plain_values(given)] if isinstance(given, DenseIntOrFPElementsAttr) else []
    cases: list[tuple[int, Block, list[SSAValue]]] = []
    for value, count, target in zip(values, counts, op.successors[1:], strict=True):
        args, rest = rest[:count], rest[count:]
        cases.append((value, blocks[target], _flat(b, args)))
    b.add(SwitchOp.get(b.value(op.operands[0]), default, cases))
