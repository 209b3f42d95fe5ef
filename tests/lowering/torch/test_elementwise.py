"""Elementwise ops, on all edge values, types and broadcasts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.lowering.torch.single_op import EDGE, check

torch.manual_seed(0)
X = torch.randn(3, 4)
PAIRS = (EDGE.repeat_interleave(len(EDGE)), EDGE.repeat(len(EDGE)))
# ATen's vectorised fmod gives NaN for denormal divisors, its scalar one does not: left out
NORMAL = tuple(x[(PAIRS[1] == 0) | (PAIRS[1].abs() > 1e-30) | PAIRS[1].isnan()] for x in PAIRS)
INTS = torch.tensor([0, 1, -1, 2, -2, 3, 7, -8, 100, -100, 2**31, -(2**63), 2**63 - 1])
DIVISORS = torch.tensor([1, -1, 2, -2, 3, -3, 7, -7, 100, -100, 5, 9, 4])
SMALL = torch.tensor([-128, -7, -1, 0, 1, 5, 127], dtype=torch.int8)
BYTES = torch.tensor([0, 1, 5, 200, 255], dtype=torch.uint8)
BITS = torch.tensor([True, False, True])

EXACT_UNARY = [
    "relu",
    "relu6",
    "neg",
    "abs",
    "sign",
    "sgn",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "square",
    "reciprocal",
    "isnan",
    "isinf",
    "isfinite",
    "isposinf",
    "isneginf",
    "logical_not",
    "signbit",
    "positive",
    "sqrt",
    "hardsigmoid",
    "hardswish",
    "rad2deg",
    "deg2rad",
]


@pytest.mark.parametrize("name", EXACT_UNARY)
def test_unary_exact(name: str) -> None:
    check(f"aten.{name}", EDGE)


CLOSE_UNARY = [
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
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "tanh",
    "sigmoid",
    "silu",
    "mish",
    "log_sigmoid",
    "rsqrt",
    "selu",
    "celu",
    "elu",
    "gelu",
    "softplus",
    "logit",
]


@pytest.mark.parametrize("name", CLOSE_UNARY)
def test_unary_close(name: str) -> None:
    finite = EDGE[torch.isfinite(EDGE) & (EDGE.abs() < 1e4)]
    # ATen's vectorised GELU of infinity is NaN, its scalar one infinity
    special = [math.nan] if name == "gelu" else [math.inf, math.nan]
    check(f"aten.{name}", torch.cat([finite, torch.tensor(special)]), ulp=8)


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sin", "sigmoid", "sqrt", "rsqrt", "expm1"])
@pytest.mark.parametrize("x", [INTS, SMALL, BYTES, BITS], ids=lambda x: str(x.dtype))
def test_unary_of_integers(name: str, x: torch.Tensor) -> None:
    check(f"aten.{name}", x, ulp=8)


@pytest.mark.parametrize(
    "name", ["abs", "sign", "floor", "ceil", "round", "trunc", "relu", "square", "logical_not", "isnan", "isfinite"]
)
@pytest.mark.parametrize("x", [INTS, SMALL, BYTES], ids=lambda x: str(x.dtype))
def test_unary_on_integers(name: str, x: torch.Tensor) -> None:
    check(f"aten.{name}", x)


def test_signs_of_zero() -> None:
    for name in ("relu", "neg", "abs", "floor", "trunc", "sqrt"):
        check("aten.signbit", getattr(torch.ops.aten, name)(EDGE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["relu", "neg", "sqrt", "floor", "hardswish", "reciprocal"])
def test_other_floats(name: str, dtype: torch.dtype) -> None:
    """Exact. Where ATen's roots are not (of float64, MKL's on CPUs of Intel), ours are at most what those are off."""
    x = EDGE.to(dtype)
    off = name == "sqrt" and dtype is torch.float64 and not torch.equal(*(torch.nan_to_num(t) for t in _roots(x)))
    check(f"aten.{name}", x, ulp=1 if off else 0)


def _roots(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """ATen's, and the nearest numbers to the exact ones."""
    return torch.sqrt(x), torch.tensor([math.sqrt(v) if v >= 0 else math.nan for v in x.tolist()], dtype=x.dtype)


