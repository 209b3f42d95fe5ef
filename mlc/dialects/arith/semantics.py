"""Reference semantics of `arith` on ints: wrap-around arithmetic, comparisons, constants, selects, int casts.

Undefined behaviour and poison (division by zero, a shift too far, overflow under nsw/nuw) is an `ExecutionError`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.arith import CMPI_COMPARISON_OPERATIONS, ConstantOp
from xdsl.dialects.builtin import DenseResourceAttr, IntegerAttr
from xdsl.ir import Operation

from mlc.arrays.integers import INT2
from mlc.dialects.arith.integers import (
    as_signed,
    binary_int,
    cast_int,
    check_truncation,
    compare_inline,
    compare_int,
    fills_dtype,
    flags_of,
    objects,
    plain_inline,
)
from mlc.ir.semantics import Args, Results, Runner, Step, fail, semantics
from mlc.ir.values import (
    attribute_array,
    dtype_of,
    element_type,
    int_width,
    is_bf16,
    is_float,
    signed,
    static_shape,
    unsigned,
    wrap_int,
)

LONGEST = 4096
"""Bytes of a literal that is part of a step."""


def _constant_step(op: Operation) -> Step | None:
    assert isinstance(op, ConstantOp)
    t, dtype = op.result.type, dtype_of(op.result.type)
    if isinstance(op.value, DenseResourceAttr):
        return Step("weight", (op.value.resource_handle.data, dtype.str, is_bf16(t)), ())
    value = attribute_array(op.value, None)
    if value.size and not any(value.strides):
        value = value.reshape(-1)[:1]
    return Step("literal", (dtype.str, static_shape(t), value.tobytes().hex()), ()) if value.nbytes <= LONGEST else None


@semantics("arith.constant", step=_constant_step)
def constant(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ConstantOp)
    value = attribute_array(op.value, run.resources)
    t = op.result.type
    if is_float(t):
        return (run.domain.constant(value if value.ndim else value[()], element_type(t)),)
    return (value if value.ndim else value[()],)


_BINARY = {
    "arith.addi": "add",
    "arith.subi": "sub",
    "arith.muli": "mul",
    "arith.andi": "and",
    "arith.ori": "or",
    "arith.xori": "xor",
    "arith.divsi": "divs",
    "arith.floordivsi": "floordivs",
    "arith.ceildivsi": "ceildivs",
    "arith.remsi": "rems",
    "arith.divui": "divu",
    "arith.ceildivui": "ceildivu",
    "arith.remui": "remu",
    "arith.minsi": "mins",
    "arith.maxsi": "maxs",
    "arith.minui": "minu",
    "arith.maxui": "maxu",
    "arith.shli": "shl",
    "arith.shrui": "shru",
    "arith.shrsi": "shrs",
}


def _binary_step(op: Operation) -> Step | None:
    plain = _BINARY[op.name] in INT2 and fills_dtype(op.results[0].type) and not flags_of(op)
    return Step("int2", (_BINARY[op.name],), tuple(op.operands)) if plain else None


def _extend_step(op: Operation) -> Step | None:
    plain = op.name == "arith.extsi" and all(fills_dtype(v.type) for v in (op.operands[0], op.results[0]))
    return Step("as_dtype", (dtype_of(op.results[0].type).str,), tuple(op.operands)) if plain else None


@semantics(
    *_BINARY,
    step=_binary_step,
    inline=lambda op, domain: plain_inline(_BINARY[op.name], op.results[0].type, flags_of(op)),
)
def int_binary(op: Operation, args: Args, run: Runner) -> Results:
    return (binary_int(op, _BINARY[op.name], args[0], args[1], op.results[0].type, flags_of(op)),)


def _predicate(op: Operation) -> str:
    predicate = op.properties["predicate"]
    assert isinstance(predicate, IntegerAttr)
    return CMPI_COMPARISON_OPERATIONS[predicate.value.data]


@semantics("arith.cmpi", inline=lambda op, domain: compare_inline(_predicate(op), op.operands[0].type))
def cmpi(op: Operation, args: Args, run: Runner) -> Results:
    return (compare_int(_predicate(op), args[0], args[1], op.operands[0].type),)


@semantics("arith.select")
def select(op: Operation, args: Args, run: Runner) -> Results:
    cond, a, b = args
    if np.ndim(cond) == 0:
        return (a if cond else b,)
    return (np.where(cond, a, b),)


def _cast_inline(op: Operation) -> str | None:
    """Nothing is to be done between index and i64."""
    return "{0}" if int_width(op.operands[0].type) == int_width(op.results[0].type) > 1 else None


@semantics(
    *("arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast", "arith.index_castui"),
    inline=lambda op, domain: _cast_inline(op),
    step=_extend_step,
)
def int_cast(op: Operation, args: Args, run: Runner) -> Results:
    source, target = op.operands[0].type, op.results[0].type
    result = cast_int(args[0], source, target, zero_extend=op.name in ("arith.extui", "arith.index_castui"))
    if op.name == "arith.trunci" and (flags := flags_of(op)):
        check_truncation(op, args[0], result, flags)
    return (result,)


@semantics("arith.addui_extended")
def addui_extended(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    exact = objects(unsigned(args[0], t)) + objects(unsigned(args[1], t))
    overflow = np.asarray(exact >= 2 ** int_width(t)).astype(np.bool_)[()]
    if int_width(t) == 1:
        return (np.logical_xor(args[0], args[1]), overflow)
    return (wrap_int(np.add(args[0], args[1]), t), overflow)


@semantics("arith.mului_extended", "arith.mulsi_extended")
def mul_extended(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    width = int_width(t)
    if op.name == "arith.mului_extended":
        a, b = (objects(unsigned(v, t)) for v in args)
    else:
        a, b = (objects(as_signed(v)) for v in args)
    product = np.asarray(a * b, dtype=object)
    return (_from_objects(product, t, width), _from_objects(product >> width, t, width))


def _from_objects(x: Any, t: Any, width: int) -> Any:
    low = np.asarray(x, dtype=object) & (2**width - 1)
    if width == 1:
        return np.asarray(low).astype(np.bool_)[()]
    dtype = dtype_of(t)
    return signed(np.asarray(low).astype(f"u{dtype.itemsize}"), t)


@semantics("arith.bitcast")
def bitcast(op: Operation, args: Args, run: Runner) -> Results:
    return (reinterpret(op, args[0], op.operands[0].type, op.results[0].type, run),)


def reinterpret(op: Operation, a: Any, source: Any, target: Any, run: Runner) -> Any:
    """The same bits as another type of the same width."""
    domain = run.domain
    if domain.name == "field" and is_float(source) != is_float(target):
        fail(op, f"bits of floats have no meaning in the {domain.name} domain")
    looked_at = is_float(source) and not is_float(target)
    found = _from_bits(_to_bits(domain.looked_at(a) if looked_at else np.asarray(a), source), target)[()]
    return domain.constant(found, target) if is_float(target) and not is_float(source) else found


def _to_bits(x: np.ndarray, t: Any) -> np.ndarray:
    from_bf16 = is_float(t) and dtype_of(t).itemsize != _float_size(t)
    if from_bf16:
        return (np.ascontiguousarray(x).view(np.uint32) >> np.uint32(16)).astype(np.uint16).reshape(x.shape)
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").reshape(x.shape) if x.dtype.kind != "b" else x


def _from_bits(bits: np.ndarray, t: Any) -> np.ndarray:
    if is_float(t) and dtype_of(t).itemsize != _float_size(t):
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return bits.view(dtype_of(t)) if bits.dtype.kind != "b" else bits


def _float_size(t: Any) -> int:
    return element_type(t).bitwidth // 8  # pyright: ignore[reportAttributeAccessIssue]
