"""ATen reductions, scans, softmax and sorting against PyTorch."""

from __future__ import annotations

import math

import pytest
import torch

from tests.dialects.torch.draw import Case, Draw
from tests.dialects.torch.harness import check

pytestmark = pytest.mark.torch


def _x(d: Draw) -> torch.Tensor:
    return d.pick(
        d.normal((3, 4)),
        d.normal((2, 3, 4), torch.float64),
        d.normal((5,), torch.float16),
        d.normal((2, 7), torch.bfloat16),
    )


def _int(d: Draw) -> torch.Tensor:
    return d.pick(d.ints((3, 4)), d.bools((3, 4)))


def _distinct(d: Draw) -> torch.Tensor:
    order = torch.randperm(12, generator=d.generator).reshape(3, 4)
    return order.to(d.pick(torch.float32, torch.int64, torch.float64))


CASES: dict[str, Case] = {
    "sum prod mean": lambda d: (_x(d),),
    "sum.dim_IntList mean.dim": lambda d: (_x(d), d.pick([0], [-1], None, []), d.pick(True, False)),
    "nansum": lambda d: (d.edges((3, 4), torch.float32), d.pick([0], [-1], None), d.pick(True, False)),
    "prod.dim_int": lambda d: (_x(d), d.pick(0, -1), d.pick(True, False)),
    "var std": lambda d: (_x(d), d.pick(True, False)),
    "var.dim std.dim var_mean.dim std_mean.dim": lambda d: (
        _x(d),
        d.pick([0], [-1]),
        d.pick(True, False),
        d.pick(True, False),
    ),
    "var.correction std.correction var_mean.correction std_mean.correction": lambda d: (
        _x(d),
        d.pick(None, [0], [-1]),
        d.pick(None, 0, 1, 2),
        d.pick(True, False),
    ),
    "amax amin": lambda d: (d.edges((3, 4)), d.pick([0], [-1], []), d.pick(True, False)),
    "max min": lambda d: (d.edges((3, 4)),),
    "max.dim min.dim": lambda d: (d.edges((3, 4)), d.pick(0, -1), d.pick(True, False)),
    "argmax argmin": lambda d: (d.edges((3, 4)), d.pick(None, 0, -1), d.pick(True, False)),
    "aminmax": lambda d: (d.normal((3, 4)), d.pick(None, 0, 1), d.pick(True, False)),
    "any all": lambda d: (d.any((3, 4)),),
    "any.dim all.dim": lambda d: (d.any((3, 4)), d.pick(0, -1), d.pick(True, False)),
    "any.dims all.dims": lambda d: (d.any((3, 4)), d.pick(None, [0, 1], [-1]), d.pick(True, False)),
    "count_nonzero": lambda d: (d.ints((3, 4), torch.int64, 0, 2), d.pick(None, 0)),
    "linalg_vector_norm": lambda d: (
        d.normal((3, 4)),
        d.pick(2, 1, 3, 0, math.inf, -math.inf),
        d.pick(None, [1]),
        d.pick(True, False),
    ),
    "norm.Scalar": lambda d: (d.normal((3, 4)), d.pick(2, 1)),
    "norm.ScalarOpt_dim": lambda d: (d.normal((3, 4)), d.pick(None, 1), [1], d.pick(True, False)),
    "logsumexp": lambda d: (d.edges((3, 4), torch.float32), d.pick([0], [1], [0, 1]), d.pick(True, False)),
    "cumsum cumprod": lambda d: (d.pick(_x(d), _int(d)), d.pick(0, -1)),
    "logcumsumexp": lambda d: (d.normal((3, 4)), d.pick(0, 1)),
    "cummax cummin": lambda d: (d.ints((3, 4), torch.int64), d.pick(0, 1)),
    "softmax.int log_softmax.int": lambda d: (d.pick(_x(d), d.edges((3, 4), torch.float32)), d.pick(0, -1)),
    "_softmax _log_softmax": lambda d: (_x(d), d.pick(0, -1), False),
    "_safe_softmax": lambda d: (torch.full((2, 3), -math.inf) if d.pick(0, 1) else d.normal((2, 3)), -1),
    "sort": lambda d: (d.pick(d.edges((3, 4), torch.float32), d.ints((3, 4))), d.pick(0, -1), False),
    "sort.stable": lambda d: (d.ints((3, 4)), True, d.pick(0, -1), d.pick(True, False)),
    "argsort.stable": lambda d: (d.ints((3, 4)), True, d.pick(0, -1), d.pick(True, False)),
    "count_nonzero.dim_IntList": lambda d: (d.ints((3, 4), torch.int64, 0, 2), d.pick([0], [0, 1])),
    "argsort": lambda d: (_distinct(d), d.pick(0, -1), d.pick(True, False)),
    "topk": lambda d: (_distinct(d), d.pick(1, 2, 3), d.pick(0, -1), d.pick(True, False)),
    "kthvalue": lambda d: (_distinct(d), 2, d.pick(0, -1), d.pick(True, False)),
    "median": lambda d: (d.pick(_distinct(d), d.edges((5,), torch.float32)),),
    "median.dim nanmedian.dim": lambda d: (
        d.pick(_distinct(d), d.edges((3, 5), torch.float32)),
        d.pick(0, -1),
        d.pick(True, False),
    ),
    "nanmedian": lambda d: (d.pick(_distinct(d), d.edges((5,), torch.float32)),),
    "mode": lambda d: (d.ints((3, 7), torch.int64, 0, 3), d.pick(0, -1), d.pick(True, False)),
    "msort": lambda d: (d.edges((5, 2), torch.float32),),
    "bincount": lambda d: (d.ints((9,), torch.int64, 0, 5),),
    "bucketize.Tensor": lambda d: (d.normal((3, 4)), torch.tensor([-1.0, 0.0, 1.0]), False, d.pick(True, False)),
    "searchsorted.Tensor": lambda d: (
        torch.tensor([-1.0, 0.0, 1.0]),
        d.normal((3, 4)),
        d.pick(True, False),
        d.pick(True, False),
        None,
        d.pick(None, torch.tensor([0, 1, 2])),
    ),
    "bucketize.Scalar": lambda d: (d.pick(0, 0.5, 7), torch.tensor([-1.0, 0.0, 1.0]), False, d.pick(True, False)),
    "searchsorted.Scalar": lambda d: (torch.tensor([-1.0, 0.0, 1.0]), d.pick(0, 0.5, 7), d.pick(True, False)),
}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("name", "case"), [(n, c) for names, c in CASES.items() for n in names.split()])
def test_reduction(name: str, case: Case, seed: int) -> None:
    check(f"aten.{name}", case(Draw(seed)), ulps=2, dynamic_seed=seed, scale=_scale(name))


