"""Meaning of elementwise ATen ops."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, is_float, torch_semantics, wide
from mlc.errors import UnsupportedError

_ERF = np.frompyfunc(math.erf, 1, 1)
_ERFC = np.frompyfunc(math.erfc, 1, 1)


def erf(x: Any) -> np.ndarray:
    """math.erf of an array, in float64."""
    return np.asarray(_ERF(wide(x)), dtype=np.float64)


def erfc(x: Any) -> np.ndarray:
    """math.erfc of an array, in float64."""
    return np.asarray(_ERFC(wide(x)), dtype=np.float64)


def sigmoid(x: Any) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    x = wide(x)
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)) + np.where(np.isnan(x), x, 0)


def softplus(x: Any, beta: float = 1, threshold: float = 20) -> np.ndarray:
    """log(1 + exp(beta x)) / beta, linear above the threshold."""
    x = wide(x)
    return np.where(x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, 700))) / beta)


# Computed in float64 (complex128) and rounded once.
_WIDE: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sigmoid": sigmoid,
    "erf": erf,
    "erfc": erfc,
    "deg2rad": lambda x: x * (math.pi / 180),
    "rad2deg": lambda x: x * (180 / math.pi),
    "sinc": np.sinc,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "log_sigmoid": lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    "selu": lambda x: (
        1.0507009873554804934193349852946 * np.where(x > 0, x, 1.6732632423543772848170429916717 * np.expm1(x))
    ),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * (np.clip(x + 3, 0, 6) / 6),
}

# Exact in the operand's own dtype.
_EXACT: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "positive": np.positive,
    "ceil": lambda x: np.ceil(x) if is_float(x) else x,
    "floor": lambda x: np.floor(x) if is_float(x) else x,
    "trunc": lambda x: np.trunc(x) if is_float(x) else x,
    "round": lambda x: np.rint(x) if is_float(x) else x,
    "frac": lambda x: x - np.trunc(x),
    "square": np.square,
    "abs": np.abs,
    "absolute": np.abs,
    "bitwise_not": np.invert,
    "isnan": np.isnan,
    "isinf": lambda x: np.isinf(x) if is_float(x) else np.zeros(x.shape, bool),
    "isfinite": np.isfinite,
    "isposinf": lambda x: np.isposinf(x) if is_float(x) else np.zeros(x.shape, bool),
    "isneginf": lambda x: np.isneginf(x) if is_float(x) else np.zeros(x.shape, bool),
    "signbit": lambda x: np.signbit(x) if is_float(x) else x < 0,
    "logical_not": np.logical_not,
    "real": np.real,
    "imag": np.imag,
    "angle": lambda x: np.where(np.isnan(x), x, np.angle(wide(x))) if x.dtype.kind != "c" else np.angle(wide(x)),
    "clone": lambda x: x,
    "contiguous": lambda x: x,
    "detach": lambda x: x,
    "alias": lambda x: x,
    "lift_fresh_copy": lambda x: x,
    "lift_fresh": lambda x: x,
    "resolve_conj": lambda x: x,
    "resolve_neg": lambda x: x,
    "conj": np.conj,
    "_conj": np.conj,
}


def _unary(fn: Callable[[Any], Any], before: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda _c, x, *_: fn(before(x))


for _name, _fn in _WIDE.items():
    aten(_name)(_unary(_fn, wide))
for _name, _fn in _EXACT.items():
    aten(_name)(_unary(_fn, np.asarray))


torch_semantics("prims.sqrt")(_unary(np.sqrt, wide))
torch_semantics("prims.view_of")(_unary(lambda x: x, np.asarray))


@aten("sign sgn")
def sign(_c: Call, x: np.ndarray) -> Any:
    """-1, 0, 1; 0 for NaN, as PyTorch has it."""
    if x.dtype.kind == "c":
        return np.sign(x)
    return np.sign(np.where(np.isnan(x), 0, x)) if is_float(x) else (x if x.dtype == bool else np.sign(x))


@aten("relu")
def relu(_c: Call, x: np.ndarray) -> Any:
    """max(x, 0); NaN stays."""
    return np.where(x <= 0, np.zeros((), x.dtype), x)


@aten("relu6")
def relu6(c: Call, x: np.ndarray) -> Any:
    """min(max(x, 0), 6)."""
    return hardtanh(c, x, 0, 6)


@aten("hardtanh")
def hardtanh(_c: Call, x: np.ndarray, low: float = -1, high: float = 1) -> Any:
    """x within [low, high]; NaN stays."""
    return np.where(x < low, np.asarray(low, x.dtype), np.where(x > high, np.asarray(high, x.dtype), x))


@aten("gelu")
def gelu(_c: Call, x: np.ndarray, approximate: str = "none") -> Any:
    """x * Phi(x), or its tanh approximation."""
    x = wide(x)
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))
    return 0.5 * x * erfc(-x * math.sqrt(0.5))


@aten("leaky_relu")
def leaky_relu(_c: Call, x: np.ndarray, slope: float = 0.01) -> Any:
    """x, or slope * x below 0."""
    x = wide(x)
    return np.where(x > 0, x, x * slope)


@aten("elu")
def elu(_c: Call, x: np.ndarray, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    """scale * (x, or alpha * expm1(x * input_scale) below 0)."""
    x = wide(x)
    return np.where(x > 0, x * scale, np.expm1(x * input_scale) * (alpha * scale))


@aten("celu")
def celu(_c: Call, x: np.ndarray, alpha: float = 1) -> Any:
    """x, or alpha * expm1(x / alpha) below 0."""
    x = wide(x)
    return np.where(x > 0, x, np.expm1(x / alpha) * alpha)


@aten("softplus")
def softplus_op(_c: Call, x: np.ndarray, beta: float = 1, threshold: float = 20) -> Any:
    """log(1 + exp(beta x)) / beta."""
    return softplus(x, beta, threshold)


@aten("softshrink")
def softshrink(_c: Call, x: np.ndarray, lambd: float = 0.5) -> Any:
    """x moved towards 0 by lambda; NaN stays."""
    x = wide(x)
    return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, x * 0))


@aten("hardshrink")
def hardshrink(_c: Call, x: np.ndarray, lambd: float = 0.5) -> Any:
    """0 within [-lambda, lambda]."""
    return np.where((x >= -lambd) & (x <= lambd), np.zeros((), x.dtype), x)


@aten("prelu _prelu_kernel")
def prelu(_c: Call, x: np.ndarray, weight: np.ndarray) -> Any:
    """x, or weight * x below 0; a weight of more than one element is per channel."""
    if weight.ndim == 1 and weight.size > 1 and x.ndim > 1:
        weight = weight.reshape(1, -1, *(1,) * (x.ndim - 2))
    elif weight.size == 1:
        weight = weight.reshape(())
    return np.where(wide(x) > 0, wide(x), wide(x) * wide(weight))


@aten("threshold")
def threshold(_c: Call, x: np.ndarray, bound: float, value: float) -> Any:
    """x above the bound, value otherwise; NaN stays."""
    return np.where(x <= bound, np.asarray(value, x.dtype), x)


@aten("logit")
def logit(_c: Call, x: np.ndarray, eps: float | None = None) -> Any:
    """log(x / (1 - x)), x clamped to [eps, 1 - eps]."""
    x = wide(x)
    if eps is not None:
        x = np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


@aten("round.decimals")
def round_decimals(_c: Call, x: np.ndarray, decimals: int = 0) -> Any:
    """Rounded to decimals, in the operand's dtype as PyTorch does."""
    scale = np.asarray(10.0 ** abs(decimals), x.dtype)
    return np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale


