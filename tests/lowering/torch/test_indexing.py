"""Masks, rows and flat places to write to; lookups in sorted sequences; repeats; bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mlc.errors import ExecutionError, UnsupportedError
from mlc.interp import run_module
from tests.lowering.torch.single_op import check, eager, lowered, module_of

torch.manual_seed(0)
X = torch.randn(2, 3, 4)
WHOLE = torch.randint(-9, 9, (2, 3, 4))
MASK = X > 0
ROW = torch.tensor([True, False, True])
SORTED = torch.tensor([-1.0, 0.0, 0.5, 2.0])
T = torch.tensor


CASES: list[tuple[Any, ...]] = [
    ("index_put", (X, [MASK], T(7.0))),
    ("index_put", (X, [MASK], T([7.0]))),
    ("index_put", (X, [T([True, False])], torch.randn(3, 4))),
    ("index_put", (X, [MASK[:, :, 0]], torch.randn(4))),
    ("index_put", (X, [None, ROW], T(1.0))),
    ("index_put", (X, [None, ROW], torch.randn(2, 1, 4))),
    ("index_put", (X, [None, ROW], torch.ones(4), True)),
    ("index_put", (X, [T([True, True])], torch.randn(2, 3, 4))),
    ("index_put", (X, [MASK], torch.randn(int(MASK.sum())))),
    ("index_put", (WHOLE, [WHOLE > 0], T(2))),
    ("masked_scatter", (X, MASK, torch.arange(24.0))),
    ("masked_scatter", (X, ROW[:, None], torch.arange(24.0))),
    ("masked_scatter", (X, torch.zeros(2, 3, 4, dtype=torch.bool), torch.randn(0))),
    ("nonzero_static", (MASK,), {"size": 4}),
    ("nonzero_static", (MASK,), {"size": 30, "fill_value": -7}),
    ("nonzero_static", (WHOLE,), {"size": 24}),
    ("take", (X, T([[0, 5], [-1, 23]]))),
    ("put", (X, T([0, 5, -1]), torch.randn(3))),
    ("put", (X, T([0, 0, -1]), torch.arange(3.0), True)),
    ("as_strided_scatter", (X, torch.zeros(2, 2), [2, 2], [5, 1], 3)),
    ("index_fill.int_Tensor", (X, 2, T([0, -1]), T(3.0))),
    ("index_fill.int_Scalar", (WHOLE, 0, T([1]), 3)),
    *[
        ("index_reduce", (x, 1, T([0, 2, 0]), (x + 1).clone(), how, own))
        for how in ("prod", "mean", "amax", "amin")
        for own in (True, False)
        for x in (X.round(), WHOLE)
    ],
    ("searchsorted.Scalar", (SORTED, 0.25)),
    ("searchsorted.Scalar", (SORTED, 0.5), {"right": True}),
    ("bucketize.Scalar", (2, SORTED)),
    ("searchsorted.Tensor", (SORTED.flip(0), X), {"sorter": T([3, 2, 1, 0])}),
    ("repeat_interleave.Tensor", (T([2, 0, 3]),), {"output_size": 5}),
    ("repeat_interleave.Tensor", (T([2, 0, 3], dtype=torch.int32),)),
    ("repeat_interleave.self_Tensor", (X, T([1, 2, 0]), 1)),
    ("repeat_interleave.self_Tensor", (X, T([2]), 2)),
    ("flip", (T(2.0), [0])),
    ("index_add", (T(2.0), 0, T([0]), T(3.0))),
    ("index_copy", (T(2.0), 0, T([0]), T([3.0]))),
    ("index_fill.int_Scalar", (T(2.0), 0, T([0]), 3.0)),
    ("argsort.stable", (WHOLE,), {"stable": True, "dim": 1, "descending": True}),
    ("msort", (X,)),
    ("tile", (X, [2])),
    ("tile", (X[0, 0], [2, 3])),
    ("fliplr", (X,)),
    ("flipud", (X,)),
    ("unfold_copy", (X, 2, 2, 1)),
    ("squeeze_copy.dims", (X[:, :1], [1])),
    ("unsafe_chunk", (X, 2, 2)),
    ("unsafe_split.Tensor", (X, 3, 2)),
    ("unsafe_split_with_sizes", (X, [1, 3], 2)),
    ("view.dtype", (X, torch.int16)),
    ("view.dtype", (X, torch.float64)),
    ("view.dtype", (X.double(), torch.uint8)),
    ("view.dtype", (torch.arange(16, dtype=torch.int8), torch.int64)),
    ("view.dtype", (torch.arange(8, dtype=torch.int16), torch.float32)),
]


def _case(case: tuple[Any, ...]) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return case[0], case[1], case[2] if len(case) > 2 else {}


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_exact(case: tuple[Any, ...]) -> None:
    name, args, options = _case(case)
    check(f"aten.{name}", *args, **options)


@pytest.mark.parametrize(
    ("name", "args", "options", "bad"),
    [
        ("masked_scatter", (X, MASK, torch.arange(20.0)), {}, {1: np.ones((2, 3, 4), np.bool_)}),
        ("repeat_interleave.Tensor", (T([2, 0, 3]),), {"output_size": 5}, {0: np.array([2, 2, 3])}),
        ("take", (X, T([1])), {}, {1: np.array([24])}),
        ("put", (X, T([1]), T([2.0])), {}, {1: np.array([-25])}),
        ("index_reduce", (X, 1, T([0]), X[:, :1], "amax"), {}, {1: np.array([3])}),
    ],
)
def test_what_only_the_run_can_know_is_checked(
    name: str, args: tuple[Any, ...], options: dict[str, Any], bad: dict[int, np.ndarray]
) -> None:
    module, inputs = module_of(f"aten.{name}", args, options, eager(f"aten.{name}", args, options), False)
    ctx = lowered(module)
    given = [bad.get(i, t.numpy()) for i, t in enumerate(inputs)]
    with pytest.raises(ExecutionError, match=r"range|fewer elements|sum of repeats"):
        run_module(module, "forward", given, resources=ctx.resources)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        (
            "index_put",
            (X, [MASK[:, :, 0], T([1, 2]).repeat(int(MASK[:, :, 0].sum()))[: int(MASK[:, :, 0].sum())]], T(1.0)),
        ),
        ("index_put", (X, [None, ROW], torch.randn(2, 2, 4))),
        ("view.dtype", (MASK, torch.uint8)),
    ],
)
def test_refused(name: str, args: tuple[Any, ...]) -> None:
    module, _ = module_of(f"aten.{name}", args, {}, eager(f"aten.{name}", args, {}), False)
    with pytest.raises(UnsupportedError, match=r"mask|bools"):
        lowered(module)