def _scale(name: str) -> float:
    """Sums may cancel: their unit is that of their terms."""
    return (
        4.0
        if name.split(".")[0]
        in (
            "sum",
            "nansum",
            "mean",
            "cumsum",
            "logsumexp",
            "log_softmax",
            "_log_softmax",
            "logcumsumexp",
            "var_mean",
            "std_mean",
        )
        else 0
    )


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "any", "all"])
@pytest.mark.parametrize("seed", range(4))
def test_of_ints_and_bools(name: str, seed: int) -> None:
    draw = Draw(seed)
    check(f"aten.{name}", (_int(draw), 0) if name == "cumsum" else (_int(draw),))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sum", (torch.zeros(0),)),
        ("prod", (torch.zeros(2, 0),)),
        ("mean", (torch.zeros(0),)),
        ("mean.dim", (torch.zeros(2, 0), [1])),
        ("var.correction", (torch.zeros(3, 1), [1], 1)),
        ("amax", (torch.zeros(0, 3), [1])),
        ("argmax", (torch.zeros(0, 3), 1)),
        ("any", (torch.zeros(0),)),
        ("any.dims", (torch.eye(2), [])),
        ("all.dims", (torch.eye(2), [])),
        ("all.dim", (torch.zeros(0, 2), 0)),
        ("softmax.int", (torch.zeros(0, 2), 1)),
        ("cumsum", (torch.zeros(0, 2), 1)),
        ("sort", (torch.zeros(()),)),
        ("softmax.int", (torch.tensor(3.0), 0)),
        ("max.dim", (torch.tensor(3.0), 0)),
        ("sum.dim_IntList", (torch.tensor(3.0), [0], True)),
        ("topk", (torch.tensor([1.0, 1.0]), 0)),
    ],
)
def test_empty_and_scalar(name: str, arguments: tuple[object, ...]) -> None:
    check(f"aten.{name}", arguments)