@aten("nan_to_num")
def nan_to_num(
    _c: Call, x: np.ndarray, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """NaN and infinities replaced."""
    if not is_float(x):
        return x
    limits = np.finfo(x.dtype)
    out = np.where(np.isnan(x), x.dtype.type(0 if nan is None else nan), x)
    out = np.where(x == np.inf, x.dtype.type(limits.max if posinf is None else posinf), out)
    return np.where(x == -np.inf, x.dtype.type(limits.min if neginf is None else neginf), out)


@aten("dropout alpha_dropout feature_dropout")
def dropout(_c: Call, x: np.ndarray, _p: float, train: bool) -> Any:
    """The tensor itself outside training."""
    if train and _p != 0:
        raise UnsupportedError("dropout in training draws random numbers", hint="call model.eval() first")
    return x


@aten("native_dropout")
def native_dropout(_c: Call, x: np.ndarray, p: float, train: bool | None) -> Any:
    """The tensor itself and a full mask outside training."""
    if train is not False and p != 0:
        raise UnsupportedError("dropout in training draws random numbers", hint="call model.eval() first")
    return x, np.ones(x.shape, bool)


@aten("rrelu")
def rrelu(
    c: Call, x: np.ndarray, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, _generator: Any = None
) -> Any:
    """Leaky relu with the mean slope outside training."""
    if training:
        raise UnsupportedError("rrelu in training draws random numbers", hint="call model.eval() first")
    return leaky_relu(c, x, (lower + upper) / 2)


@aten("rrelu_with_noise_functional")
def rrelu_with_noise(
    c: Call,
    x: np.ndarray,
    noise: np.ndarray,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    _generator: Any = None,
) -> Any:
    """Leaky relu with the mean slope outside training; the noise as it is."""
    return rrelu(c, x, lower, upper, training), noise


# Binary ops: operands are brought to the result's dtype (arithmetic) or to the common one (comparisons).


def _same_sign_mod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Remainder with the divisor's sign."""
    if a.dtype.kind == "f":
        r = np.fmod(wide(a), wide(b))
        return np.where((r != 0) & ((r < 0) != (b < 0)), r + wide(b), r)
    return np.mod(a, b)


def _floor_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f":
        return np.floor_divide(a, b)
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
    "mul.Tensor": operator.mul,
    "mul.Scalar": operator.mul,
    "multiply.Tensor": operator.mul,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "max.other": np.maximum,
    "min.other": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fmod.Tensor": np.fmod,
    "fmod.Scalar": np.fmod,
    "remainder.Tensor": _same_sign_mod,
    "remainder.Scalar": _same_sign_mod,
    "remainder.Scalar_Tensor": _same_sign_mod,
    "floor_divide": _floor_divide,
    "floor_divide.Scalar": _floor_divide,
    "atan2": lambda a, b: np.arctan2(wide(a), wide(b)),
    "arctan2": lambda a, b: np.arctan2(wide(a), wide(b)),
    "hypot": lambda a, b: np.hypot(wide(a), wide(b)),
    "copysign.Tensor": np.copysign,
    "copysign.Scalar": np.copysign,
    "logaddexp": lambda a, b: np.logaddexp(wide(a), wide(b)),
    "logaddexp2": lambda a, b: np.logaddexp2(wide(a), wide(b)),
    "pow.Tensor_Tensor": _power,
    "pow.Tensor_Scalar": _power,
    "pow.Scalar": _power,
    "bitwise_and.Tensor": np.bitwise_and,
    "bitwise_and.Scalar": np.bitwise_and,
    "bitwise_or.Tensor": np.bitwise_or,
    "bitwise_or.Scalar": np.bitwise_or,
    "bitwise_xor.Tensor": np.bitwise_xor,
    "bitwise_xor.Scalar": np.bitwise_xor,
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
    "__rshift__.Scalar": _shift_right,
    "__rshift__.Tensor": _shift_right,
    "gcd": np.gcd,
    "lcm": np.lcm,
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
        dtype = c.dtype()
        return fn(_cast(a, dtype), _cast(b, dtype))

    return run


def _in_common(fn: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(c: Call, a: Any, b: Any) -> Any:
        dtype = c.common(0, 1)
        return fn(_cast(a, dtype), _cast(b, dtype))

    return run


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
    left, right = _cast(a, dtype), _cast(b, dtype)
    if alpha != 1:
        right = wide(right) * alpha if dtype.kind in "fc" else right * _cast(alpha, dtype)
    return left + right if sign > 0 else left - right


@aten("div.Tensor div.Scalar true_divide.Tensor true_divide.Scalar divide.Tensor")
def div(c: Call, a: Any, b: Any) -> Any:
    """True division."""
    dtype = c.dtype()
    return _cast(a, dtype) / _cast(b, dtype)


@aten("div.Tensor_mode div.Scalar_mode")
def div_mode(c: Call, a: Any, b: Any, mode: str | None) -> Any:
    """True, floor or truncating division."""
    dtype = c.dtype()
    left, right = _cast(a, dtype), _cast(b, dtype)
    if mode is None:
        return left / right
    if dtype.kind in "iu" and np.any(right == 0):
        c.fail("division by zero")
    if mode == "floor":
        return _floor_divide(left, right)
    if dtype.kind == "f":
        return np.trunc(left / right)
    quotient = np.abs(left) // np.abs(right) if dtype.kind == "i" else left // right
    return quotient if dtype.kind == "u" else np.where((left < 0) != (right < 0), -quotient, quotient)


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


@aten("fill.Scalar fill.Tensor")
def fill(_c: Call, x: np.ndarray, value: Any) -> Any:
    """The value everywhere."""
    return np.full(x.shape, value)


@aten("zero")
def zero(_c: Call, x: np.ndarray) -> Any:
    """0 everywhere."""
    return np.zeros_like(x)


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


@torch_semantics(
    "aten._to_copy aten.to.dtype aten.to.dtype_layout aten.to.device aten.to.other aten.type_as aten.to.prim_other "
    "prims.convert_element_type"
)
def to_copy(_c: Call, x: np.ndarray, *_: Any) -> Any:
    """The tensor in the result's dtype."""
    return x


@aten("copy")
def copy(_c: Call, x: np.ndarray, source: np.ndarray, _non_blocking: bool = False) -> Any:
    """The source in the tensor's shape and dtype."""
    return np.broadcast_to(source, x.shape)


def _complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """Parts put together without arithmetic: infinities and NaN stay where they are."""
    real, imag = np.broadcast_arrays(real, imag)
    out = np.empty(real.shape, np.complex128)
    out.real, out.imag = real, imag
    return out


@aten("complex")
def make_complex(_c: Call, real: np.ndarray, imag: np.ndarray) -> Any:
    """Complex numbers of their parts."""
    return _complex(real, imag)


@aten("polar")
def polar(_c: Call, magnitude: np.ndarray, phase: np.ndarray) -> Any:
    """Complex numbers of magnitude and phase."""
    return _complex(wide(magnitude) * np.cos(wide(phase)), wide(magnitude) * np.sin(wide(phase)))


@aten("view_as_real")
def view_as_real(_c: Call, x: np.ndarray) -> Any:
    """A trailing dimension of two parts."""
    return np.stack((x.real, x.imag), axis=-1)


@aten("view_as_complex")
def view_as_complex(_c: Call, x: np.ndarray) -> Any:
    """Complex numbers of the two parts in the last dimension."""
    return _complex(x[..., 0], x[..., 1])


@aten("tril")
def tril(_c: Call, x: np.ndarray, diagonal: int = 0) -> Any:
    """0 above a diagonal."""
    return np.tril(x, diagonal)


@aten("triu")
def triu(_c: Call, x: np.ndarray, diagonal: int = 0) -> Any:
    """0 below a diagonal."""
    return np.triu(x, diagonal)


@torch_semantics("quantized_decomposed.quantize_per_tensor")
def quantize_per_tensor(
    _c: Call, x: np.ndarray, scale: float, zero_point: int, low: int, high: int, _dtype: int
) -> Any:
    """round(x / scale) + zero point, clamped; PyTorch multiplies by 1 / scale in float32."""
    inverse = np.float32(1.0 / scale)
    return np.clip(np.rint(x.astype(np.float32) * inverse) + zero_point, low, high)


@torch_semantics("quantized_decomposed.dequantize_per_tensor")
def dequantize_per_tensor(
    _c: Call, x: np.ndarray, scale: float, zero_point: int, _low: int, _high: int, _dtype: int, out_dtype: Any = None
) -> Any:
    """(x - zero point) * scale in float32."""
    return (x.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