BINARY: list[tuple[str, tuple[Any, ...]]] = [
    *[(f"{n}.Tensor", PAIRS) for n in ["add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "copysign"]],
    ("remainder.Tensor", NORMAL),
    ("fmod.Tensor", NORMAL),
    *[
        (n, PAIRS)
        for n in ["maximum", "minimum", "fmax", "fmin", "floor_divide", "logical_and", "logical_or", "logical_xor"]
    ],
    ("div.Tensor_mode", (*PAIRS, "floor")),
    ("div.Tensor_mode", (*PAIRS, "trunc")),
    ("div.Tensor_mode", (*PAIRS, None)),
    *[
        (f"{n}.Scalar", (EDGE, 2.5))
        for n in ["add", "sub", "rsub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "remainder", "fmod"]
    ],
    *[
        (f"{n}.Scalar", (INTS, 3))
        for n in ["add", "sub", "rsub", "mul", "eq", "ne", "lt", "le", "gt", "ge", "remainder", "fmod"]
    ],
    *[(f"{n}.Tensor", (INTS, DIVISORS)) for n in ["add", "sub", "mul", "eq", "lt", "remainder", "fmod"]],
    *[(f"bitwise_{n}.Tensor", (INTS, DIVISORS)) for n in ["and", "or", "xor"]],
    *[(f"bitwise_{n}.Tensor", (BITS, torch.tensor([True, True, False]))) for n in ["and", "or", "xor"]],
    *[
        (f"bitwise_{n}_shift.Tensor", (INTS, torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 62, 1])))
        for n in ("left", "right")
    ],
    ("floor_divide", (INTS, DIVISORS)),
    ("div.Tensor_mode", (INTS, DIVISORS, "floor")),
    ("div.Tensor_mode", (INTS, DIVISORS, "trunc")),
    ("div.Tensor", (INTS, DIVISORS)),
    (
        "add.Tensor",
        (
            INTS,
            DIVISORS,
        ),
    ),
    ("bitwise_not", (INTS,)),
    ("bitwise_not", (BITS,)),
    ("add.Tensor", (SMALL, SMALL)),
    ("mul.Tensor", (BYTES, BYTES)),
    ("remainder.Tensor", (SMALL, torch.tensor([3, -3, 2, 5, -1, -5, 7], dtype=torch.int8))),
    ("add.Tensor", (torch.tensor([1, 2, 3]), torch.tensor([0.5, 0.25, 2.0]))),
    ("mul.Tensor", (BITS, torch.tensor([1.5, 2.0, 3.0]))),
    ("add.Tensor", (BITS, BITS)),
    ("add.Scalar", (BITS, 2)),
    ("mul.Scalar", (torch.tensor([1, 2]), 0.5)),
    ("eq.Tensor", (torch.tensor([1, 2, 3]), torch.tensor([1.0, 2.5, 3.0]))),
    ("lt.Scalar", (torch.tensor([1, 2, 3]), 1.5)),
    ("add.Tensor", (torch.ones(2, dtype=torch.float16), torch.tensor(3.0))),
    ("add.Tensor", (torch.ones(2), torch.tensor(3.0, dtype=torch.float64))),
    ("mul.Tensor", (torch.ones(2, dtype=torch.bfloat16), torch.full((2,), 1.1))),
    ("add.Tensor", (torch.tensor(5), torch.tensor(2.5))),
    ("where.self", (EDGE > 0, EDGE, -EDGE)),
    ("where.self", (torch.tensor([[True], [False]]), torch.ones(3), torch.zeros(2, 3, dtype=torch.float64))),
    ("masked_fill.Scalar", (EDGE, EDGE > 0, -math.inf)),
    ("masked_fill.Tensor", (EDGE, EDGE > 0, torch.tensor(2.0))),
    ("clamp", (EDGE, -1.0, 2.0)),
    ("clamp", (EDGE, None, 2)),
    ("clamp", (EDGE, math.nan, 2.0)),
    ("clamp", (EDGE, 3.0, 1.0)),
    ("clamp", (INTS, -5, 5)),
    ("clamp_min", (EDGE, 0)),
    ("clamp_max", (EDGE, 0)),
    ("clamp.Tensor", (PAIRS[0], PAIRS[1], PAIRS[0] + 1)),
    ("hardtanh", (EDGE,)),
    ("leaky_relu", (EDGE, 0.1)),
    ("threshold", (EDGE, 0.5, 7.0)),
    ("hardshrink", (EDGE,)),
    ("softshrink", (EDGE,)),
    ("nan_to_num", (EDGE,)),
    ("nan_to_num", (EDGE, 1.0, 2.0, 3.0)),
    ("prelu", (torch.randn(2, 3, 4), torch.tensor([0.1, 0.2, 0.3]))),
    ("pow.Tensor_Scalar", (EDGE, 2)),
    ("pow.Tensor_Scalar", (EDGE, 0)),
    ("pow.Tensor_Scalar", (EDGE, 1)),
    ("pow.Tensor_Scalar", (EDGE, 0.5)),
    ("pow.Tensor_Scalar", (EDGE, -1)),
    ("pow.Tensor_Scalar", (INTS, 3)),
    ("pow.Tensor_Scalar", (torch.tensor([1, 2, 3]), 0.5)),
    ("pow.Tensor_Tensor", (INTS, torch.tensor([0, 1, 2, 3, 4, -1, 0, -2, 9, 63, 1, 2, 3]))),
    ("pow.Tensor_Tensor", (torch.tensor([-1, -1, 1, 2, 0]), torch.tensor([-1, -2, -3, -1, 0]))),
    ("xlogy.Tensor", (torch.tensor([0.0, 0.0, 1.0]), torch.tensor([math.nan, 0.0, 1.0]))),
    ("round.decimals", (torch.tensor([1.2345, -2.5, 0.125]), 2)),
    ("round.decimals", (torch.tensor([125.0, -250.0, 35.0]), -1)),
    ("isclose", PAIRS),
    ("where.ScalarOther", (EDGE > 0, EDGE, 0.0)),
    ("ldexp.Tensor", (torch.tensor([1.0, 2.0]), torch.tensor([3, -1]))),
]


@pytest.mark.parametrize(("name", "args"), BINARY, ids=[f"{i}-{n}" for i, (n, _) in enumerate(BINARY)])
def test_exact(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args)


CLOSE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("add.Tensor", (X, X * 3), {"alpha": 0.1}),
    ("sub.Tensor", (X, X * 3), {"alpha": 2}),
    ("pow.Tensor_Tensor", (X.abs(), X), {}),
    ("pow.Tensor_Scalar", (X.abs(), 1.7), {}),
    ("pow.Tensor_Scalar", (X, 3), {}),
    ("pow.Tensor_Scalar", (X.abs(), -0.5), {}),
    ("pow.Scalar", (2.0, X), {}),
    ("atan2", PAIRS, {}),
    ("hypot", (X, X.flip(0)), {}),
    ("logaddexp", PAIRS, {}),
    ("lerp.Scalar", (X, X * 2 + 1, 0.3), {}),
    ("lerp.Tensor", (X, X * 2 + 1, X.abs()), {}),
    ("addcmul", (X, X + 1, X + 2), {"value": 0.5}),
    ("addcdiv", (X, X + 1, X.abs() + 2), {"value": 0.5}),
    ("gelu", (EDGE,), {"approximate": "tanh"}),
    ("softplus", (X, 2, 1), {}),
    ("elu", (X, 1.5), {}),
    ("celu", (X, 0.7), {}),
    ("logit", (X.sigmoid(), 0.1), {}),
    ("logit", (torch.tensor([0.0, 0.5, 1.0]).bfloat16(), 1e-6), {}),
    ("sigmoid", (EDGE,), {}),
    ("silu", (EDGE,), {}),
    ("tanh", (EDGE.half(),), {}),
    ("gelu", (X.bfloat16(),), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CLOSE, ids=[f"{i}-{c[0]}" for i, c in enumerate(CLOSE)])
def test_close(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    check(f"aten.{name}", *args, ulp=8, **kwargs)


SHAPES = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (1, 4)),
    ((), (2, 3)),
    ((), ()),
    ((1,), (1,)),
    ((0, 3), (1, 3)),
    ((2, 0), (1,)),
    ((5, 1, 3), (4, 1)),
    ((2, 3, 1, 5), (1, 3, 4, 1)),
    ((1, 1, 1), (2, 1, 4)),
]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcast(shapes: tuple[tuple[int, ...], tuple[int, ...]], dynamic: bool) -> None:
    a, b = torch.randn(shapes[0]), torch.randn(shapes[1])
    check("aten.add.Tensor", a, b, dynamic=dynamic)
    check("aten.where.self", a > 0, a, b, dynamic=dynamic)


@pytest.mark.parametrize(
    "target",
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ],
    ids=str,
)
def test_casts(target: torch.dtype) -> None:
    check("aten.to.dtype", INTS, target)
    check("aten.to.dtype", SMALL, target)
    check("aten.to.dtype", BYTES, target)
    check("aten.to.dtype", BITS, target)
    inside = torch.tensor([0.0, -0.0, 0.5, 1.5, 2.5, 100.9, 1.0, 127.0])
    check("aten.to.dtype", inside, target)
    check("aten.to.dtype", inside.half(), target)
    if target.is_floating_point:
        check("aten.to.dtype", EDGE, target)
        check("aten.to.dtype", EDGE.double() * 1.0000001, target)


def test_casts_beyond_the_range() -> None:
    big = torch.tensor([1e10, -1e10, 3e20, -3e20, math.nan, math.inf, -math.inf])
    check("aten.to.dtype", big, torch.int64)
    check("aten.to.dtype", big.double(), torch.int64)
