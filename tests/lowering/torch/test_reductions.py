"""Reductions, normalisations, softmax, sorting: values within the bound of their sums, indices exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import mlc
from tests.lowering.torch.single_op import EDGE, check

torch.manual_seed(0)
X = torch.randn(2, 3, 4)
Y = torch.randn(2, 6, 4, 5)
NANS = torch.tensor([[1.0, math.nan, 3.0], [math.inf, 2.0, -math.inf], [0.0, -0.0, 5.0]])
HUGE_AND_TINY = torch.tensor([[1e30], [-1e-30], [-3.0], [math.nan], [-math.inf]])
INTS = torch.tensor([[3, -1, 7], [2**40, 5, 5]])
BITS = torch.tensor([[True, False], [True, True]])
W6, B6, M6, V6 = torch.randn(6), torch.randn(6), torch.randn(6), torch.rand(6) + 0.5

CLOSE: list[tuple[str, tuple[Any, ...]]] = [
    ("sum", (X,)),
    ("sum.dim_IntList", (X, [1])),
    ("sum.dim_IntList", (X, [0, -1], True)),
    ("sum.dim_IntList", (X, [])),
    ("sum.dim_IntList", (X, None)),
    ("sum", (torch.randn(0),)),
    ("sum.dim_IntList", (torch.randn(2, 0), [1])),
    ("sum", (torch.tensor(2.0),)),
    ("sum", (X.half(),)),
    ("mean", (X,)),
    ("mean.dim", (X, [1, 2])),
    ("mean.dim", (X, [0], True)),
    ("mean", (torch.randn(0),)),
    ("prod", (X,)),
    ("prod.dim_int", (X, 1)),
    ("var", (X,)),
    ("var.dim", (X, [1])),
    (
        "var.correction",
        (X, [1, 2]),
    ),
    ("var.correction", (X, None)),
    ("std.dim", (X, [0], False, True)),
    ("var_mean.correction", (X, [2])),
    ("std", (X,)),
    ("var", (torch.tensor([1.0]),)),
    ("linalg_vector_norm", (X,)),
    ("linalg_vector_norm", (X, 1, [1])),
    ("linalg_vector_norm", (X, 3.5, [1], True)),
    ("linalg_vector_norm", (X, math.inf)),
    ("linalg_vector_norm", (X, 0)),
    ("norm.ScalarOpt_dim", (X, 2, [1])),
    ("logsumexp", (X, [1])),
    ("logsumexp", (NANS, [1], True)),
    ("logsumexp", (torch.full((2, 3), -math.inf), [1])),
    ("cumsum", (X, 1)),
    ("cumsum", (X, -1)),
    ("cumprod", (X, 0)),
    ("cumsum", (torch.tensor(1.0), 0)),
    ("softmax.int", (X, -1)),
    ("softmax.int", (X, 1)),
    *(
        (name, (torch.tensor(value), 0))
        for name in ("softmax.int", "log_softmax.int", "_safe_softmax")
        for value in (1.0, math.inf, -math.inf, math.nan)
    ),
    ("_softmax", (X * 100, 2, False)),
    ("softmax.int", (X.half(), 1)),
    ("softmax.int", (NANS, 1)),
    ("instance_norm", (torch.zeros(2, 0, 4), None, None, None, None, True, 0.1, 1e-5, False)),
    ("log_softmax.int", (X * 50, 1)),
    ("_log_softmax", (X, 0, False)),
    ("_safe_softmax", (torch.full((2, 3), -math.inf), 1)),
    ("layer_norm", (X, [4], torch.randn(4), torch.randn(4))),
    ("layer_norm", (X, [3, 4])),
    ("native_layer_norm", (X, [4], None, None, 1e-5)),
    ("layer_norm", (X.bfloat16(), [4])),
    ("group_norm", (Y, 3, W6, B6)),
    ("native_group_norm", (Y, W6, None, 2, 6, 20, 2, 1e-5)),
    ("instance_norm", (Y, W6, B6, None, None, True, 0.1, 1e-5, False)),
    ("batch_norm", (Y, W6, B6, M6, V6, False, 0.1, 1e-5, False)),
    ("batch_norm", (Y, None, None, M6, V6, False, 0.1, 1e-3, False)),
    ("_native_batch_norm_legit_no_training", (Y, W6, B6, M6, V6, 0.1, 1e-5)),
    ("rms_norm", (X, [4], torch.randn(4), 1e-6)),
    ("rms_norm", (X, [4])),
]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("name", "args"), CLOSE, ids=[f"{i}-{n}" for i, (n, _) in enumerate(CLOSE)])
def test_close(name: str, args: tuple[Any, ...], dynamic: bool) -> None:
    check(f"aten.{name}", *args, reassociates=True, dynamic=dynamic)


def test_statistics_of_the_batch() -> None:
    check("aten._native_batch_norm_legit.no_stats", Y, W6, B6, True, 0.1, 1e-5, reassociates=True)
    check("aten.batch_norm", Y, W6, B6, None, None, True, 0.1, 1e-5, False, reassociates=True)


@pytest.mark.parametrize("correction", [0, 1, 2, 0.5])
def test_corrections(correction: float) -> None:
    check("aten.var.correction", X, [1], correction=correction, reassociates=True)


EXACT: list[tuple[str, tuple[Any, ...]]] = [
    ("amax", (X, [1])),
    ("amin", (X, [0, 2], True)),
    ("amax", (NANS, [1])),
    ("amin", (NANS, [0])),
    ("max", (X,)),
    ("min", (INTS,)),
    ("amax", (INTS, [1])),
    ("amax", (BITS, [0])),
    ("max.dim", (X, 1)),
    ("min.dim", (X, -1, True)),
    ("max.dim", (NANS, 1)),
    ("min.dim", (NANS, 1)),
    ("max.dim", (INTS, 1)),
    ("max.dim", (torch.tensor(1.0), 0)),
    ("argmax", (X,)),
    ("argmax", (X, 1)),
    ("argmin", (X, 0, True)),
    ("argmax", (NANS, 1)),
    ("argmin", (NANS, 0)),
    ("argmax", (torch.tensor([1.0, 3.0, 3.0]),)),
    ("argmax", (torch.full((3,), -math.inf),)),
    ("argmin", (torch.full((3,), math.inf), 0)),
    ("argmax", (INTS, 1)),
    ("aminmax", (X,)),
    ("any", (BITS,)),
    ("any.dim", (BITS, 0)),
    ("all", (BITS,)),
    ("all.dim", (BITS, 1, True)),
    ("any", (NANS,)),
    ("any.dims", (X > 1, [0, 1])),
    ("all", (torch.tensor([], dtype=torch.bool),)),
    ("any", (torch.tensor([0, 2], dtype=torch.uint8),)),
    ("sum", (BITS,)),
    ("sum", (INTS,)),
    ("sum.dim_IntList", (INTS.int(), [0])),
    ("prod", (INTS,)),
    ("count_nonzero", (NANS,)),
    *(("linalg_vector_norm", (HUGE_AND_TINY, order, [1], True)) for order in (2, 1, 3.5, -2, 0, math.inf)),
    ("linalg_vector_norm", (HUGE_AND_TINY[:1], 2)),
    ("norm.ScalarOpt_dim", (HUGE_AND_TINY[None], 3, [0, 2])),
    ("cumsum", (INTS, 1)),
    ("cumsum", (BITS, 0)),
    ("sort", (X,)),
    ("sort", (X, 1, True)),
    ("sort", (NANS, 1)),
    ("sort", (NANS, 0, True)),
    ("sort.stable", (torch.tensor([1, 0, 1, 0]), True)),
    ("argsort", (X,)),
    ("sort", (torch.tensor(1.0),)),
    ("topk", (X, 2)),
    ("topk", (X, 2, 1, False)),
    ("topk", (NANS, 2, 1)),
    ("kthvalue", (X, 2, 1)),
    ("median", (X,)),
    ("median.dim", (X, 1, True)),
    ("median.dim", (NANS, 1)),
    ("amax", (EDGE, [])),
]


@pytest.mark.parametrize(("name", "args"), EXACT, ids=[f"{i}-{n}" for i, (n, _) in enumerate(EXACT)])
def test_exact(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4, 3), (2, 3, 2)])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_running_results_of_any_size(name: str, shape: tuple[int, ...], dynamic: bool):
    """Nothing is read of an empty row, known to be empty or not."""
    for dim in range(len(shape)):
        check(f"aten.{name}", torch.randn(shape), dim, dynamic=dynamic, reassociates=name == "logcumsumexp")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running_sums_are_held_in_a_wider_type(name: str, dtype: torch.dtype):
    check(f"aten.{name}", (torch.rand(2, 100) + 0.5).to(dtype), 1)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_integers_without_elements(name: str):
    check(f"aten.{name}.int", torch.zeros(0, 3, dtype=torch.uint8), 1)
    check(f"aten.{name}.int", torch.zeros(3, 0, dtype=torch.int64), 1)


@pytest.mark.parametrize("size", [1e18, 3e19, 1e30])
@pytest.mark.parametrize("count", [4, 17, 256])
def test_spread_of_huge_values_is_that_of_eager(size: float, count: int):
    x = torch.randn(3, count).clamp(-2, 2) * size
    check("aten.std.correction", x, [1], correction=1, reassociates=True)
    check("aten.var_mean.correction", x, [1], correction=1, reassociates=True)


@pytest.mark.parametrize("order", [2, 1, 0, 3, 0.5, -1, math.inf])
def test_the_norm_of_one_element_is_its_magnitude(order: float) -> None:
    x = torch.tensor([[1e30], [1e-30], [-3.0], [math.nan], [-math.inf], [-0.0], [1e-42]])
    check("aten.linalg_vector_norm", x, order, [1])
    check("aten.linalg_vector_norm", x, order, [1], True)
    check("aten.linalg_vector_norm", x[:1], order)
    check("aten.linalg_vector_norm", x[0, 0], order)
    check("aten.norm.ScalarOpt_dim", x[:4], order, [1], True)


def test_cosine_similarity_of_one_element() -> None:
    check("aten.cosine_similarity", torch.tensor([[1e30], [-2.0]]), torch.tensor([[3e30], [3.0]]))


EQUAL: dict[str, tuple[torch.nn.Module, torch.Tensor]] = {
    "layer norm": (torch.nn.LayerNorm(200), torch.full((3, 200), 7.3)),
    "layer norm, small eps": (torch.nn.LayerNorm(200, eps=1e-12), torch.full((3, 200), 1e4 / 3)),
    "group norm": (torch.nn.GroupNorm(2, 4), torch.full((2, 4, 20, 10), 7.3)),
    "instance norm": (torch.nn.InstanceNorm2d(3), torch.full((2, 3, 20, 10), -7.3)),
}


@pytest.mark.parametrize("name", EQUAL)
@torch.no_grad()
def test_equal_numbers_are_at_their_mean(name: str) -> None:
    """Their mean is rounded, and what it is off by is as large as their deviation."""
    model, x = EQUAL[name]
    assert mlc.compile(model.eval())(x).abs().max() <= 1e-8


def test_variance_beside_a_large_mean() -> None:
    x = torch.randn(3, 200, generator=torch.Generator().manual_seed(0)) * 0.01 + 1e4
    for function in (torch.var, torch.std):
        torch.testing.assert_close(mlc.compile(lambda x, f=function: f(x, 1))(x), function(x, 1), rtol=1e-5, atol=0)
    assert not mlc.compile(lambda x: x.std(1, unbiased=False))(torch.full((3, 200), 7.3)).any()


def test_mean_of_infinities_is_theirs() -> None:
    x = torch.tensor([[1.0, math.inf, 2.0], [1.0, -math.inf, 2.0], [math.nan, 1.0, 2.0]])
    got, want = (f(x) for f in (mlc.compile(lambda x: torch.var_mean(x, 1)), lambda x: torch.var_mean(x, 1)))
    torch.testing.assert_close(got[0], want[0], equal_nan=True)
    torch.testing.assert_close(got[1][2], want[1][2], equal_nan=True)
