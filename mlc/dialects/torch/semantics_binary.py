"""Meaning of elementwise ATen ops of several operands: arithmetic, comparisons, choice, clamping."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.ir import Attribute

from mlc.dialects.torch.numpy_values import Call, aten, numpy_dtype, round_to, wide
from mlc.dialects.torch.types import bf16, f16


def _divisor(b: np.ndarray) -> np.ndarray:
    """An integer divisor, which must not be 0."""
    if b.dtype.kind in "iu" and np.any(b == 0):
        raise ZeroDivisionError("division by zero")
    return b


def _fmod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Remainder with the dividend's sign."""
    return np.fmod(a, _divisor(b))


def _same_sign_mod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Remainder with the divisor's sign."""
    if a.dtype.kind == "f":
        r = np.fmod(wide(a), wide(b))
        return np.where((r != 0) & ((r < 0) != (b < 0)), r + wide(b), r)
    return np.mod(a, _divisor(b))


def _floor_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f":
        return np.floor_divide(a, _divisor(b))
    quotient = a / b
    mod = np.fmod(a, b)
    div = (a - mod) / b
    div = np.where((mod != 0) & ((b < 0) != (mod < 0)), div - 1, div)
    floored = np.floor(div)
    floored = np.where(div - floored > 0.5, floored + 1, floored)
    out = np.where(div != 0, floored, np.copysign(np.zeros((), a.dtype), quotient))
    return np.where(b == 0, quotient, out)


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "fc":
        return np.power(wide(a), wide(b))
    if a.dtype.kind == "b":
        return a | ~b
    negative = b < 0
    out = np.power(a, np.where(negative, 0, b).astype(a.dtype))
    by_one = np.where(a == 1, 1, np.where(a == -1 if a.dtype.kind == "i" else False, np.where(b % 2 == 0, 1, -1), 0))
    return np.where(negative, by_one.astype(a.dtype), out)


