"""The strong verifier: xDSL's own checks plus what it leaves out.

xDSL verifies each op's definition and types; it does not check that a value is defined before it is used, that a
`dense_resource` has the size its type says, or that called functions exist with the called type. All of that is
checked here, and the rules of `op_rules`; errors name the op and its source line.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    DenseResourceAttr,
    IntegerType,
    MemRefType,
    ModuleOp,
    ShapedType,
    StringAttr,
    SymbolRefAttr,
    TensorType,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.traits import IsolatedFromAbove, IsTerminator, NoTerminator, SymbolTable
from xdsl.utils.exceptions import VerifyException

from mlc.errors import VerifyError
from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location
from mlc.ir.op_rules import problem


def verify_module(module: ModuleOp, ctx: MlcContext | None = None) -> None:
    """Raise VerifyError when `module` breaks a rule. Cost is linear in the number of ops."""
    verify_op(module, ctx)
    symbols = {op.sym_name.data: op for op in module.walk() if isinstance(op, func.FuncOp)}
    for op in module.walk():
        if isinstance(op, func.CallOp):
            _verify_call(op, symbols)


def verify_op(root: Operation, ctx: MlcContext | None = None) -> None:
    """The rules that can be checked on one isolated op (a function, say): all but those on calls."""
    try:
        root.verify()
    except VerifyException as e:
        raise _located(root, str(e).strip()) from None
    except RecursionError:
        raise VerifyError("the IR is nested too deeply to verify") from None
    except Exception as e:  # some of xDSL's own checks raise what they like
        raise _located(root, str(e).strip() or type(e).__name__) from None
    for region in root.regions:
        _verify_region(region, set())
    if ctx is None:
        return
    for op in root.walk():
        for attr in (*op.properties.values(), *op.attributes.values()):
            if isinstance(attr, DenseResourceAttr):
                _verify_resource(op, attr, ctx)


def _located(module: Operation, message: str) -> VerifyError:
    """xDSL's exceptions do not say which op failed: find the innermost one that fails alone."""
    for op in module.walk(reverse=True):
        if any(_lacks_terminator(op, region) for region in op.regions):
            return _fail(op, "its region has an empty block", "at least a terminator")
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as e:
            return _redefinition(op) or _fail(op, str(e).strip())
        except Exception:
            return _fail(op, message)
    return VerifyError(message)


def _lacks_terminator(op: Operation, region: Region) -> bool:
    """Whether a region has nothing in it but one empty block, and must end with a terminator."""
    first = region.first_block
    if first is None or first is not region.last_block or first.last_op is not None:
        return False
    return not op.has_trait(NoTerminator, value_if_unregistered=True)


def _redefinition(table: Operation) -> VerifyError | None:
    """The error at the second definition of a symbol, where xDSL names the op that holds both."""
    first: dict[Attribute, Operation] = {}
    for op in table.walk() if table.has_trait(SymbolTable, value_if_unregistered=False) else ():
        name = op.get_attr_or_prop("sym_name")
        if op.parent_op() is not table or not isinstance(name, StringAttr):
            continue
        if name in first:
            before = format_location(first[name].location)
            return _fail(op, f"a second @{name.data}" + (f", the first is at {before}" if before else ""))
        first[name] = op
    return None


def _fail(op: Operation, message: str, expected: str | None = None) -> VerifyError:
    return VerifyError(f"'{op.name}': {message}", where=format_location(op.location) or None, expected=expected)


def _name(value: SSAValue) -> str:
    return f"%{value.name_hint}" if value.name_hint else "a value"


