"""Reference semantics of `math`: each op computed in float64 and rounded once to its type."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, Step, fail, semantics
from mlc.ir.values import dtype_of, float_kind, int_width, signed, unsigned, wrap_int

_UNARY = {
    "math.absf": "abs",
    **{
        f"math.{n}": n
        for n in [
            "acos",
            "acosh",
            "asin",
            "asinh",
            "atan",
            "atanh",
            "cbrt",
            "ceil",
            "cos",
            "cosh",
            "erf",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "log",
            "log10",
            "log1p",
            "log2",
            "round",
            "roundeven",
            "rsqrt",
            "sin",
            "sinh",
            "sqrt",
            "tan",
            "tanh",
            "trunc",
        ]
    },
}

_BINARY = {"math.powf": "pow", "math.atan2": "atan2", "math.copysign": "copysign"}


@semantics(
    *_UNARY, step=lambda op: Step("float1", (_UNARY[op.name], float_kind(op.results[0].type)), tuple(op.operands))
)
def float_unary(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float1(_UNARY[op.name], args[0], op.results[0].type),)


@semantics(
    *_BINARY, step=lambda op: Step("float2", (_BINARY[op.name], float_kind(op.results[0].type)), tuple(op.operands))
)
def float_binary(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float2(_BINARY[op.name], args[0], args[1], op.results[0].type),)


@semantics("math.erfc")
def erfc(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float1("erfc", args[0], op.results[0].type),)


@semantics("math.sincos")
def sincos(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    return (run.domain.float1("sin", args[0], t), run.domain.float1("cos", args[0], t))


@semantics("math.fma")
def fma(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.fma(args[0], args[1], args[2], op.results[0].type),)


@semantics("math.isnan", "math.isinf", "math.isfinite", "math.isnormal")
def classify(op: Operation, args: Args, run: Runner) -> Results:
    x = run.domain.to_ieee(args[0], op.operands[0].type)
    match op.name:
        case "math.isnan":
            return (np.isnan(x)[()],)
        case "math.isinf":
            return (np.isinf(x)[()],)
        case "math.isfinite":
            return (np.isfinite(x)[()],)
        case _:
            tiny = np.finfo(x.dtype).tiny
            return ((np.isfinite(x) & (np.abs(x) >= tiny))[()],)


@semantics("math.fpowi")
def fpowi(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    return (run.domain.float2("pow", args[0], run.domain.from_int(args[1], t), t),)


@semantics("math.absi")
def absi(op: Operation, args: Args, run: Runner) -> Results:
    return (wrap_int(np.abs(args[0]), op.results[0].type),)


@semantics("math.ipowi")
def ipowi(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    modulus = 2 ** int_width(t)

    def power(a: int, b: int) -> int:
        if b < 0:
            if a == 0:
                fail(op, "zero to a negative power")
            return {1: 1, -1: 1 if b % 2 == 0 else -1}.get(a, 0) % modulus
        return pow(a, b, modulus)

    result = np.frompyfunc(power, 2, 1)(_ints(args[0]), _ints(args[1]))
    return (signed(np.asarray(result).astype(f"u{dtype_of(t).itemsize}"), t),)


def _ints(a: Any) -> Any:
    return np.asarray(a).astype(object)


@semantics("math.ctlz", "math.cttz", "math.ctpop")
def count_bits(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    width = int_width(t)

    def count(x: int) -> int:
        match op.name:
            case "math.ctlz":
                return width - x.bit_length()
            case "math.cttz":
                return width if x == 0 else (x & -x).bit_length() - 1
            case _:
                return x.bit_count()

    result = np.frompyfunc(count, 1, 1)(_ints(np.asarray(unsigned(args[0], t)).astype(np.uint64)))
    if width == 1:
        return (np.asarray(result).astype(np.bool_)[()],)
    return (signed(np.asarray(result).astype(np.uint64), t),)
