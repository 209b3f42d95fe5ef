"""Integer arithmetic as `arith` and `llvm` define it: wrap-around, undefined behaviour refused.

`binary_int` is the one definition both dialects' semantics call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects.arith import IntegerOverflowAttr
from xdsl.ir import Attribute, Operation

from mlc.arrays.integers import INT2, as_dtype, int2
from mlc.ir.semantics import fail
from mlc.ir.values import dtype_of, int_width, signed, unsigned, wrap_int

Value = Any


def objects(v: Any) -> Any:
    """Python ints, for arithmetic that must not wrap."""
    x = np.asarray(v)
    return x.astype(np.int64 if x.dtype.kind == "b" else x.dtype).astype(object)


def as_signed(v: Any) -> Any:
    """i1 true is -1 when read as signed."""
    x = np.asarray(v)
    return -x.astype(np.int8) if x.dtype.kind == "b" else x


def _trunc_divide(a: Any, b: Any) -> Any:
    q = np.floor_divide(a, b)
    return q + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))).astype(q.dtype)


def _ceil_divide(a: Any, b: Any) -> Any:
    q = np.floor_divide(a, b)
    return q + (np.remainder(a, b) != 0).astype(q.dtype)


_ON_BOOLS: dict[str, Callable[[Any, Any], Any]] = {"add": np.logical_xor, "sub": np.logical_xor, "mul": np.logical_and}
_DIVISIONS: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "divs": (_trunc_divide, True),
    "floordivs": (np.floor_divide, True),
    "ceildivs": (_ceil_divide, True),
    "rems": (np.fmod, True),
    "divu": (np.floor_divide, False),
    "ceildivu": (_ceil_divide, False),
    "remu": (np.remainder, False),
}
_EXTREMA: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "mins": (np.minimum, True),
    "maxs": (np.maximum, True),
    "minu": (np.minimum, False),
    "maxu": (np.maximum, False),
}


def fills_dtype(t: Attribute) -> bool:
    """Whether ints of this type are all that numpy's dtype has, and signed there: what `mlc.arrays.integers` takes."""
    return int_width(t) == 8 * dtype_of(t).itemsize and dtype_of(t).kind == "i"


def flags_of(op: Operation) -> frozenset[str]:
    """`nsw`, `nuw` and `exact`, as far as an op of `arith` has them."""
    flags = op.properties.get("overflowFlags")
    names = {str(f.value) for f in flags.data} if isinstance(flags, IntegerOverflowAttr) else set[str]()
    return frozenset(names | {"exact"} if "isExact" in op.properties else names)


def binary_int(
    op: Operation, name: str, a: Value, b: Value, t: Attribute, flags: frozenset[str] = frozenset()
) -> Value:
    """`a name b` on ints of type `t`; `flags` are `nsw`, `nuw`, `exact`, whose violation is an error."""
    if name in _ON_BOOLS:
        result = _ON_BOOLS[name](a, b) if int_width(t) == 1 else wrap_int(int2(name, a, b), t)
        if flags:
            _check_overflow(op, INT2[name], result, a, b, t, flags)
        return result
    if name in INT2:  # bit by bit
        return int2(name, a, b)
    if name in _DIVISIONS:
        return _divide(op, *_DIVISIONS[name], a, b, t, flags)
    if name in _EXTREMA:
        return _extremum(*_EXTREMA[name], a, b, t)
    return _shift(op, name, a, b, t, flags)


def _check_overflow(
    op: Operation, exact: Callable[[Any, Any], Any], wrapped: Any, a: Any, b: Any, t: Attribute, flags: frozenset[str]
) -> None:
    if "nsw" in flags and np.any(exact(objects(as_signed(a)), objects(as_signed(b))) != objects(as_signed(wrapped))):
        fail(op, "signed overflow although marked nsw")
    if "nuw" in flags:
        ua, ub, uw = (objects(unsigned(v, t)) for v in (a, b, wrapped))
        if np.any(exact(ua, ub) != uw):
            fail(op, "unsigned overflow although marked nuw")


def check_truncation(op: Operation, wide: Any, narrow: Any, flags: frozenset[str]) -> None:
    """Whether the value is the same after the cast, read with its sign (nsw) and without it (nuw)."""
    source, target = op.operands[0].type, op.results[0].type
    if "nsw" in flags and np.any(objects(as_signed(wide)) != objects(as_signed(narrow))):
        fail(op, "signed overflow although marked nsw")
    if "nuw" in flags and np.any(objects(unsigned(wide, source)) != objects(unsigned(narrow, target))):
        fail(op, "unsigned overflow although marked nuw")