def _verify_region(region: Region, visible: set[SSAValue]) -> None:
    """`visible` holds the values from outside; it is restored before returning."""
    blocks = list(region.blocks)
    if not blocks:
        return
    dominators = _dominators(blocks) if len(blocks) > 1 else {blocks[0]: {blocks[0]}}
    defined: dict[Block, list[SSAValue]] = {b: [*b.args, *(r for op in b.ops for r in op.results)] for b in blocks}
    for block in blocks:
        added: list[SSAValue] = []
        for dom in dominators.get(block, {block}):
            if dom is not block:
                added += [v for v in defined[dom] if v not in visible]
        added += [a for a in block.args if a not in visible]
        visible.update(added)
        last = block.last_op
        for op in block.ops:
            for operand in op.operands:
                if operand not in visible:
                    raise _fail(op, f"uses {_name(operand)} where it is not defined yet")
            told = problem(op)
            if told is not None:
                raise _fail(op, told)
            if op is not last and op.has_trait(IsTerminator, value_if_unregistered=False):
                raise _fail(op, "a terminator must be the last op of its block")
            for inner in op.regions:
                isolated = op.has_trait(IsolatedFromAbove, value_if_unregistered=False)
                _verify_region(inner, set() if isolated else visible)
            for r in op.results:
                if r not in visible:
                    visible.add(r)
                    added.append(r)
        visible.difference_update(added)


def _dominators(blocks: list[Block]) -> dict[Block, set[Block]]:
    """Dominator sets of the reachable blocks (iterative; control flow here is small)."""
    preds: dict[Block, list[Block]] = {b: [] for b in blocks}
    for b in blocks:
        if b.last_op is not None:
            for s in b.last_op.successors:
                if s in preds:
                    preds[s].append(b)
    reach: list[Block] = []
    todo = [blocks[0]]
    seen = {blocks[0]}
    while todo:
        b = todo.pop()
        reach.append(b)
        if b.last_op is not None:
            for s in b.last_op.successors:
                if s not in seen:
                    seen.add(s)
                    todo.append(s)
    order = [b for b in blocks if b in seen]
    dom = {b: set(order) for b in order}
    dom[blocks[0]] = {blocks[0]}
    changed = True
    while changed:
        changed = False
        for b in order[1:]:
            sets = [dom[p] for p in preds[b] if p in dom]
            new = set.intersection(*sets) | {b} if sets else {b}
            if new != dom[b]:
                dom[b] = new
                changed = True
    return dom


def _verify_call(op: func.CallOp, symbols: dict[str, func.FuncOp]) -> None:
    callee: SymbolRefAttr = op.callee
    target = symbols.get(callee.root_reference.data)
    if target is None:
        raise _fail(op, f"calls @{callee.root_reference.data}, which is not in the module")
    wanted = target.function_type
    got_in = [a.type for a in op.arguments]
    if list(wanted.inputs) != got_in:
        raise _fail(op, f"calls @{callee.root_reference.data} with {_types(got_in)}", _types(list(wanted.inputs)))
    got_out = [r.type for r in op.results]
    if list(wanted.outputs) != got_out:
        raise _fail(op, f"@{callee.root_reference.data} returns {_types(got_out)} here", _types(list(wanted.outputs)))


def _types(types: list[Attribute]) -> str:
    return "(" + ", ".join(str(t) for t in types) + ")"


def _verify_resource(op: Operation, attr: DenseResourceAttr, ctx: MlcContext) -> None:
    name = attr.resource_handle.data
    if name not in ctx.resources or not ctx.resources.is_loaded(name):
        return
    ty = attr.type
    if not isinstance(ty, ShapedType):
        raise _fail(op, f"resource '{name}' has a type without a shape")
    data = ctx.resources.get(name)
    bits = (
        ty.element_type.bitwidth
        if isinstance(ty, TensorType | MemRefType) and isinstance(ty.element_type, IntegerType)
        else None
    )
    if tuple(ty.get_shape()) != data.shape:
        raise _fail(op, f"resource '{name}' has shape {data.shape}", f"shape {tuple(ty.get_shape())}")
    if bits is not None and bits >= 8 and np.dtype(data.dtype).itemsize * 8 != bits:
        raise _fail(op, f"resource '{name}' has dtype {data.dtype}", f"{bits}-bit elements")
