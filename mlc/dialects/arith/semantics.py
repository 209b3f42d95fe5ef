"""Reference semantics of `arith` on ints: wrap-around arithmetic, comparisons, constants, selects, int casts.

Undefined behaviour and poison (division by zero, a shift too far, overflow under nsw/nuw) is an `ExecutionError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects.arith import CMPI_COMPARISON_OPERATIONS, ConstantOp, IntegerOverflowAttr
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Domain, Results, Runner, fail, semantics
from mlc.ir.values import attribute_array, dtype_of, element_type, int_width, is_float, signed, unsigned, wrap_int


@semantics("arith.constant")
def constant(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ConstantOp)
    value = attribute_array(op.value, run.resources)
    t = op.result.type
    if is_float(t):
        return (run.domain.constant(value if value.ndim else value[()], element_type(t)),)
    return (value if value.ndim else value[()],)


def _bool(op: Operation) -> bool:
    return int_width(op.results[0].type) == 1


def _plain(op: Operation) -> bool:
    """Whether numpy's own arithmetic is the op's: no odd width, no bool, no overflow flags."""
    t = op.results[0].type
    flags = op.properties.get("overflowFlags")
    clean = not (isinstance(flags, IntegerOverflowAttr) and flags.data)
    return clean and int_width(t) == dtype_of(t).itemsize * 8 and not _bool(op)


def _check_overflow(op: Operation, exact: Any, wrapped: Any, a: Any, b: Any) -> None:
    flags = op.properties.get("overflowFlags")
    if not (isinstance(flags, IntegerOverflowAttr) and flags.data):
        return
    t = op.results[0].type
    names = {str(f.value) for f in flags.data}
    if "nsw" in names and np.any(exact(_objects(a), _objects(b)) != _objects(wrapped)):
        fail(op, "signed overflow although marked nsw")
    if "nuw" in names:
        ua, ub, uw = (_objects(unsigned(v, t)) for v in (a, b, wrapped))
        if np.any(exact(ua, ub) != uw):
            fail(op, "unsigned overflow although marked nuw")


def _objects(v: Any) -> Any:
    return np.asarray(v).astype(np.int64 if np.asarray(v).dtype.kind == "b" else np.asarray(v).dtype).astype(object)


def _wrapping(name: str, ufunc: Callable[[Any, Any], Any], on_bool: Callable[[Any, Any], Any], text: str) -> None:
    def inline(op: Operation, domain: Domain) -> str | None:
        return text if _plain(op) else None

    @semantics(name, inline=inline)
    def run_op(op: Operation, args: Args, run: Runner) -> Results:
        a, b = args
        result = on_bool(a, b) if _bool(op) else wrap_int(ufunc(a, b), op.results[0].type)
        _check_overflow(op, ufunc, result, a, b)
        return (result,)


_wrapping("arith.addi", np.add, np.logical_xor, "({0} + {1})")
_wrapping("arith.subi", np.subtract, np.logical_xor, "({0} - {1})")
_wrapping("arith.muli", np.multiply, np.logical_and, "({0} * {1})")


def _bitwise(name: str, ufunc: Callable[[Any, Any], Any], text: str) -> None:
    @semantics(name, inline=lambda op, domain: text)
    def run_op(op: Operation, args: Args, run: Runner) -> Results:
        return (ufunc(args[0], args[1]),)


_bitwise("arith.andi", np.bitwise_and, "({0} & {1})")
_bitwise("arith.ori", np.bitwise_or, "({0} | {1})")
_bitwise("arith.xori", np.bitwise_xor, "({0} ^ {1})")


def _as_signed(v: Any) -> Any:
    """i1 true is -1 when read as signed."""
    x = np.asarray(v)
    return -x.astype(np.int8) if x.dtype.kind == "b" else x


def floor_divide(a: Any, b: Any) -> Any:
    """Division rounded down, on signed ints."""
    return np.floor_divide(a, b)


def _ceil_divide(a: Any, b: Any) -> Any:
    return -np.floor_divide(-a, b) if np.asarray(a).dtype.kind == "u" else _ceil_signed(a, b)


def _ceil_signed(a: Any, b: Any) -> Any:
    q = np.floor_divide(a, b)
    return q + (np.remainder(a, b) != 0).astype(q.dtype)


def _trunc_divide(a: Any, b: Any) -> Any:
    q = np.floor_divide(a, b)
    return q + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))).astype(q.dtype)


def _division(name: str, compute: Callable[[Any, Any], Any], *, is_signed: bool) -> None:
    @semantics(name)
    def run_op(op: Operation, args: Args, run: Runner) -> Results:
        t = op.results[0].type
        if np.any(np.asarray(args[1]) == 0):
            fail(op, "division by zero")
        if is_signed:
            a, b = _as_signed(args[0]), _as_signed(args[1])
            low = -1 if int_width(t) == 1 else -(2 ** (int_width(t) - 1))
            if np.any((a == low) & (b == -1)):
                fail(op, "signed division overflow")
        else:
            a, b = (np.asarray(unsigned(v, t)) for v in args)
            if a.dtype.kind == "b":
                a, b = a.astype(np.uint8), b.astype(np.uint8)
        result = compute(a, b)
        if int_width(t) == 1:
            return ((np.asarray(result) & 1).astype(np.bool_)[()],)
        return (signed(result, t),)


def _ceil_unsigned(a: Any, b: Any) -> Any:
    q = a // b
    return q + (a % b != 0).astype(q.dtype)


_division("arith.divsi", _trunc_divide, is_signed=True)
_division("arith.floordivsi", floor_divide, is_signed=True)
_division("arith.ceildivsi", _ceil_signed, is_signed=True)
_division("arith.remsi", np.fmod, is_signed=True)
_division("arith.divui", np.floor_divide, is_signed=False)
_division("arith.ceildivui", _ceil_unsigned, is_signed=False)
_division("arith.remui", np.remainder, is_signed=False)


def _extremum(name: str, ufunc: Callable[[Any, Any], Any], *, is_signed: bool) -> None:
    @semantics(name)
    def run_op(op: Operation, args: Args, run: Runner) -> Results:
        t = op.results[0].type
        if int_width(t) == 1:  # as signed, true is -1
            smaller = np.logical_or if (ufunc is np.minimum) == is_signed else np.logical_and
            return (smaller(args[0], args[1]),)
        if is_signed:
            return (ufunc(args[0], args[1]),)
        return (signed(ufunc(unsigned(args[0], t), unsigned(args[1], t)), t),)


_extremum("arith.minsi", np.minimum, is_signed=True)
_extremum("arith.maxsi", np.maximum, is_signed=True)
_extremum("arith.minui", np.minimum, is_signed=False)
_extremum("arith.maxui", np.maximum, is_signed=False)


@semantics("arith.shli", "arith.shrui", "arith.shrsi")
def shift(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    width = int_width(t)
    a, b = args
    by = unsigned(b, t)
    if np.any(np.asarray(by) >= width):
        fail(op, f"shift by {np.max(by)} of a {width} bit int")
    if width == 1:
        return (a,)
    if op.name == "arith.shli":
        result = wrap_int(np.left_shift(a, b), t)
        flags = op.properties.get("overflowFlags")
        if isinstance(flags, IntegerOverflowAttr) and flags.data:
            _check_overflow(op, lambda x, y: x * 2**y, result, a, b)
        return (result,)
    if op.name == "arith.shrsi":
        return (np.right_shift(a, b),)
    return (signed(np.right_shift(unsigned(a, t), by), t),)


_SIGNED_COMPARE: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "eq": (np.equal, "({0} == {1})"),
    "ne": (np.not_equal, "({0} != {1})"),
    "slt": (np.less, "({0} < {1})"),
    "sle": (np.less_equal, "({0} <= {1})"),
    "sgt": (np.greater, "({0} > {1})"),
    "sge": (np.greater_equal, "({0} >= {1})"),
}
_UNSIGNED_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "ult": np.less,
    "ule": np.less_equal,
    "ugt": np.greater,
    "uge": np.greater_equal,
}


def compare_ints(predicate: str, a: Any, b: Any, t: Any) -> Any:
    """The ten predicates of `arith.cmpi`."""
    if predicate in _UNSIGNED_COMPARE:
        return _UNSIGNED_COMPARE[predicate](unsigned(a, t), unsigned(b, t))
    if int_width(t) == 1 and predicate not in ("eq", "ne"):
        a, b = _as_signed(a), _as_signed(b)
    return _SIGNED_COMPARE[predicate][0](a, b)


def _cmpi_predicate(op: Operation) -> str:
    predicate = op.properties["predicate"]
    assert isinstance(predicate, IntegerAttr)
    return CMPI_COMPARISON_OPERATIONS[predicate.value.data]


def _cmpi_inline(op: Operation, domain: Domain) -> str | None:
    predicate = _cmpi_predicate(op)
    if predicate in _UNSIGNED_COMPARE or (int_width(op.operands[0].type) == 1 and predicate not in ("eq", "ne")):
        return None
    return _SIGNED_COMPARE[predicate][1]


@semantics("arith.cmpi", inline=_cmpi_inline)
def cmpi(op: Operation, args: Args, run: Runner) -> Results:
    return (compare_ints(_cmpi_predicate(op), args[0], args[1], op.operands[0].type),)


@semantics("arith.select")
def select(op: Operation, args: Args, run: Runner) -> Results:
    cond, a, b = args
    if np.ndim(cond) == 0:
        return (a if cond else b,)
    return (np.where(cond, a, b),)


@semantics("arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast", "arith.index_castui")
def int_cast(op: Operation, args: Args, run: Runner) -> Results:
    source, target = op.operands[0].type, op.results[0].type
    return (cast_int(args[0], source, target, zero_extend=op.name in ("arith.extui", "arith.index_castui")),)


def cast_int(a: Any, source: Any, target: Any, *, zero_extend: bool) -> Any:
    """Int to int: extend by sign or zero, or drop high bits."""
    x = np.asarray(unsigned(a, source) if zero_extend else _as_signed(a))
    if int_width(target) == 1:
        return (x.astype(np.uint8) & 1).astype(np.bool_)[()] if x.dtype.kind == "b" else ((x & 1) != 0)[()]
    return wrap_int(x.astype(dtype_of(target))[()], target)


@semantics("arith.addui_extended")
def addui_extended(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    exact = _objects(unsigned(args[0], t)) + _objects(unsigned(args[1], t))
    overflow = np.asarray(exact >= 2 ** int_width(t)).astype(np.bool_)[()]
    if int_width(t) == 1:
        return (np.logical_xor(args[0], args[1]), overflow)
    return (wrap_int(np.add(args[0], args[1]), t), overflow)


@semantics("arith.mului_extended", "arith.mulsi_extended")
def mul_extended(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    width = int_width(t)
    if op.name == "arith.mului_extended":
        a, b = (_objects(unsigned(v, t)) for v in args)
    else:
        a, b = (_objects(_as_signed(v)) for v in args)
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
    if run.domain.name not in ("ieee", "integers") and is_float(source) != is_float(target):
        fail(op, f"bits of floats have no meaning in the {run.domain.name} domain")
    x = np.asarray(a)
    bits = _to_bits(x, source)
    return _from_bits(bits, target)[()]


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
