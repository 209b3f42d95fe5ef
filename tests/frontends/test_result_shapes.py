"""What is said of results without computing them is what eager gives, and nothing is said of calls that it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlc.frontends.torch.result_shapes import result_shape, row_by_row

aten: Any = torch.ops.aten
SIZES = st.integers(1, 4)


@st.composite
def tensors(draw: Any, *shape: int, wrong: bool = False) -> torch.Tensor:
    """A tensor of a shape, seldom of another, of another dtype, or laid out otherwise."""
    sizes = [draw(st.sampled_from([n] * 12 + ([n + 1, 1] if wrong else []))) for n in shape]
    dtype = draw(st.sampled_from([torch.float32] * 12 + ([torch.float64, torch.int64] if wrong else [])))
    order = draw(st.sampled_from([None] * 4 + ["last", "reversed"]))
    if order == "last" and len(sizes) == 4:
        return torch.ones(sizes, dtype=dtype).to(memory_format=torch.channels_last)
    if order == "reversed":
        return torch.ones(sizes[::-1], dtype=dtype).permute(tuple(range(len(sizes))[::-1]))
    return torch.ones(sizes, dtype=dtype)


@st.composite
def calls(draw: Any) -> tuple[Any, tuple[Any, ...]]:
    """Calls of the ops that are known, some of which eager refuses."""
    n, m, k, b = (draw(SIZES) for _ in range(4))
    wrong = draw(st.booleans())

    def tensor(*shape: int) -> torch.Tensor:
        return draw(tensors(*shape, wrong=wrong))

    def maybe(*shape: int) -> torch.Tensor | None:
        return tensor(*shape) if draw(st.booleans()) else None

    kind = draw(st.sampled_from(["conv2d", "linear", "mm", "addmm", "bmm", "batch_norm", "cat", "relu", "sigmoid"]))
    if kind == "conv2d":
        groups = draw(st.sampled_from([1, 2, 0] if wrong else [1, 2]))
        lowest = (0, -1, 0) if wrong else (1, 0, 1)
        h, w, kh, kw = (draw(st.integers(low, 4)) for low in (2, 2, 1, 1))
        made = m * max(1, groups)
        steps = [draw(st.lists(st.integers(low, 2), min_size=2, max_size=2)) for low in lowest]
        x, weight = tensor(b, n * max(1, groups), h, w), tensor(made, n, kh, kw)
        return aten.conv2d.default, (x, weight, maybe(made), *steps, groups)
    if kind == "linear":
        lead = draw(st.lists(SIZES, min_size=0, max_size=2))
        return aten.linear.default, (tensor(*lead, n), tensor(m, n), maybe(m))
    if kind == "mm":
        return aten.mm.default, (tensor(n, k), tensor(k, m))
    if kind == "addmm":
        bias = draw(st.sampled_from([(m,), (n, m), (1,)]))
        return aten.addmm.default, (tensor(*bias), tensor(n, k), tensor(k, m))
    if kind == "bmm":
        return aten.bmm.default, (tensor(b, n, k), tensor(b, k, m))
    if kind == "batch_norm":
        statistics = (tensor(n), tensor(n)) if draw(st.integers(0, 5)) else (None, None)
        x = tensor(b, n, *draw(st.lists(SIZES, max_size=3)))
        return aten.batch_norm.default, (x, maybe(n), maybe(n), *statistics, False, 0.1, 1e-5, True)
    if kind == "cat":
        rank = draw(st.integers(1, 4))
        shape = [draw(SIZES) for _ in range(rank)]
        return aten.cat.default, ([tensor(*shape) for _ in range(b)], draw(st.integers(-rank - 1, rank)))
    return getattr(aten, kind).default, (tensor(*[draw(SIZES) for _ in range(draw(st.integers(0, 4)))]),)


@given(calls())
def test_shapes_are_those_of_eager(call: tuple[Any, tuple[Any, ...]]) -> None:
    func, args = call
    shape = result_shape(func, args, {})
    if shape is not None:
        result = func(*args)  # eager refuses none of them
        assert (result.shape, result.stride(), result.dtype) == (shape, row_by_row(shape), torch.float32)


X, W = torch.ones(1, 4, 6, 6), torch.ones(2, 4, 3, 3)


@pytest.mark.parametrize(
    ("func", "args", "shape"),
    [
        (aten.conv2d.default, (X, W, None, [2, 2], [1, 1]), (1, 2, 3, 3)),
        (aten.conv2d.default, (X, W[:, :2].contiguous(), torch.ones(2), [1], [0], [2], 2), (1, 2, 2, 2)),
        (aten.linear.default, (X, torch.ones(5, 6)), (1, 4, 6, 5)),
        (aten.mm.default, (X[0, 0].t(), X[0, 0]), (6, 6)),
        (aten.addmm.default, (torch.ones(6), X[0, 0], X[0, 1]), (6, 6)),
        (aten.bmm.default, (X[0], X[0]), (4, 6, 6)),
        (aten.batch_norm.default, (X, None, None, X[0, :, 0, 0], X[0, :, 0, 0], False, 0.1, 1e-5, True), None),
        (aten.batch_norm.default, (X, None, None, torch.ones(4), torch.ones(4), False, 0.1, 1e-5, True), X.shape),
        (aten.cat.default, ([X, X], -3), (1, 8, 6, 6)),
        (aten.relu.default, (X,), X.shape),
        (aten.relu.default, (X.to(memory_format=torch.channels_last),), None),
        (aten.relu.default, (X.double(),), None),
        (aten.relu.default, (X[:0],), None),
        (aten.erf.default, (X,), None),
    ],
)
def test_what_is_said(func: Any, args: tuple[Any, ...], shape: Any) -> None:
    assert result_shape(func, args, {}) == shape
