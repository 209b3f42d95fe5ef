"""Reference semantics of the llvm dialect: arithmetic, comparisons, casts, vectors, control flow, calls.

Ints and floats mean what they mean in `arith`; structs and arrays are tuples. poison is refused where it is made
(`llvm.mlir.undef` and `llvm.mlir.poison` give all ones: nothing may depend on them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.arith import CMPF_COMPARISON_OPERATIONS, CMPI_COMPARISON_OPERATIONS
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, SymbolRefAttr, VectorType
from xdsl.dialects.llvm import (
    CallOp,
    CondBrOp,
    LLVMArrayType,
    LLVMPointerType,
    LLVMStructType,
    OverflowAttr,
)
from xdsl.ir import Attribute, Operation

from mlc.dialects.arith.integers import binary_int, cast_int, compare_inline, compare_int, plain_inline
from mlc.dialects.arith.semantics import reinterpret
from mlc.dialects.llvm.ops import SwitchOp
from mlc.ir.semantics import Args, Branch, Results, Runner, fail, semantics
from mlc.ir.values import attribute_array, dtype_of, element_type, is_float, static_shape, unsigned

_INT = {
    "llvm.add": "add",
    "llvm.sub": "sub",
    "llvm.mul": "mul",
    "llvm.and": "and",
    "llvm.or": "or",
    "llvm.xor": "xor",
    "llvm.sdiv": "divs",
    "llvm.udiv": "divu",
    "llvm.srem": "rems",
    "llvm.urem": "remu",
    "llvm.shl": "shl",
    "llvm.lshr": "shru",
    "llvm.ashr": "shrs",
    "llvm.intr.smin": "mins",
    "llvm.intr.smax": "maxs",
    "llvm.intr.umin": "minu",
    "llvm.intr.umax": "maxu",
}


def _flags(op: Operation) -> frozenset[str]:
    flags = op.properties.get("overflowFlags")
    if isinstance(flags, OverflowAttr):
        return frozenset(str(f.value) for f in flags.data)
    if isinstance(flags, IntegerAttr):
        return frozenset(name for bit, name in ((1, "nsw"), (2, "nuw")) if flags.value.data & bit)
    return frozenset()


@semantics(*_INT, inline=lambda op, domain: plain_inline(_INT[op.name], op.results[0].type, _flags(op)))
def int_binary(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    if "isExact" in op.properties and op.name in ("llvm.sdiv", "llvm.udiv"):
        rest = binary_int(op, "rems" if op.name == "llvm.sdiv" else "remu", args[0], args[1], t)
        if np.any(np.asarray(rest) != 0):
            fail(op, "a rest although marked exact")
    return (binary_int(op, _INT[op.name], args[0], args[1], t, _flags(op)),)


def _predicate(op: Operation) -> int:
    predicate = op.properties["predicate"]
    assert isinstance(predicate, IntegerAttr)
    return predicate.value.data


def _int_view(t: Attribute) -> Attribute:
    """Pointers compare as the ints they are."""
    return IntegerAttr(0, 64).type if isinstance(element_type(t), LLVMPointerType) else t


@semantics(
    "llvm.icmp",
    inline=lambda op, domain: compare_inline(
        CMPI_COMPARISON_OPERATIONS[_predicate(op)], _int_view(op.operands[0].type)
    ),
)
def icmp(op: Operation, args: Args, run: Runner) -> Results:
    name = CMPI_COMPARISON_OPERATIONS[_predicate(op)]
    return (compare_int(name, args[0], args[1], _int_view(op.operands[0].type)),)


@semantics("llvm.fcmp")
def fcmp(op: Operation, args: Args, run: Runner) -> Results:
    name = CMPF_COMPARISON_OPERATIONS[_predicate(op)]
    return (run.domain.compare(name, args[0], args[1], op.operands[0].type),)


@semantics("llvm.trunc", "llvm.zext", "llvm.sext")
def int_cast(op: Operation, args: Args, run: Runner) -> Results:
    zero = op.name == "llvm.zext"
    return (cast_int(args[0], op.operands[0].type, op.results[0].type, zero_extend=zero),)


@semantics("llvm.bitcast")
def bitcast(op: Operation, args: Args, run: Runner) -> Results:
    source, target = op.operands[0].type, op.results[0].type
    if isinstance(source, LLVMPointerType):
        return args
    shape = static_shape(target)
    if static_shape(source) == shape:
        return (reinterpret(op, args[0], source, target, run),)
    x = np.ascontiguousarray(args[0])
    dtype = dtype_of(target)
    if x.dtype.kind == "b" or dtype.kind == "b":
        return (_bits_of_mask(x, target),)
    return (x.reshape(-1).view(dtype).reshape(shape)[()],)


def _bits_of_mask(x: np.ndarray, target: Attribute) -> Any:
    """`vector<Nxi1>` to an N-bit int and back, lane 0 the lowest bit."""
    if x.dtype.kind == "b":
        packed = np.packbits(x.reshape(-1), bitorder="little")
        dtype = dtype_of(target)
        return np.pad(packed, (0, dtype.itemsize - len(packed))).view(dtype)[0]
    bits = np.unpackbits(x.reshape(-1).view(np.uint8), bitorder="little")
    return bits[: static_shape(target)[0]].astype(np.bool_)


@semantics("llvm.ptrtoint", "llvm.inttoptr", "llvm.addrspacecast", "llvm.freeze", "llvm.intr.expect")
def same(op: Operation, args: Args, run: Runner) -> Results:
    return args[:1]


@semantics("llvm.select")
def select(op: Operation, args: Args, run: Runner) -> Results:
    if np.ndim(args[0]) == 0:
        return (args[1] if args[0] else args[2],)
    return (np.where(args[0], args[1], args[2]),)


def zero_of(t: Attribute) -> Any:
    """The all-zero value of a type."""
    match t:
        case LLVMPointerType():
            return np.int64(0)
        case LLVMArrayType():
            return (zero_of(t.type),) * t.size.data
        case LLVMStructType():
            return tuple(zero_of(m) for m in t.types.data)
        case VectorType() if isinstance(t.element_type, LLVMPointerType):
            return np.zeros(t.get_shape(), dtype=np.int64)
        case _:
            return np.zeros(static_shape(t), dtype=dtype_of(t))[()]


@semantics("llvm.mlir.zero")
def zero(op: Operation, args: Args, run: Runner) -> Results:
    return (zero_of(op.results[0].type),)


def _ones(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_ones(v) for v in value)
    x = np.asarray(value)
    return np.full(x.shape, np.nan if x.dtype.kind == "f" else 1 if x.dtype.kind == "b" else -1, dtype=x.dtype)[()]


@semantics("llvm.mlir.undef", "llvm.mlir.poison")
def undef(op: Operation, args: Args, run: Runner) -> Results:
    return (_ones(zero_of(op.results[0].type)),)


@semantics("llvm.mlir.constant")
def constant(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    value = attribute_array(op.properties["value"], run.resources)
    if is_float(t):
        return (run.domain.constant(value if value.ndim else value[()], element_type(t)),)
    return (value if value.ndim else value.astype(dtype_of(t))[()],)


@semantics("llvm.extractelement")
def extractelement(op: Operation, args: Args, run: Runner) -> Results:
    return (args[0][_lane(op, args[1], len(args[0]))],)


@semantics("llvm.insertelement")
def insertelement(op: Operation, args: Args, run: Runner) -> Results:
    vector, value, position = args
    out = np.array(vector)
    out[_lane(op, position, len(out))] = value
    return (out,)


def _lane(op: Operation, position: Any, count: int) -> int:
    lane = int(unsigned(position, op.operands[-1].type))
    if lane >= count:
        fail(op, f"lane {lane} of {count}")
    return lane


@semantics("llvm.shufflevector")
def shufflevector(op: Operation, args: Args, run: Runner) -> Results:
    mask = op.properties["mask"]
    assert isinstance(mask, DenseArrayBase)
    both = np.concatenate([args[0], args[1]])
    lanes = [int(m) for m in mask.get_values()]
    if any(m >= len(both) for m in lanes):
        fail(op, f"mask {lanes} is outside {len(both)} lanes")
    return (both[[max(m, 0) for m in lanes]],)


def _position(op: Operation) -> list[int]:
    position = op.properties["position"]
    assert isinstance(position, DenseArrayBase)
    return [int(p) for p in position.get_values()]


@semantics("llvm.extractvalue")
def extractvalue(op: Operation, args: Args, run: Runner) -> Results:
    value = args[0]
    for p in _position(op):
        value = value[p]
    return (value,)


def _replaced(whole: tuple[Any, ...], path: list[int], value: Any) -> Any:
    if not path:
        return value
    head = path[0]
    return (*whole[:head], _replaced(whole[head], path[1:], value), *whole[head + 1 :])


@semantics("llvm.insertvalue")
def insertvalue(op: Operation, args: Args, run: Runner) -> Results:
    return (_replaced(args[0], _position(op), args[1]),)


@semantics("llvm.return")
def return_(op: Operation, args: Args, run: Runner) -> Results:
    return args


@semantics("llvm.unreachable")
def unreachable(op: Operation, args: Args, run: Runner) -> Results:
    fail(op, "this point cannot be reached")


@semantics("llvm.br")
def br(op: Operation, args: Args, run: Runner) -> Branch:
    return Branch(0, args)


@semantics("llvm.cond_br")
def cond_br(op: Operation, args: Args, run: Runner) -> Branch:
    assert isinstance(op, CondBrOp)
    split = 1 + len(op.then_arguments)
    return Branch(0, args[1:split]) if args[0] else Branch(1, args[split:])


@semantics("llvm.switch")
def switch(op: Operation, args: Args, run: Runner) -> Branch:
    assert isinstance(op, SwitchOp)
    start = 1 + len(op.default_operands)
    for k, (value, _, operands) in enumerate(op.cases()):
        if int(args[0]) == value:
            return Branch(1 + k, args[start : start + len(operands)])
        start += len(operands)
    return Branch(0, args[1 : 1 + len(op.default_operands)])


# C's math library, as far as calls of it stand in lowered code.
_LIBM = {
    name: name
    for name in [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "erf",
        "erfc",
        "cbrt",
        "sqrt",
        "ceil",
        "floor",
        "trunc",
        "round",
        "roundeven",
    ]
}
_LIBM2 = {"pow": "pow", "atan2": "atan2", "fmod": "rem", "copysign": "copysign", "fmax": "maxnum", "fmin": "minnum"}


@semantics("llvm.call")
def call(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, CallOp)
    callee = op.callee
    if not isinstance(callee, SymbolRefAttr):
        fail(op, "an indirect call")
    name = callee.root_reference.data
    target = run.symbol(name)
    if target is not None and target.regions and target.regions[0].blocks:
        return run.call(name, args)
    t = op.results[0].type if op.results else None
    base = name[:-1] if name.endswith("f") and name[:-1] in {**_LIBM, **_LIBM2, "fma": ""} else name
    if t is None or not is_float(t):
        return run.call(name, args)
    if base in _LIBM:
        return (run.domain.float1(_LIBM[base], args[0], t),)
    if base in _LIBM2:
        return (run.domain.float2(_LIBM2[base], args[0], args[1], t),)
    if base == "fma":
        return (run.domain.fma(args[0], args[1], args[2], t),)
    return run.call(name, args)


@semantics("llvm.intr.assume")
def assume(op: Operation, args: Args, run: Runner) -> Results:
    if not np.all(args[0]):
        fail(op, "what was assumed does not hold")
    return ()


@semantics("llvm.intr.prefetch", "llvm.intr.lifetime.start", "llvm.intr.lifetime.end")
def no_effect(op: Operation, args: Args, run: Runner) -> Results:
    return ()
