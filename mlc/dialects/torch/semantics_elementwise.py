"""Meaning of elementwise ATen ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, is_float, round_to, torch_semantics, wide
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
def hardshrink(c: Call, x: np.ndarray, lambd: float = 0.5) -> Any:
    """0 within [-lambda, lambda], a number of the dtype."""
    bound = round_to(lambd, c.element())
    return np.where((x >= -bound) & (x <= bound), np.zeros((), x.dtype), x)


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
def logit(c: Call, x: np.ndarray, eps: float | None = None) -> Any:
    """log(x / (1 - x)), x clamped to [eps, 1 - eps], numbers of the dtype."""
    x = wide(x)
    if eps is not None:
        low = round_to(eps, c.element()).astype(np.float64)
        x = np.clip(x, low, round_to(1 - low, c.element()))
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


@aten("fill.Scalar fill.Tensor")
def fill(_c: Call, x: np.ndarray, value: Any) -> Any:
    """The value everywhere."""
    return np.full(x.shape, value)


@aten("zero")
def zero(_c: Call, x: np.ndarray) -> Any:
    """0 everywhere."""
    return np.zeros_like(x)


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
    return np.stack((np.real(x), np.imag(x)), axis=-1)


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
