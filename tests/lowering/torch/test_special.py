"""Special functions, second names, loops over whole tensors, medians."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mlc.dialects.torch.second_names import SECOND_NAMES
from tests.lowering.torch.single_op import EDGE, INF, NAN, check

torch.manual_seed(0)
POINTS = torch.cat([torch.linspace(-12, 12, 97), torch.tensor([0.0, -0.0, 1e-30, -1e-8, 0.999999, 30.0, -30.0, NAN])])
UNIT = torch.cat([torch.linspace(-1, 1, 81), torch.tensor([1e-30, -1e-8, 0.9999999, -0.99999, 1.5, NAN])])
LEVELS = torch.cat([torch.linspace(0, 1, 81), torch.tensor([1e-30, 1e-8, 0.9999999, -0.5, 1.5, NAN])])
FUNCTIONS: dict[str, torch.Tensor] = {
    "digamma": torch.cat([POINTS, torch.tensor([INF, 1e10])]),
    "erfc": torch.cat([POINTS, torch.tensor([INF, -INF])]),
    "erfinv": UNIT,
    "i0": POINTS,
    "lgamma": torch.cat([POINTS, torch.tensor([INF, -INF, 1.0000001, 1.9999999, 1e30])]),
    "sinc": POINTS,
    "special_erfcx": POINTS[POINTS > -9],
    "special_i0e": POINTS,
    "special_i1": POINTS,
    "special_i1e": POINTS,
    "special_ndtri": LEVELS,
}


ONLY_WIDE = ("special_erfcx", "special_ndtri")  # eager has no bfloat16 of these
DTYPES = [
    (name, dtype)
    for name in sorted(FUNCTIONS)
    for dtype in (torch.float32, torch.float64, torch.bfloat16)
    if dtype is not torch.bfloat16 or name not in ONLY_WIDE
]


@pytest.mark.parametrize(("name", "dtype"), DTYPES, ids=[f"{n}-{d}" for n, d in DTYPES])
def test_special_functions(name: str, dtype: torch.dtype) -> None:
    if dtype is not torch.float64:
        check(f"aten.{name}", FUNCTIONS[name].to(dtype), ulp=8)
    elif name == "lgamma":  # near its roots the error is that of its terms
        check("aten.lgamma", FUNCTIONS[name].double()[:-5], reassociates=True)
    else:
        check(f"aten.{name}", FUNCTIONS[name].double(), ulp=256)  # eager is not exact either


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_special_functions_of_integers(name: str) -> None:
    check(f"aten.{name}", torch.tensor([0, 1, 2, 5]), ulp=8, dynamic=True)


def test_bits_of_floats() -> None:
    for dtype in (torch.float32, torch.float64):
        check("aten.frexp.Tensor", torch.cat([EDGE.to(dtype), torch.tensor([5e-324, 1e300])]).to(dtype))
        check("aten.nextafter", EDGE.to(dtype)[:, None], EDGE.to(dtype)[None])


@pytest.mark.parametrize("name", sorted(n for n in SECOND_NAMES if n.startswith("aten.arc") and "2" not in n))
def test_inverse_functions_under_their_long_names(name: str) -> None:
    x = torch.linspace(1, 3, 9) if name == "aten.arccosh" else torch.linspace(-0.9, 0.9, 9)
    check(name, x, ulp=8)


SECOND: list[tuple[str, tuple[Any, ...]]] = [
    ("aten.absolute", (EDGE,)),
    ("aten.negative", (EDGE,)),
    ("aten.multiply.Tensor", (EDGE[:4], EDGE[4:8])),
    ("aten.subtract.Scalar", (EDGE, 2)),
    ("aten.divide.Tensor_mode", (EDGE[6:9], EDGE[9:12], "floor")),
    ("aten.true_divide.Scalar", (EDGE, True)),
    ("aten.greater_equal.Scalar", (EDGE, 1)),
    ("aten.not_equal.Tensor", (EDGE[:4], EDGE[4:8])),
    ("aten.special_round", (EDGE,)),
    ("aten.bitwise_and.Scalar_Tensor", (6, torch.arange(9))),
    ("aten.bitwise_left_shift.Scalar_Tensor", (6, torch.arange(9))),
    ("aten.__rshift__.Tensor", (torch.arange(9), torch.arange(9) % 3)),
    ("prims.add", (EDGE[:4], EDGE[4:8])),
    ("prims.where", (EDGE > 0, EDGE, -EDGE)),
    ("prims.shift_right_arithmetic", (torch.arange(-4, 5), torch.arange(9) % 3)),
    ("prims.amax", (EDGE.reshape(4, 8), [1])),
]


@pytest.mark.parametrize(("name", "args"), SECOND, ids=[n for n, _ in SECOND])
def test_second_names(name: str, args: tuple[Any, ...]) -> None:
    check(name, *args)


ROWS = torch.tensor([[1.0, NAN, 3.0, 1.0], [INF, 2.0, -INF, 2.0], [0.0, -0.0, 5.0, NAN]])
TIES = torch.tensor([[3, 1, 3, 1, 2], [5, 5, 2, 2, 2]])
LOOPS: list[tuple[str, tuple[Any, ...]]] = [
    ("cummax", (ROWS, 1)),
    ("cummin", (ROWS, 0)),
    ("cummax", (TIES, -1)),
    ("cummin", (torch.tensor(3.0), 0)),
    ("cummax", (torch.zeros(2, 0), 1)),
    ("gcd", (torch.tensor([12, -18, 0, 0, 7, -(2**63)]), torch.tensor([18, 12, 5, 0, -7, -1]))),
    ("gcd", (torch.tensor([[12], [200]], dtype=torch.uint8), torch.tensor([18, 45], dtype=torch.uint8))),
    ("gcd", (torch.tensor(7540113804746346429), torch.tensor(4660046610375530309))),
    ("lcm", (torch.tensor([4, -6, 0, 5]), torch.tensor([6, 4, 3, 0]))),
    ("lcm", (torch.tensor([16, -13], dtype=torch.int8), torch.tensor([13, 16], dtype=torch.int8))),
    ("nanmedian", (ROWS,)),
    ("nanmedian.dim", (ROWS, 1)),
    ("nanmedian.dim", (torch.full((2, 3), NAN), 1, True)),
    ("median", (torch.zeros(0),)),
    ("median.dim", (TIES, 1)),
    ("mode", (TIES, 1)),
    ("mode", (TIES, 0, True)),
    ("msort", (ROWS,)),
    ("any.dims", (ROWS, [])),
    ("all.dims", (TIES - 2, [])),
]


@pytest.mark.parametrize(("name", "args"), LOOPS, ids=[f"{i}-{n}" for i, (n, _) in enumerate(LOOPS)])
def test_loops_and_ranks(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args)


@pytest.mark.parametrize("name", ["cummax", "median.dim", "nanmedian.dim", "mode"])
def test_unknown_sizes(name: str) -> None:
    check(f"aten.{name}", torch.tensor([[3.0, 1.0, 2.0], [5.0, 4.0, 4.0]]), 1, dynamic=True)


@pytest.mark.parametrize("name", ["sum.dim_IntList", "var.correction", "linalg_vector_norm", "amax"])
def test_dims_of_a_scalar(name: str) -> None:
    x = torch.tensor(-2.5)
    check(f"aten.{name}", *((x, 2, [0]) if "norm" in name else (x, [0])))


def test_angles() -> None:
    check("aten.angle", EDGE)
