"""Reference semantics of `arith` on floats. Each op is rounded once to its type, in the run's domain."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.arith import CMPF_COMPARISON_OPERATIONS
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation

from mlc.dialects.arith.integers import fills_dtype
from mlc.ir.semantics import Args, Domain, Results, Runner, Step, fail, semantics
from mlc.ir.values import dtype_of, float_kind, int_width, unsigned, wrap_int

_BINARY = {
    "arith.addf": "add",
    "arith.subf": "sub",
    "arith.mulf": "mul",
    "arith.divf": "div",
    "arith.remf": "rem",
    "arith.maximumf": "max",
    "arith.minimumf": "min",
    "arith.maxnumf": "maxnum",
    "arith.minnumf": "minnum",
}


def _inline_binary(op: Operation, domain: Domain) -> str | None:
    return domain.inline(_BINARY[op.name], op.results[0].type)


def _binary_step(op: Operation) -> Step:
    return Step("float2", (_BINARY[op.name], float_kind(op.results[0].type)), tuple(op.operands))


@semantics(*_BINARY, inline=_inline_binary, step=_binary_step)
def float_binary(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float2(_BINARY[op.name], args[0], args[1], op.results[0].type),)


@semantics(
    "arith.negf",
    inline=lambda op, domain: domain.inline("neg", op.results[0].type),
    step=lambda op: Step("float1", ("neg", float_kind(op.results[0].type)), tuple(op.operands)),
)
def negf(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.float1("neg", args[0], op.results[0].type),)


@semantics("arith.cmpf")
def cmpf(op: Operation, args: Args, run: Runner) -> Results:
    predicate = op.properties["predicate"]
    assert isinstance(predicate, IntegerAttr)
    name = CMPF_COMPARISON_OPERATIONS[predicate.value.data]
    return (run.domain.compare(name, args[0], args[1], op.operands[0].type),)


@semantics(
    *("arith.extf", "arith.truncf"),
    step=lambda op: Step("round_to", (float_kind(op.results[0].type),), tuple(op.operands)),
)
def float_cast(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.convert(args[0], op.operands[0].type, op.results[0].type),)


@semantics("arith.sitofp", "arith.uitofp")
def int_to_float(op: Operation, args: Args, run: Runner) -> Results:
    a, source = args[0], op.operands[0].type
    if op.name == "arith.uitofp":
        a = unsigned(a, source)
    elif int_width(source) == 1:
        a = -np.asarray(a).astype(np.int8)
    return (run.domain.from_int(a, op.results[0].type),)


def _to_int_step(op: Operation) -> Step | None:
    plain = op.name == "arith.fptosi" and fills_dtype(op.results[0].type)
    return Step("to_int", (dtype_of(op.results[0].type).str,), tuple(op.operands)) if plain else None


@semantics("arith.fptosi", "arith.fptoui", step=_to_int_step)
def float_to_int(op: Operation, args: Args, run: Runner) -> Results:
    target = op.results[0].type
    dtype, width = dtype_of(target), int_width(target)
    is_signed = op.name == "arith.fptosi"
    wide = np.dtype(f"{'i' if is_signed else 'u'}{max(1, dtype.itemsize)}")
    value, bad = run.domain.to_int(args[0], op.operands[0].type, wide)
    limits = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if is_signed else (0, 2**width - 1)
    narrower = width != 8 * wide.itemsize
    if np.any(bad) or (narrower and np.any((np.asarray(value) < limits[0]) | (np.asarray(value) > limits[1]))):
        fail(op, f"a float does not fit {target}")
    if width == 1:
        return ((np.asarray(value) != 0)[()],)
    return (wrap_int(np.asarray(value).astype(dtype, copy=False)[()], target),)
