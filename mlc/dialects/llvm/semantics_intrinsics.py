"""Reference semantics of the llvm dialect: float arithmetic and intrinsics."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation

from mlc.dialects.arith.integers import binary_int, objects
from mlc.dialects.llvm.intrinsics import DOT_BF16, DOT_UI8, PERMVAR, PERMVAR_TWO
from mlc.dialects.llvm.semantics_tiles import TILE_INTRINSICS, tile_intrinsic
from mlc.dialects.x86vector.semantics import dot_bf16, dot_int8, permuted
from mlc.ir.semantics import Args, Domain, Results, Runner, fail, semantics
from mlc.ir.values import dtype_of, int_width, is_float, signed, unsigned, wrap_int

_DOT_BF16, _DOT_UI8 = ({name.format(bits=bits) for bits in (128, 256, 512)} for name in (DOT_BF16, DOT_UI8))

_FLOAT2 = {
    "llvm.fadd": "add",
    "llvm.fsub": "sub",
    "llvm.fmul": "mul",
    "llvm.fdiv": "div",
    "llvm.frem": "rem",
    "llvm.intr.maximum": "max",
    "llvm.intr.minimum": "min",
    "llvm.intr.maxnum": "maxnum",
    "llvm.intr.minnum": "minnum",
    "llvm.intr.maximumnum": "maxnum",
    "llvm.intr.minimumnum": "minnum",
    "llvm.intr.copysign": "copysign",
    "llvm.intr.pow": "pow",
    "llvm.intr.atan2": "atan2",
}

_FLOAT1 = {
    "llvm.fneg": "neg",
    "llvm.intr.fabs": "abs",
    "llvm.intr.rint": "roundeven",
    "llvm.intr.nearbyint": "roundeven",
    **{
        f"llvm.intr.{n}": n
        for n in [
            "sqrt",
            "ceil",
            "floor",
            "trunc",
            "round",
            "roundeven",
            "exp",
            "exp2",
            "log",
            "log2",
            "log10",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
        ]
    },
}


def _inline(op: Operation, domain: Domain) -> str | None:
    return domain.inline(_FLOAT2[op.name], op.results[0].type)


@semantics(*_FLOAT2, inline=_inline)
def float_binary(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float2(_FLOAT2[op.name], args[0], args[1], op.results[0].type),)


@semantics(*_FLOAT1)
def float_unary(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float1(_FLOAT1[op.name], args[0], op.results[0].type),)


@semantics("llvm.intr.exp10")
def exp10(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    ten = run.domain.constant(np.asarray(10, dtype=dtype_of(t)), t)
    return (run.domain.float2("pow", ten, args[0], t),)


@semantics("llvm.intr.powi")
def powi(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    return (run.domain.float2("pow", args[0], run.domain.from_int(args[1], t), t),)


@semantics("llvm.intr.fma")
def fma(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.fma(args[0], args[1], args[2], op.results[0].type),)


@semantics("llvm.intr.fmuladd")
def fmuladd(op: Operation, args: Args, run: Runner) -> Results:
    """Fused or not is the target's choice; here fused."""
    return fma(op, args, run)


@semantics("llvm.call_intrinsic")
def call_intrinsic(op: Operation, args: Args, run: Runner) -> Results:
    """The few intrinsics that have no op of their own."""
    assert isinstance(op, llvm.CallIntrinsicOp)
    if op.intrin.data in _DOT_UI8:
        return (dot_int8(args),)
    if op.intrin.data == PERMVAR:
        return (permuted(*args),)
    if op.intrin.data == PERMVAR_TWO.format(bits=256):
        low, index, high = args
        return (permuted(np.concatenate([low, high]), index),)
    if op.intrin.data in TILE_INTRINSICS:
        return tile_intrinsic(op.intrin.data, args, run)
    if op.intrin.data not in _DOT_BF16:
        fail(op, f"intrinsic '{op.intrin.data}' has no reference semantics")
    return (dot_bf16(op, args, run),)


@semantics("llvm.fpext", "llvm.fptrunc")
def float_cast(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.convert(args[0], op.operands[0].type, op.results[0].type),)


@semantics("llvm.sitofp", "llvm.uitofp")
def int_to_float(op: Operation, args: Args, run: Runner) -> Results:
    a, source = args[0], op.operands[0].type
    if op.name == "llvm.uitofp":
        a = unsigned(a, source)
    elif int_width(source) == 1:
        a = -np.asarray(a).astype(np.int8)
    return (run.domain.from_int(a, op.results[0].type),)


