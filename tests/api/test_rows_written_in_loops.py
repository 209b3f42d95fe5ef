"""Native loops along rows: scatters, embedding bags, one-hot codes, samples, padding, attention of a single query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mlc
from mlc.errors import ExecutionError

torch.manual_seed(0)


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


def check(function: Callable[..., torch.Tensor], *args: torch.Tensor, rtol: float = 1e-5) -> None:
    """Compiled against eager: values, dtype, shape; NaN and infinities where eager has them."""
    expected = function(*args)
    found = mlc.compile(Function(function), num_threads=1)(*args)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.float().numpy(), expected.float().numpy(), rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("width", [1, 5, 16, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_rows_are_added_to_the_rows_of_their_indices(width: int, dtype: torch.dtype):
    x = torch.randint(-8, 8, (6, width)).to(dtype)
    source = torch.randint(-8, 8, (9, width)).to(dtype)
    index = torch.tensor([0, 3, 3, 5, 3, 0, 1, 5, 5])
    check(lambda a, i, s: a.index_add(0, i, s), x, index, source)
    check(lambda a, i, s: a.scatter_add(0, i[:, None].expand(-1, s.shape[1]), s), x, index, source)
    check(lambda i, s: s.new_zeros(6, s.shape[1]).scatter_add(0, i[:, None].expand_as(s), s), index, source)
    check(lambda a, i, s: a.index_put((i,), s, accumulate=True), x, index, source)


def test_an_expanded_index_in_the_middle_and_smaller_than_the_source():
    index = torch.tensor([2, 0, 2])
    x, source = torch.randn(2, 4, 5), torch.randn(3, 3, 6)
    check(lambda a, i, s: a.scatter_add(1, i[None, :, None].expand(2, 3, 5), s), x, index, source)
    check(lambda a, i, s: a.scatter(1, i[None, :, None].expand(2, 3, 4), s), x, index[:3], source)
    check(lambda a, i: a.scatter(2, i[:2, None, None].expand(2, 3, 1), 7.0), x, index)
    check(lambda a, i, s: a.scatter_reduce(1, i[None, :, None].expand(2, 3, 5), s, "amax"), x, index, source)
    check(lambda a, i, s: a.scatter_add(1, i[:0, None, None].expand(0, 3, 5), s), x, index, source)


def test_infinities_and_nan_are_added():
    source = torch.tensor([[1.0, torch.inf], [torch.nan, -torch.inf], [2.0, 3.0]])
    index = torch.tensor([1, 0, 1])
    check(lambda i, s: torch.zeros(2, 2).index_add(0, i, s), index, source)


def test_an_expanded_index_out_of_range_is_an_error():
    compiled = mlc.compile(Function(lambda a, i, s: a.scatter_add(0, i[:, None].expand_as(s), s)), num_threads=1)
    x, source = torch.randn(3, 4), torch.randn(2, 4)
    compiled(x, torch.tensor([0, 2]), source)
    for wrong in (3, -1):
        with pytest.raises((ExecutionError, IndexError, RuntimeError), match="out of range"):
            compiled(x, torch.tensor([0, wrong]), source)


def test_what_is_filled_is_read_elsewhere_too():
    """The zeros that a scatter starts from have another reader: they are not written over."""

    def both(index: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(5, 3)
        added = zeros.index_add(0, index, source)
        again = added.index_add(0, index, source)
        return torch.cat([zeros, added, again, zeros.index_add(0, index, source + 1)])

    check(both, torch.tensor([4, 4, 0]), torch.randn(3, 3))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,)])
@pytest.mark.parametrize("classes", [1, 7, 40])
def test_one_hot(shape: tuple[int, ...], classes: int):
    index = torch.randint(classes, shape)
    check(lambda i: F.one_hot(i, classes), index)
    check(lambda i: F.one_hot(i, classes).float() * 2, index)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("width", [3, 16, 40])
def test_embedding_bags(mode: str, width: int):
    table = torch.randn(20, width)
    index, offsets = torch.tensor([3, 3, 19, 0, 7, 7, 7, 1]), torch.tensor([0, 2, 2, 7])
    check(lambda i, o, t: F.embedding_bag(i, t, o, mode=mode), index, offsets, table)
    check(lambda i, o, t: F.embedding_bag(i, t, o, mode=mode, padding_idx=7), index, offsets, table)
    check(lambda i, t: F.embedding_bag(i, t, mode=mode), index.view(2, 4), table)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_samples_of_several_channels(mode: str, padding: str, align: bool):
    x, grid = torch.randn(2, 5, 6, 7), torch.rand(2, 9, 3, 2) * 2.6 - 1.3
    x[:, :, 0, 0] = torch.nan  # read by no point outside
    grid[0, 0, 0] = torch.tensor([3.0, 3.0])
    check(lambda a, g: F.grid_sample(a, g, mode=mode, padding_mode=padding, align_corners=align), x, grid, rtol=1e-4)


def test_samples_of_volumes_and_of_no_points():
    x, grid = torch.randn(1, 3, 4, 5, 6), torch.rand(1, 2, 3, 4, 3) * 2.2 - 1.1
    check(lambda a, g: F.grid_sample(a, g, align_corners=True), x, grid, rtol=1e-4)
    check(lambda a, g: F.grid_sample(a, g, align_corners=True), x, grid[:, :0], rtol=1e-4)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 2, 3, 0), (2, 0), (0, 0, 1, 2), (0, 0, 0, 0)])
def test_padding_around_what_is_computed(mode: str, pads: tuple[int, ...]):
    x = torch.randn(2, 3, 5, 4)
    check(lambda a: F.pad(a if len(pads) == 4 else a[0], pads, mode=mode), x)
    check(lambda a: F.pad((a * 2).relu() if len(pads) == 4 else a[0], pads, mode=mode) + 1, x)
    check(lambda a: (lambda y: F.pad(y if len(pads) == 4 else y[0], pads, mode=mode).sum() + y)(a.exp()), x)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16])
def test_padding_of_other_types(dtype: torch.dtype):
    x = torch.randint(0, 2, (1, 2, 5, 4)).to(dtype)
    check(lambda a: F.pad(a.float(), (1, 2, 2, 1), mode="reflect").to(a.dtype), x)


@pytest.mark.parametrize("heads", [(4, 4), (8, 2), (6, 1), (9, 1)])
@pytest.mark.parametrize("keys", [1, 7, 64])
def test_a_single_query_reads_a_cache_of_keys(heads: tuple[int, int], keys: int):
    query, key = torch.randn(2, heads[0], 1, 24), torch.randn(2, heads[1], keys, 24)
    value, mask = torch.randn(2, heads[1], keys, 10), torch.rand(1, keys) > 0.3

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor | None = None) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, m, enable_gqa=True)

    check(attend, query, key, value, rtol=1e-4)
    check(attend, query, key, value, mask, rtol=1e-4)
    check(attend, query, key, value, torch.randn(2, 1, 1, keys), rtol=1e-4)
    check(lambda q, k, v: attend(q[0], k[0], v[0]), query, key, value, rtol=1e-4)
    check(lambda q, k: (q @ k.mT).softmax(-1), query, key[:, :1], rtol=1e-4)
