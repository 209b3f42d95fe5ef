"""Elementwise ATen ops against PyTorch: result types and numbers."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch

from mlc.errors import ExecutionError
from mlc.ir.semantics import load_dialect_semantics, semantics_of
from tests.dialects.torch.draw import Case, Draw
from tests.dialects.torch.harness import Runner, build, check, full_arguments, to_numpy

pytestmark = pytest.mark.torch

SEEDS = range(8)


def _ids(cases: dict[str, Case]) -> list[tuple[str, Case]]:
    return [(name, case) for names, case in cases.items() for name in names.split()]


ANY = """
neg abs positive ceil floor trunc round sgn sign square clone contiguous detach alias isnan isinf isfinite isposinf
isneginf signbit logical_not exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tan asin acos atan sinh
cosh tanh asinh acosh atanh sigmoid erf erfc deg2rad rad2deg nan_to_num relu lift_fresh_copy
"""
NOT_BOOL = {"abs", "neg", "ceil", "floor", "trunc", "round", "sign", "positive", "relu", "reciprocal", "square"}
FLOAT_ONLY = """
sinc frac silu mish log_sigmoid selu hardsigmoid hardswish hardtanh relu6 gelu leaky_relu elu celu
 softplus softshrink hardshrink logit
"""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ANY.split())
def test_unary(name: str, seed: int) -> None:
    draw = Draw(seed)
    x = draw.any()
    if name in NOT_BOOL and x.dtype == torch.bool:
        x = x.to(torch.int32)
    check(f"aten.{name}", (x,))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FLOAT_ONLY.split())
def test_activation(name: str, seed: int) -> None:
    check(f"aten.{name}", (Draw(seed).edges(),))


ARGUMENTS: dict[str, Case] = {
    "aten.gelu": lambda d: (d.edges(), "tanh"),
    "aten.hardtanh": lambda d: (d.edges(), -0.25, 2.0),
    "aten.leaky_relu": lambda d: (d.edges(), 0.25),
    "aten.elu": lambda d: (d.edges(), 1.5, 2.0, 0.5),
    "aten.celu": lambda d: (d.edges(), 1.5),
    "aten.softplus": lambda d: (d.edges(), 2.0, 10.0),
    "aten.threshold": lambda d: (d.edges(), 0.5, -1.0),
    "aten.logit": lambda d: (d.edges(), 0.125),
    "aten.nan_to_num": lambda d: (d.edges(), 1.0, 2.0, -3.0),
    "aten.round.decimals": lambda d: (d.normal((3, 4)), 1),
    "aten.prelu": lambda d: (d.edges((2, 3, 4), torch.float32), d.normal((d.pick(1, 3),))),
    "aten._prelu_kernel": lambda d: (d.edges((2, 3), torch.float32), d.normal((1, 3))),
    "aten.dropout": lambda d: (d.edges(), 0.5, False),
    "aten.native_dropout": lambda d: (d.edges((2, 3)), 0.5, False),
    "aten.rrelu": lambda d: (d.edges(), 0.125, 0.25, False),
    "aten.bitwise_not": lambda d: (d.pick(d.ints(), d.bools()),),
    "aten.alpha_dropout aten.feature_dropout": lambda d: (d.edges(), 0.5, False),
    "aten.fill.Tensor": lambda d: (d.any(), torch.tensor(1)),
    "aten.isclose": lambda d: (d.edges((3, 4), torch.float32), d.edges((3, 4), torch.float32)),
    "aten.ldexp.Tensor": lambda d: (d.normal((3, 4)), d.ints((4,), torch.int64, -5, 5)),
    "aten.logaddexp2": lambda d: (d.normal((3, 4)), d.normal((4,))),
    "aten.copysign.Scalar": lambda d: (d.edges(), d.number()),
    "aten.remainder.Scalar_Tensor": lambda d: (d.pick(7, -7), d.ints((3, 4), torch.int64, 1, 5)),
    "aten.to.device": lambda d: (d.ints(), torch.device("cpu"), d.pick(torch.float32, torch.int64)),
    "aten.to.dtype_layout": lambda d: (d.ints(), d.pick(torch.float32, torch.int64)),
    "aten.__and__.Tensor aten.__or__.Tensor aten.__xor__.Tensor": lambda d: (d.ints((2, 3)), d.ints((3,))),
    "aten.__rshift__.Tensor": lambda d: (d.ints((2, 3), torch.int32), d.ints((3,), torch.int32, 0, 31)),
    "aten.bitwise_right_shift.Tensor_Scalar": lambda d: (d.ints((2, 3), torch.int16), d.pick(0, 3, 20)),
    "aten.tril": lambda d: (d.any((3, 4)), d.pick(-1, 0, 2)),
    "aten.triu": lambda d: (d.any((2, 3, 4)), d.pick(-1, 0, 2)),
    "aten.masked_fill.Scalar": lambda d: (d.edges((2, 3)), d.bools((3,)), d.number()),
    "aten.masked_fill.Tensor": lambda d: (d.edges((2, 3)), d.bools((2, 1)), torch.tensor(2.5)),
    "aten.fill.Scalar": lambda d: (d.any(), d.pick(1, 0)),
    "aten.zero": lambda d: (d.any(),),
    "aten.real": lambda d: (torch.complex(d.normal((3,)), d.normal((3,))),),
    "aten.imag": lambda d: (torch.complex(d.normal((3,)), d.normal((3,))),),
    "aten.angle": lambda d: (d.pick(d.edges(), torch.complex(d.normal((3,)), d.normal((3,)))),),
    "aten.abs": lambda d: (torch.complex(d.normal((3,)), d.normal((3,))),),
    "aten.exp aten.sqrt aten.reciprocal aten.tanh": lambda d: (torch.complex(d.normal((3,)), d.normal((3,))),),
    "aten.conj aten._conj aten.resolve_conj aten.resolve_neg": lambda d: (
        torch.complex(d.normal((3,)), d.normal((3,))),
    ),
    "aten.complex": lambda d: (d.edges((2, 3), torch.float32), d.edges((3,), torch.float32)),
    "aten.polar": lambda d: (d.normal((2, 3)), d.normal((3,))),
    "aten.view_as_real": lambda d: (torch.complex(d.normal((2, 3)), d.normal((2, 3))),),
    "aten.view_as_complex": lambda d: (d.normal((3, 2)),),
    "aten._to_copy": lambda d: (
        d.ints(),
        d.pick(torch.float32, torch.int64, torch.bool, torch.bfloat16, torch.float16),
    ),
    "aten.to.dtype": lambda d: (
        d.normal((2, 3)) * 50,
        d.pick(torch.float64, torch.int32, torch.int8, torch.bool, torch.bfloat16),
    ),
    "prims.convert_element_type": lambda d: (
        d.edges((3, 3), torch.float32),
        d.pick(torch.float16, torch.bfloat16, torch.float64),
    ),
    "aten.type_as": lambda d: (d.ints(), d.any()),
    "aten.to.other": lambda d: (d.ints(), d.any()),
    "aten.copy": lambda d: (d.edges((2, 3)), d.ints((3,))),
    "aten.lerp.Scalar": lambda d: (d.normal((2, 3)), d.normal((2, 3)), d.number()),
    "aten.lerp.Tensor": lambda d: (d.normal((2, 3)), d.normal((3,)), d.normal((2, 1))),
    "aten.addcmul aten.addcdiv": lambda d: (d.normal((2, 3)), d.normal((3,)), d.normal((2, 1)), d.pick(1, 2, 0.5)),
    "aten.gcd aten.lcm": lambda d: (d.ints((2, 3), torch.int64), d.ints((3,), torch.int64)),
    "aten.bitwise_and.Tensor aten.bitwise_or.Tensor aten.bitwise_xor.Tensor": lambda d: (
        d.pick(d.ints((2, 3)), d.bools((2, 3))),
        d.pick(d.ints((3,)), d.bools((3,))),
    ),
    "aten.lgamma aten.digamma aten.i0 aten.special_i0e aten.special_i1 aten.special_i1e": lambda d: (
        d.pick(d.normal((3, 4)) * 5, torch.tensor([0.0, -0.0, math.nan, 1.0, 2.0, 30.0])),
    ),
    "aten.erfinv aten.special_erfcx": lambda d: (d.pick(d.normal((3, 4)) * 0.4, torch.linspace(-1, 1, 9)),),
    "aten.special_ndtri": lambda d: (d.pick(d.normal((3, 4)) * 0.4 + 0.5, torch.linspace(0, 1, 9)),),
    "aten.frexp.Tensor": lambda d: (d.pick(d.edges((3, 4), torch.float32), d.normal((3,), torch.float64)),),
    "aten.nextafter": lambda d: (d.edges((3, 4), torch.float32), d.edges((3, 4), torch.float32)),
    "aten.arccos aten.arctanh prims.asin": lambda d: (d.normal((3, 4)) * 0.3,),
    "aten.greater.Scalar aten.divide.Scalar aten.subtract.Scalar": lambda d: (d.edges((3,), torch.float32), 2),
    "aten.special_xlogy prims.pow prims.hypot": lambda d: (torch.rand(3, 4) + 0.1, torch.rand(3, 4)),
    "aten.bitwise_left_shift.Scalar_Tensor aten.bitwise_or.Scalar_Tensor aten.bitwise_and.Scalar_Tensor "
    "aten.bitwise_right_shift.Scalar_Tensor aten.bitwise_xor.Scalar_Tensor": lambda d: (5, d.ints((4,), None, 0, 6)),
    "aten.bitwise_and.Scalar aten.bitwise_or.Scalar aten.bitwise_xor.Scalar": lambda d: (d.ints(), d.pick(1, 6, True)),
    "aten.__and__.Scalar aten.__or__.Scalar aten.__xor__.Scalar": lambda d: (d.ints(), d.pick(1, 6, True)),
    "aten.bitwise_left_shift.Tensor aten.bitwise_right_shift.Tensor aten.__lshift__.Tensor": lambda d: (
        d.ints((2, 3), torch.int32),
        d.ints((3,), torch.int32, 0, 31),
    ),
    "aten.__rshift__.Scalar aten.__lshift__.Scalar aten.bitwise_left_shift.Tensor_Scalar": lambda d: (
        d.ints((4,), torch.int32),
        3,
    ),
    "quantized_decomposed.quantize_per_tensor": lambda d: (d.normal((3, 5)) * 30, 0.25, 3, -128, 127, torch.int8),
    "quantized_decomposed.dequantize_per_tensor": lambda d: (
        d.ints((3, 5), torch.int8),
        0.25,
        3,
        -128,
        127,
        torch.int8,
    ),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "case"), _ids(ARGUMENTS))
def test_arguments(name: str, case: Case, seed: int) -> None:
    if name.startswith("quantized_decomposed"):
        importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the ops
    check(name, case(Draw(seed)))


# Ops whose arguments the functions below choose.
TESTED_BY_FUNCTIONS = """
eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar
mul.Tensor div.Tensor maximum minimum logical_and logical_or logical_xor fmax fmin atan2 copysign.Tensor hypot logaddexp
xlogy.Tensor add.Tensor sub.Tensor rsub.Tensor add.Scalar sub.Scalar mul.Scalar div.Scalar rsub.Scalar remainder.Tensor
remainder.Scalar fmod.Tensor fmod.Scalar floor_divide floor_divide.Scalar div.Tensor_mode div.Scalar_mode
pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar where.self where.ScalarOther where.ScalarSelf where.Scalar clamp
clamp_min clamp_max clamp.Tensor clamp_min.Tensor clamp_max.Tensor
"""
COMPARE = "eq ne lt le gt ge"
ARITHMETIC = "mul.Tensor div.Tensor maximum minimum logical_and logical_or logical_xor"


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", [*(f"{c}.Tensor" for c in COMPARE.split()), *ARITHMETIC.split()])
def test_binary(name: str, seed: int) -> None:
    check(f"aten.{name}", Draw(seed).two())


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", ["fmax", "fmin", "atan2", "copysign.Tensor", "hypot", "logaddexp", "xlogy.Tensor"])
def test_binary_floats(name: str, seed: int) -> None:
    a, b = Draw(seed).two_floats()
    if name in ("hypot", "logaddexp"):
        b = b.to(a.dtype)
    check(f"aten.{name}", (a, b))


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", ["add.Tensor", "sub.Tensor", "rsub.Tensor"])
def test_scaled_sum(name: str, seed: int) -> None:
    draw = Draw(seed)
    a, b = draw.two()
    if name != "add.Tensor":
        a, b = (t.to(torch.int64) if t.dtype == torch.bool else t for t in (a, b))
    alpha = draw.pick(1, 2) if not (a.is_floating_point() or b.is_floating_point()) else draw.pick(1, 2, 0.5)
    if a.dtype == b.dtype == torch.bool:
        alpha = True
    check(f"aten.{name}", (a, b, alpha))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "name",
    [*(f"{c}.Scalar" for c in COMPARE.split()), "add.Scalar", "sub.Scalar", "mul.Scalar", "div.Scalar", "rsub.Scalar"],
)
def test_scalar(name: str, seed: int) -> None:
    draw = Draw(seed)
    x = draw.any()
    if name[:3] in ("sub", "rsu") and x.dtype == torch.bool:
        x = x.to(torch.int64)
    check(f"aten.{name}", (x, draw.number()))


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", ["remainder", "fmod", "floor_divide"])
def test_division_with_remainder(name: str, seed: int) -> None:
    draw = Draw(seed)
    shapes = draw.two_shapes()
    if seed % 2:
        a, b = (draw.normal(s, draw.pick(torch.float32, torch.float64)) for s in shapes)
    else:
        a, b = draw.ints(shapes[0]), draw.ints(shapes[1], low=1)
    check(f"aten.{name}" if name == "floor_divide" else f"aten.{name}.Tensor", (a, b))
    check(f"aten.{name}.Scalar", (a, draw.pick(2, -3, 0.75)))


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_division_with_mode(mode: str | None, seed: int) -> None:
    draw = Draw(seed)
    shapes = draw.two_shapes()
    a, b = (
        (draw.normal(shapes[0]), draw.normal(shapes[1]))
        if seed % 2
        else (draw.ints(shapes[0]), draw.ints(shapes[1], low=1))
    )
    check("aten.div.Tensor_mode", (a, b, mode))
    check("aten.div.Scalar_mode", (a, draw.pick(2, -3, 2.5), mode))


@pytest.mark.parametrize("seed", range(12))
def test_power(seed: int) -> None:
    draw = Draw(seed)
    a, b = draw.two_shapes()
    check("aten.pow.Tensor_Tensor", (draw.normal(a).abs(), draw.normal(b)))
    check("aten.pow.Tensor_Tensor", (draw.ints(a, low=-4, high=5), draw.ints(b, low=0, high=4)))
    check("aten.pow.Tensor_Scalar", (draw.edges(a), draw.pick(2, 3, 0.5, -1, 2.0, -0.5)))
    check("aten.pow.Tensor_Scalar", (draw.ints(a, torch.int32, -5, 6), draw.pick(0, 1, 2, 3)))
    check("aten.pow.Scalar", (draw.pick(2, 2.0, 3), draw.normal(b)))


@pytest.mark.parametrize("seed", range(12))
def test_choice(seed: int) -> None:
    draw = Draw(seed)
    a, b = draw.two()
    condition = draw.bools(draw.pick((), tuple(torch.broadcast_shapes(a.shape, b.shape))))
    check("aten.where.self", (condition, a, b))
    check("aten.where.ScalarOther", (condition, a, draw.number()))
    check("aten.where.ScalarSelf", (condition, draw.number(), b))
    check("aten.where.Scalar", (condition, 1.0, draw.number()))


@pytest.mark.parametrize("seed", range(12))
def test_clamp(seed: int) -> None:
    draw = Draw(seed)
    x = draw.pick(draw.edges(), draw.ints())
    low, high = draw.pick((-1, 1), (None, 2), (0.5, None), (2, 1))
    check("aten.clamp", (x, low, high))
    check("aten.clamp_min", (x, draw.pick(0, 1, 0.5)))
    check("aten.clamp_max", (x, draw.pick(0, 1, 0.5)))
    a, b = draw.two_floats()
    check("aten.clamp.Tensor", (a, b, None))
    check("aten.clamp_min.Tensor", (a, b))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("aten.remainder.Scalar", (torch.tensor([3, 4]), 0)),
        ("aten.fmod.Tensor", (torch.tensor([3]), torch.tensor([0]))),
        ("aten.floor_divide", (torch.tensor([3]), torch.tensor([0]))),
        ("aten.div.Tensor_mode", (torch.tensor([3]), torch.tensor([0]), "trunc")),
        ("aten.pow.Tensor_Scalar", (torch.tensor([3]), -1)),
    ],
)
def test_integers_that_pytorch_refuses(name: str, arguments: tuple[object, ...]) -> None:
    """PyTorch raises; so does the reference, as an error of the program."""
    load_dialect_semantics("torch")
    full = full_arguments(name, arguments)
    op = build(name, full)
    with pytest.raises(ExecutionError, match=r"division by zero|negative integer powers"):
        semantics_of(op)(op, tuple(to_numpy(a) for a in full), Runner())


def test_shapes_that_do_not_fit() -> None:
    """Types may be dynamic; what numpy then says of the actual shapes is an error of the program, with its op."""
    load_dialect_semantics("torch")
    op = build("aten.mul.Tensor", [torch.zeros(2, 3), torch.zeros(2, 3)])
    with pytest.raises(ExecutionError, match=r"torch\.aten\.mul\.Tensor"):
        semantics_of(op)(op, (np.zeros((2, 3), np.float32), np.zeros((4,), np.float32)), Runner())