def _divide(
    op: Operation,
    compute: Callable[[Any, Any], Any],
    is_signed: bool,
    a: Any,
    b: Any,
    t: Attribute,
    flags: frozenset[str],
) -> Any:
    if np.any(np.asarray(b) == 0):
        fail(op, "division by zero")
    width = int_width(t)
    if is_signed:
        a, b = as_signed(a), as_signed(b)
        if np.any((a == -(2 ** (width - 1))) & (b == -1)):
            fail(op, "signed division overflow")
    else:
        a, b = (np.asarray(unsigned(v, t)) for v in (a, b))
        if width == 1:
            a, b = a.astype(np.uint8), b.astype(np.uint8)
    result = compute(a, b)
    if "exact" in flags and np.any(np.remainder(a, b) != 0):
        fail(op, "a remainder although marked exact")
    if width == 1:
        return ((np.asarray(result) & 1) != 0)[()]
    return signed(result, t)


def _extremum(ufunc: Callable[[Any, Any], Any], is_signed: bool, a: Any, b: Any, t: Attribute) -> Any:
    if int_width(t) == 1:  # as signed, true is -1
        return (np.logical_or if (ufunc is np.minimum) == is_signed else np.logical_and)(a, b)
    if is_signed:
        return ufunc(a, b)
    return signed(ufunc(unsigned(a, t), unsigned(b, t)), t)


def _shift(op: Operation, name: str, a: Any, b: Any, t: Attribute, flags: frozenset[str]) -> Any:
    width = int_width(t)
    by = unsigned(b, t)
    if np.any(np.asarray(by) >= width):
        fail(op, f"shift by {np.max(by)} of a {width} bit int")
    if width == 1:
        return a
    if "exact" in flags and np.any(objects(unsigned(a, t)) % 2 ** objects(by) != 0):
        fail(op, "a bit is shifted out although marked exact")
    if name == "shl":
        result = wrap_int(np.left_shift(a, b), t)
        if flags:
            _check_overflow(op, lambda x, y: x * 2**y, result, a, b, t, flags)
        return result
    if name == "shrs":
        return np.right_shift(a, b)
    return signed(np.right_shift(unsigned(a, t), by), t)


SIGNED_COMPARE: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "eq": (np.equal, "({0} == {1})"),
    "ne": (np.not_equal, "({0} != {1})"),
    "slt": (np.less, "({0} < {1})"),
    "sle": (np.less_equal, "({0} <= {1})"),
    "sgt": (np.greater, "({0} > {1})"),
    "sge": (np.greater_equal, "({0} >= {1})"),
}
UNSIGNED_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "ult": np.less,
    "ule": np.less_equal,
    "ugt": np.greater,
    "uge": np.greater_equal,
}


def compare_int(predicate: str, a: Value, b: Value, t: Attribute) -> Value:
    """The ten predicates of `arith.cmpi` and `llvm.icmp`."""
    if predicate in UNSIGNED_COMPARE:
        return UNSIGNED_COMPARE[predicate](unsigned(a, t), unsigned(b, t))
    if int_width(t) == 1 and predicate not in ("eq", "ne"):
        a, b = as_signed(a), as_signed(b)
    return SIGNED_COMPARE[predicate][0](a, b)


def compare_inline(predicate: str, t: Attribute) -> str | None:
    """The same as a Python expression where numpy's operator is the predicate."""
    if predicate in UNSIGNED_COMPARE or (int_width(t) == 1 and predicate not in ("eq", "ne")):
        return None
    return SIGNED_COMPARE[predicate][1]


def plain_inline(name: str, t: Attribute, flags: frozenset[str]) -> str | None:
    """`binary_int` as a Python expression where numpy's operator is the op: no odd width, no bool, no flags."""
    text = {"and": "({0} & {1})", "or": "({0} | {1})", "xor": "({0} ^ {1})"}.get(name)
    if text is not None:
        return text
    if flags or int_width(t) == 1 or int_width(t) != dtype_of(t).itemsize * 8:
        return None
    return {"add": "({0} + {1})", "sub": "({0} - {1})", "mul": "({0} * {1})"}.get(name)


def cast_int(a: Value, source: Attribute, target: Attribute, *, zero_extend: bool) -> Value:
    """Int to int: extend by sign or zero, or drop high bits."""
    x = np.asarray(unsigned(a, source) if zero_extend else as_signed(a))
    if int_width(target) == 1:
        return ((x.astype(np.uint8) if x.dtype.kind == "b" else x) & 1 != 0)[()]
    return wrap_int(as_dtype(dtype_of(target).str, x), target)
