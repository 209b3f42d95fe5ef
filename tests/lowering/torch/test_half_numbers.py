"""Python numbers and 0-d tensors beside half tensors: which ops round them to the half type, and which do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mlc
from tests.dialects.torch.harness import check as check_semantics
from tests.lowering.torch.single_op import check

HALVES = [torch.float16, torch.bfloat16]
NUMBER = 0.3  # rounds up in both types

SCALAR_OPS = """
add.Scalar sub.Scalar rsub.Scalar mul.Scalar div.Scalar remainder.Scalar fmod.Scalar floor_divide.Scalar
eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar pow.Tensor_Scalar hardshrink
"""
TENSOR_OPS = """
add.Tensor sub.Tensor rsub.Tensor mul.Tensor div.Tensor remainder.Tensor fmod.Tensor floor_divide
eq.Tensor lt.Tensor ge.Tensor maximum minimum fmax atan2
"""


def values(dtype: torch.dtype) -> torch.Tensor:
    """More than a vector's worth, multiples of the number among them."""
    drawn = torch.rand(59, generator=torch.Generator().manual_seed(0)) * 6 - 3
    return torch.cat([torch.tensor([NUMBER, 2 * NUMBER, 1.5, 2.7, -NUMBER]), drawn]).to(dtype)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", SCALAR_OPS.split())
def test_numbers(name: str, dtype: torch.dtype) -> None:
    x = values(dtype)
    x = x.abs() if name.startswith("pow") else x
    check(f"aten.{name}", x, NUMBER)
    check(f"aten.{name}", x[0].clone(), NUMBER)
    if name != "pow.Tensor_Scalar":
        check_semantics(f"aten.{name}", (x, NUMBER))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", TENSOR_OPS.split())
def test_tensors_of_no_dims(name: str, dtype: torch.dtype) -> None:
    check(f"aten.{name}", values(dtype), torch.tensor(NUMBER))
    check(f"aten.{name}", torch.tensor(NUMBER, dtype=torch.float64), values(dtype))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", [n for n in TENSOR_OPS.split() if n != "floor_divide"])  # eager rounds its steps
def test_integers(name: str, dtype: torch.dtype) -> None:
    x, whole = values(dtype).abs(), torch.arange(64, dtype=torch.int16) * 30 + 257  # neither type holds them all
    check(f"aten.{name}", x, whole)
    check(f"aten.{name}", whole, x)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,)], ids=str)
def test_single_integers_beside_halves_compile(shape: tuple[int, ...]) -> None:
    """The sign of a lone integer once took a conversion from f64 to f16, which calls a library that nobody links."""
    y, x = torch.full(shape, -3, dtype=torch.int16), torch.full(shape, 1.5, dtype=torch.float16)
    assert torch.equal(mlc.compile(torch.atan2)(y, x), torch.atan2(y, x))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_more_numbers(dtype: torch.dtype) -> None:
    x = values(dtype)
    check("aten.add.Tensor", x, x.flip(0), 1.1)
    check("aten.sub.Tensor", x, x.flip(0), 1.1)
    check("aten.remainder.Scalar_Tensor", NUMBER, x)
    check("aten.pow.Scalar", NUMBER, x)
    check("aten.lerp.Scalar", x, x.flip(0), NUMBER)
    for mode in (None, "floor", "trunc"):
        check("aten.div.Scalar_mode", x, NUMBER, mode)
        check_semantics("aten.div.Scalar_mode", (x, NUMBER, mode))
        check("aten.div.Tensor_mode", torch.tensor(NUMBER), x, mode)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_recorded_divisors_keep_their_digits(dtype: torch.dtype) -> None:
    def divided(x: torch.Tensor) -> Any:
        return x // 1.1, torch.div(x, NUMBER, rounding_mode="trunc"), 1.1 // x, x % NUMBER, x == NUMBER, NUMBER**x

    x = torch.cat([values(dtype).abs(), torch.tensor([1.1], dtype=dtype)]).clamp(min=0.25)  # small quotients
    for got, want in zip(mlc.compile(divided)(x), divided(x), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)


def test_divisors_beyond_the_range_of_the_type() -> None:
    x = torch.tensor([5, -(2**31), 7], dtype=torch.int32)
    for n in (2**32 - 1, 2**32 + 2):
        check("aten.floor_divide.Scalar", x, n)
        check("aten.remainder.Scalar", x, n)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    "x", [torch.tensor([[70000.0, -70000.0, 2049.0]]), torch.tensor([[70000, -70000, 2049]])], ids=str
)
def test_what_is_summed_in_a_half_type_is_converted_first(x: torch.Tensor, dtype: torch.dtype) -> None:
    check("aten.sum", x, dtype, reassociates=True)
    check("aten.sum.dim_IntList", x[:, 2:], [1], False, dtype)
    check("aten.softmax.int", x, 1, dtype, reassociates=True)
    check("aten.log_softmax.int", x[:, 2:].expand(1, 4).contiguous(), 1, dtype, reassociates=True)


def test_roots_of_float16_are_powers() -> None:
    x = torch.tensor([-torch.inf, -0.0, 0.0, 4.0, -1.0, torch.inf, torch.nan])
    for dtype in (*HALVES, torch.float32):
        for exponent in (0.5, -0.5):
            check("aten.pow.Tensor_Scalar", x.to(dtype), exponent)
            got, want = mlc.compile(torch.pow)(x.to(dtype), exponent), x.to(dtype) ** exponent
            torch.testing.assert_close(1 / got, 1 / want, equal_nan=True)  # tells -0 from 0


def test_the_dialect_means_the_same() -> None:
    x, edges = torch.tensor([[70000.0, -70000.0, 2049.0]]), torch.tensor([-torch.inf, -0.0, 4.0, -1.0])
    for dtype in HALVES:
        check_semantics("aten.sum", (x, dtype))
        check_semantics("aten.softmax.int", (x, 1, dtype))
        for exponent in (0.5, -0.5, 2.0):
            check_semantics("aten.pow.Tensor_Scalar", (edges.to(dtype), exponent))