def _shift_left(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bits = a.dtype.itemsize * 8
    inside = (b >= 0) & (b < bits)
    return np.where(inside, np.left_shift(a, np.where(inside, b, 0).astype(a.dtype)), 0)


def _shift_right(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bits = a.dtype.itemsize * 8
    inside = (b >= 0) & (b < bits)
    return np.where(
        inside, np.right_shift(a, np.where(inside, b, 0).astype(a.dtype)), np.where(a < 0, -1, 0).astype(a.dtype)
    )


_IN_RESULT: dict[str, Callable[[Any, Any], Any]] = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "max.other": np.maximum,
    "min.other": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fmod.Tensor": _fmod,
    "fmod.Scalar": _fmod,
    "remainder.Tensor": _same_sign_mod,
    "remainder.Scalar": _same_sign_mod,
    "remainder.Scalar_Tensor": _same_sign_mod,
    "atan2": lambda a, b: np.arctan2(wide(a), wide(b)),
    "arctan2": lambda a, b: np.arctan2(wide(a), wide(b)),
    "hypot": lambda a, b: np.hypot(wide(a), wide(b)),
    "copysign.Tensor": np.copysign,
    "copysign.Scalar": np.copysign,
    "logaddexp": lambda a, b: np.logaddexp(wide(a), wide(b)),
    "logaddexp2": lambda a, b: np.logaddexp2(wide(a), wide(b)),
    "pow.Tensor_Tensor": _power,
    "pow.Scalar": _power,
    "bitwise_and.Tensor": np.bitwise_and,
    "bitwise_and.Scalar": np.bitwise_and,
    "bitwise_and.Scalar_Tensor": np.bitwise_and,
    "bitwise_or.Tensor": np.bitwise_or,
    "bitwise_or.Scalar": np.bitwise_or,
    "bitwise_or.Scalar_Tensor": np.bitwise_or,
    "bitwise_xor.Tensor": np.bitwise_xor,
    "bitwise_xor.Scalar": np.bitwise_xor,
    "bitwise_xor.Scalar_Tensor": np.bitwise_xor,
    "__and__.Tensor": np.bitwise_and,
    "__and__.Scalar": np.bitwise_and,
    "__or__.Tensor": np.bitwise_or,
    "__or__.Scalar": np.bitwise_or,
    "__xor__.Tensor": np.bitwise_xor,
    "__xor__.Scalar": np.bitwise_xor,
    "bitwise_left_shift.Tensor": _shift_left,
    "bitwise_left_shift.Tensor_Scalar": _shift_left,
    "bitwise_right_shift.Tensor": _shift_right,
    "bitwise_right_shift.Tensor_Scalar": _shift_right,
    "__lshift__.Scalar": _shift_left,
    "__lshift__.Tensor": _shift_left,
    "bitwise_left_shift.Scalar_Tensor": _shift_left,
    "bitwise_right_shift.Scalar_Tensor": _shift_right,
    "nextafter": np.nextafter,
    "__rshift__.Scalar": _shift_right,
    "__rshift__.Tensor": _shift_right,
    "gcd": np.gcd,
    "lcm": lambda a, b: np.lcm(*(v.astype(np.int32) if v.dtype.itemsize < 4 else v for v in (a, b))),
    "xlogy.Tensor": lambda a, b: np.where(np.isnan(b), b, np.where(a == 0, 0, wide(a) * np.log(wide(b)))),
    "ldexp.Tensor": lambda a, b: wide(a) * np.exp2(wide(b)),
}


_IN_COMMON: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def _in_result(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(c: Call, a: Any, b: Any) -> Any:
        return fn(_element(a, c.element()), _element(b, c.element()))

    return run


def _in_common(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(c: Call, a: Any, b: Any) -> Any:
        common = c.common(0, 1)
        return fn(_element(a, common), _element(b, common))

    return run


def _element(value: Any, element: Attribute) -> np.ndarray:
    """An operand in the common type, as ATen's kernels read it: numbers are rounded even to a half type."""
    array = np.asarray(value)
    half = element in (f16, bf16) and array.dtype.kind == "f"
    return round_to(array, element) if half else array.astype(numpy_dtype(element))


def _quotient_operands(c: Call, a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Half types divide in float32, and do not round a number that divides."""
    left = _element(a, c.element())
    dtype = np.dtype(np.float32) if left.dtype == np.float16 else left.dtype
    return left.astype(dtype), _cast(b, dtype)


def _cast(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    return np.asarray(value).astype(dtype)


for _name, _fn2 in _IN_RESULT.items():
    aten(_name)(_in_result(_fn2))


for _name, _fn2 in _IN_COMMON.items():
    aten(f"{_name}.Tensor {_name}.Scalar")(_in_common(_fn2))


aten("not_equal.Tensor not_equal.Scalar")(_in_common(operator.ne))


aten("less.Tensor")(_in_common(operator.lt))


aten("greater.Tensor")(_in_common(operator.gt))


aten("less_equal.Tensor")(_in_common(operator.le))


aten("greater_equal.Tensor")(_in_common(operator.ge))


@aten("logical_and")
def logical_and(_c: Call, a: np.ndarray, b: np.ndarray) -> Any:
    """Both are not 0."""
    return np.logical_and(a, b)


@aten("logical_or")
def logical_or(_c: Call, a: np.ndarray, b: np.ndarray) -> Any:
    """One is not 0."""
    return np.logical_or(a, b)


@aten("logical_xor")
def logical_xor(_c: Call, a: np.ndarray, b: np.ndarray) -> Any:
    """Just one is not 0."""
    return np.logical_xor(a, b)


@aten("isclose")
def isclose(
    _c: Call, a: np.ndarray, b: np.ndarray, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Within a tolerance."""
    return np.isclose(a, b, rtol, atol, equal_nan)


@aten("add.Tensor add.Scalar")
def add(c: Call, a: Any, b: Any, alpha: Any = 1) -> Any:
    """a + alpha * b."""
    return _scaled_sum(c, a, b, alpha, 1)


@aten("sub.Tensor sub.Scalar subtract.Tensor")
def sub(c: Call, a: Any, b: Any, alpha: Any = 1) -> Any:
    """a - alpha * b."""
    return _scaled_sum(c, a, b, alpha, -1)


@aten("rsub.Tensor rsub.Scalar")
def rsub(c: Call, a: Any, b: Any, alpha: Any = 1) -> Any:
    """b - alpha * a."""
    return _scaled_sum(c, b, a, alpha, -1)


def _scaled_sum(c: Call, a: Any, b: Any, alpha: Any, sign: int) -> Any:
    dtype = c.dtype()
    if dtype.kind == "b":
        return np.logical_or(a, np.logical_and(b, bool(alpha)))
    left, right = _element(a, c.element()), _element(b, c.element())
    if alpha != 1:
        factor = _element(alpha, c.element())
        right = wide(right) * factor if dtype.kind in "fc" else right * factor
    return left + right if sign > 0 else left - right


@aten("div.Tensor div.Scalar true_divide.Tensor true_divide.Scalar divide.Tensor")
def div(c: Call, a: Any, b: Any) -> Any:
    """True division."""
    left, right = _quotient_operands(c, a, b)
    return left / right


@aten("pow.Tensor_Scalar")
def pow_scalar(c: Call, a: Any, b: Any) -> Any:
    """Powers; an exponent of one half gives square roots, of float16 the powers (-inf and -0 tell them apart)."""
    x, y = _element(a, c.element()), _element(b, c.element())
    if x.dtype.kind in "iu" and y < 0:
        raise ValueError("integers to negative integer powers are not allowed")
    if x.dtype.kind != "f" or abs(y) != 0.5:
        return _power(x, y)
    root = np.sqrt(wide(x))
    if c.element() == f16:
        root = np.where((x == 0) | np.isinf(x), np.abs(wide(x)), root)
    return root if y > 0 else 1 / root


@aten("floor_divide floor_divide.Scalar")
def floor_divide(c: Call, a: Any, b: Any) -> Any:
    """Python's floor division."""
    return _floor_divide(*_quotient_operands(c, a, b))


@aten("div.Tensor_mode div.Scalar_mode")
def div_mode(c: Call, a: Any, b: Any, mode: str | None) -> Any:
    """True, floor or truncating division."""
    dtype = c.dtype()
    left, right = _quotient_operands(c, a, b)
    if mode is None:
        return left / right
    _divisor(right)
    if mode == "floor":
        return _floor_divide(left, right)
    if dtype.kind == "f":
        return np.trunc(left / right)
    quotient = np.abs(left) // np.abs(right) if dtype.kind == "i" else left // right
    return quotient if dtype.kind == "u" else np.where((left < 0) != (right < 0), -quotient, quotient)


@aten("mul.Tensor mul.Scalar multiply.Tensor")
def mul(c: Call, a: Any, b: Any) -> Any:
    """a * b; half types multiply in float32, and do not round a number first."""
    dtype = np.dtype(np.float32) if c.dtype() == np.float16 else c.dtype()
    return _cast(a, dtype) * _cast(b, dtype)


@aten("where.self where.ScalarOther where.ScalarSelf where.Scalar")
def where(c: Call, condition: np.ndarray, a: Any, b: Any) -> Any:
    """a where the condition holds, b elsewhere."""
    dtype = c.dtype()
    return np.where(condition, _cast(a, dtype), _cast(b, dtype))


@aten("clamp clip clamp.Tensor clip.Tensor")
def clamp(c: Call, x: np.ndarray, low: Any = None, high: Any = None) -> Any:
    """x not below low, then not above high; NaN stays (and NaN bounds win)."""
    dtype = c.dtype()
    out = _cast(x, dtype)
    if low is not None:
        out = np.maximum(out, _cast(low, dtype))
    return out if high is None else np.minimum(out, _cast(high, dtype))


@aten("clamp_min clamp_min.Tensor")
def clamp_min(c: Call, x: np.ndarray, low: Any) -> Any:
    """x not below low."""
    return clamp(c, x, low)


@aten("clamp_max clamp_max.Tensor")
def clamp_max(c: Call, x: np.ndarray, high: Any) -> Any:
    """x not above high."""
    return clamp(c, x, None, high)


@aten("masked_fill.Scalar masked_fill.Tensor")
def masked_fill(_c: Call, x: np.ndarray, mask: np.ndarray, value: Any) -> Any:
    """The value where the mask is set."""
    return np.where(mask.astype(bool), _cast(value, x.dtype), x)


@aten("lerp.Scalar lerp.Tensor")
def lerp(_c: Call, a: np.ndarray, b: np.ndarray, weight: Any) -> Any:
    """Between a and b, from the nearer end."""
    a, b, w = wide(a), wide(b), wide(weight)
    return np.where(np.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - w))


@aten("addcmul")
def addcmul(c: Call, x: np.ndarray, a: np.ndarray, b: np.ndarray, value: Any = 1) -> Any:
    """x + value * a * b."""
    if c.dtype().kind in "fc":
        return wide(x) + value * wide(a) * wide(b)
    return _cast(x, c.dtype()) + _cast(value, c.dtype()) * _cast(a, c.dtype()) * _cast(b, c.dtype())


@aten("addcdiv")
def addcdiv(_c: Call, x: np.ndarray, a: np.ndarray, b: np.ndarray, value: Any = 1) -> Any:
    """x + value * a / b."""
    return wide(x) + value * wide(a) / wide(b)