@semantics("llvm.fptosi", "llvm.fptoui")
def float_to_int(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    size = dtype_of(t).itemsize
    value, bad = run.domain.to_int(
        args[0], op.operands[0].type, np.dtype(f"{'i' if op.name == 'llvm.fptosi' else 'u'}{size}")
    )
    if np.any(bad):
        fail(op, f"a float does not fit {t}")
    return (signed(value, t),)


def _bit(op: Operation, name: str) -> bool:
    attr = op.properties.get(name)
    return isinstance(attr, IntegerAttr) and bool(attr.value.data)


@semantics("llvm.intr.abs")
def abs_(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    if _bit(op, "is_int_min_poison") and np.any(np.asarray(args[0]) == -(2 ** (int_width(t) - 1))):
        fail(op, "the smallest int has no absolute value")
    return (wrap_int(np.abs(args[0]), t),)


@semantics("llvm.intr.ctlz", "llvm.intr.cttz", "llvm.intr.ctpop", "llvm.intr.bitreverse", "llvm.intr.bswap")
def bits(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    width = int_width(t)
    if _bit(op, "is_zero_poison") and np.any(np.asarray(args[0]) == 0):
        fail(op, "of zero, which was excluded")

    def compute(x: int) -> int:
        match op.name:
            case "llvm.intr.ctlz":
                return width - x.bit_length()
            case "llvm.intr.cttz":
                return width if x == 0 else (x & -x).bit_length() - 1
            case "llvm.intr.ctpop":
                return x.bit_count()
            case "llvm.intr.bitreverse":
                return int(f"{x:0{width}b}"[::-1], 2)
            case _:
                return int.from_bytes(x.to_bytes(width // 8, "little"), "big")

    result = np.frompyfunc(compute, 1, 1)(objects(np.asarray(unsigned(args[0], t)).astype(np.uint64)))
    return (signed(np.asarray(result).astype(np.uint64), t),)


@semantics("llvm.intr.sadd.sat", "llvm.intr.ssub.sat", "llvm.intr.uadd.sat", "llvm.intr.usub.sat")
def saturating(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    width = int_width(t)
    is_signed = ".s" in op.name
    a, b = (objects(v if is_signed else unsigned(v, t)) for v in args)
    exact = np.asarray(a + b if "add" in op.name else a - b, dtype=object)
    low, high = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if is_signed else (0, 2**width - 1)
    return (signed(np.minimum(np.maximum(exact, low), high).astype(np.int64 if is_signed else np.uint64), t),)


_REDUCE_INT = {
    f"llvm.intr.vector.reduce.{n}": m
    for n, m in {
        "add": "add",
        "mul": "mul",
        "and": "and",
        "or": "or",
        "xor": "xor",
        "smax": "maxs",
        "smin": "mins",
        "umax": "maxu",
        "umin": "minu",
    }.items()
}
_REDUCE_FLOAT = {
    f"llvm.intr.vector.reduce.{n}": m
    for n, m in {"fmax": "maxnum", "fmin": "minnum", "fmaximum": "max", "fminimum": "min"}.items()
}


def _fold(lanes: Any, start: Any, combine: Any) -> Any:
    acc = start
    for lane in lanes:
        acc = combine(acc, lane)
    return acc


@semantics(*_REDUCE_INT, *_REDUCE_FLOAT)
def reduce(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    lanes = list(args[0])
    if is_float(t):
        name = _REDUCE_FLOAT[op.name]
        return (_fold(lanes[1:], lanes[0], lambda a, b: run.domain.float2(name, a, b, t)),)
    name = _REDUCE_INT[op.name]
    return (_fold(lanes[1:], lanes[0], lambda a, b: binary_int(op, name, a, b, t)),)


@semantics("llvm.intr.vector.reduce.fadd", "llvm.intr.vector.reduce.fmul")
def reduce_ordered(op: Operation, args: Args, run: Runner) -> Results:
    """From lane 0 up, the start value first; with `reassoc` any order is right, this is one."""
    t = op.results[0].type
    name = "add" if op.name.endswith("fadd") else "mul"
    return (_fold(list(args[1]), args[0], lambda a, b: run.domain.float2(name, a, b, t)),)
