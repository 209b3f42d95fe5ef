"""Views, joins, ranges, padding and gathers, with static and with unknown sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mlc.errors import ExecutionError, UnsupportedError
from mlc.interp import run_module
from tests.lowering.torch.single_op import check, lowered, module_of

torch.manual_seed(0)
X = torch.randn(2, 3, 4)
Y = torch.randn(2, 3, 4, 6)
ONE = torch.randn(1, 3, 1, 4)
EMPTY = torch.randn(2, 0, 3)
F64 = torch.float64

# Sizes that stay (or double) under factors that are not 1 (or 2).
KEPT_LINEAR: list[tuple[str, tuple[Any, ...]]] = [
    ("upsample_linear1d.vec", (X, None, False, [1.2])),
    ("upsample_bilinear2d.vec", (Y, None, False, [1.2, 1.7])),
    ("upsample_trilinear3d.vec", (Y[None], None, False, [1.2, 1.2, 1.1])),
]
KEPT_NEAREST: list[tuple[str, tuple[Any, ...]]] = [
    ("upsample_nearest1d.vec", (X, None, [1.2])),
    ("upsample_nearest2d.vec", (Y, None, [1.2, 2.1])),
    ("upsample_nearest2d.vec", (Y, None, [2.2, 1.1])),
    ("upsample_nearest3d.vec", (Y[None], None, [1.2, 2.1, 1.1])),
    ("_upsample_nearest_exact2d.vec", (Y, None, [1.2, 2.1])),
]

CASES: list[tuple[Any, ...]] = [
    *KEPT_NEAREST,
    ("view", (X, [6, 4])),
    ("view", (X, [-1])),
    ("view", (X, [2, 2, 6])),
    ("view", (X, [24, 1])),
    ("view", (X, [1, 2, 3, 1, 4])),
    ("view", (X, [3, 8])),
    ("view", (EMPTY, [0, 5])),
    ("view", (EMPTY, [0])),
    ("view", (torch.tensor(3.0), [1, 1])),
    ("view", (torch.randn(1, 1), [])),
    ("view", (ONE, [3, 4])),
    ("flatten.using_ints", (Y, 1, 2)),
    ("flatten.using_ints", (torch.tensor(1.0),)),
    ("unflatten.int", (Y, 3, [2, -1])),
    ("squeeze", (ONE,)),
    ("squeeze.dim", (ONE, 0)),
    ("squeeze.dim", (ONE, 1)),
    ("squeeze.dims", (ONE, [0, 2])),
    ("unsqueeze", (X, 0)),
    ("unsqueeze", (X, -1)),
    ("unsqueeze", (torch.tensor(1.0), 0)),
    ("permute", (Y, [2, 0, 3, 1])),
    ("permute", (Y, [0, 1, -1, 2])),
    ("transpose.int", (X, 0, -1)),
    ("t", (X[0],)),
    ("t", (X[0, 0],)),
    ("movedim.intlist", (Y, [0, 1], [-1, 0])),
    ("mT", (X,)),
    ("expand", (ONE, [5, 3, 2, 4])),
    ("expand", (ONE, [-1, 3, 2, -1])),
    ("expand", (torch.tensor(2.0), [2, 3])),
    ("repeat", (X, [2, 1, 3])),
    ("repeat", (X[0, 0], [2, 3])),
    ("repeat_interleave.self_int", (X, 2, 1)),
    ("slice.Tensor", (X, 2, 1, 3)),
    ("slice.Tensor", (X, 1, -2, 100)),
    ("slice.Tensor", (X, 2, 0, 4, 3)),
    ("slice.Tensor", (X, 0, 1, 1)),
    ("slice.Tensor", (X, 2, 3, 1)),
    ("slice.Tensor", (X, -1, None, -1)),
    ("slice.Tensor", (X, 2, -100, 2)),
    ("slice.Tensor", (X, 2, 1, 9223372036854775807, 2)),
    ("select.int", (X, 1, -1)),
    ("select.int", (X, 0, 1)),
    ("narrow", (X, 2, 1, 2)),
    ("split.Tensor", (X, 2, 2)),
    ("split.Tensor", (X, 3, 2)),
    ("split_with_sizes", (X, [1, 3], 2)),
    ("chunk", (X, 2, 1)),
    ("unbind.int", (X, 1)),
    ("tensor_split.sections", (X, 3, 2)),
    ("cat", ([X, X + 1], 1)),
    ("cat", ([X, torch.randn(0), X], -1)),
    ("cat", ([X, X.double()], 0)),
    ("cat", ([X, X[:, :, :1]], 2)),
    ("cat", ([X],)),
    ("stack", ([X, X + 1], 0)),
    ("stack", ([X, X + 1], -1)),
    ("flip", (X, [0, 2])),
    ("roll", (X, [1, -2], [0, 2])),
    ("roll", (X, [5])),
    ("unfold", (X, 2, 2, 1)),
    ("unfold", (X, 1, 2, 2)),
    ("as_strided", (X, [2, 2], [1, 3], 4)),
    ("as_strided", (X, [3, 2], [0, 1])),
    ("diagonal", (X, 0, 1, 2)),
    ("diagonal", (X, 1, 1, 2)),
    ("diagonal", (X, -1, 0, 1)),
    ("tril", (X,)),
    ("tril", (X, -1)),
    ("triu", (X, 1)),
    ("tril", (torch.ones(3, 3, dtype=torch.bool),)),
    ("pixel_shuffle", (torch.randn(2, 8, 3, 2), 2)),
    ("pixel_unshuffle", (torch.randn(2, 2, 4, 6), 2)),
    ("channel_shuffle", (torch.randn(2, 6, 2, 2), 3)),
    ("constant_pad_nd", (X, [1, 2], 3.0)),
    ("constant_pad_nd", (X, [0, 0, 1, 0], 0)),
    ("constant_pad_nd", (X, [-1, 2, 1, -1], 1.5)),
    ("reflection_pad1d", (X, [2, 1])),
    ("reflection_pad2d", (Y, [1, 2, 3, 1])),
    ("replication_pad2d", (Y, [1, 2, 3, 1])),
    ("pad", (X, [2, 1], "circular")),
    ("pad", (X, [2, -1], "circular")),
    ("pad", (Y, [-1, 2, 1, -1], "circular")),
    ("pad", (Y[:, :, :2, :2].contiguous(), [2, 2, -1, 2], "circular")),  # round twice what cropping has left
    ("pad", (X, [1, 1], "constant", 2.0)),
    ("pad", (Y, [1, 1, 2, 0], "reflect")),
    ("gather", (X, 1, torch.tensor([[[0, 2, 1, 1]], [[1, 0, 0, 2]]]))),
    ("index_select", (X, 1, torch.tensor([2, 0, 2]))),
    ("embedding", (X[0], torch.tensor([[0, 2], [1, 1]]))),
    ("embedding", (X[0], torch.tensor(2))),
    ("take_along_dim", (X, torch.tensor([[[1], [0], [2]]]), 2)),
    ("index.Tensor", (X, [None, torch.tensor([0, -1])])),
    ("index.Tensor", (X, [torch.tensor([0, 1]), None, torch.tensor([[3], [-4]])])),
    ("index.Tensor", (Y, [None, torch.tensor([[0], [2]]), torch.tensor([1, -1])])),
    ("index.Tensor", (X, [torch.tensor([], dtype=torch.int64)])),
    ("index_put", (X, [X > 0], torch.tensor(5.0))),
    ("index_put", (X, [None, torch.tensor([True, False, True])], torch.tensor([2.0]))),
    ("index_put", (X, [X[..., 0] > -9], torch.randn(4))),
    ("index_put", (X, [torch.tensor([[True, False, True], [False, True, False]])], torch.randn(3, 4))),
    ("index_put", (X, [torch.zeros(2, dtype=torch.bool)], torch.randn(0, 3, 4))),
    ("masked_scatter", (X, X > 0, torch.randn(24))),
    ("masked_scatter", (X, torch.tensor([[True], [False], [True]]), torch.randn(3, 6))),
    ("put", (X, torch.tensor([[0, -1], [5, 7]]), torch.randn(2, 2))),
    ("put", (X, torch.tensor([0, -24]), torch.randn(2), True)),
    *(
        ("index_reduce", (X, 1, torch.tensor([2, 0, 2]), X + 1, how, own))
        for how in ("prod", "amax", "amin", "mean")
        for own in (True, False)
    ),
    ("searchsorted.Tensor", (X, X, False, True, None, X.argsort(-1))),
    ("searchsorted.Scalar", (torch.tensor([1, 2, 2, 3]), 2)),
    ("searchsorted.Scalar", (torch.tensor([1, 2, 2, 3]), 2.5, True, True)),
    ("bucketize.Scalar", (0.5, torch.tensor([0.0, 0.5, 1.0]))),
    ("slice_scatter", (X, torch.zeros(2, 3, 2), 2, 1, 3)),
    ("slice_scatter", (X, torch.zeros(2, 3, 2), 2, 0, 4, 2)),
    ("select_scatter", (X, torch.zeros(2, 4), 1, -1)),
    ("diagonal_scatter", (X[0], torch.zeros(3), 1)),
    ("scatter.src", (X, 1, torch.tensor([[[0, 2, 1, 1]], [[1, 0, 0, 2]]]), X + 5)),
    ("scatter.value", (X, 2, torch.tensor([[[3]], [[0]]]), 9.0)),
    ("scatter_add", (X, 1, torch.tensor([[[0, 2, 1, 1], [0, 0, 0, 0]]]), torch.arange(24.0).view(2, 3, 4))),
    *[
        (
            "scatter_reduce.two",
            (X, 1, torch.tensor([[[0, 2, 1, 1], [0, 2, 0, 0]]]), torch.arange(24.0).view(2, 3, 4), how, self),
        )
        for how in ("sum", "prod", "mean", "amax", "amin")
        for self in (True, False)
    ],
    ("index_put", (X, [torch.tensor([0, 1]), torch.tensor([2, -1])], torch.zeros(2, 4))),
    ("index_put", (X, [None, torch.tensor([0, 0])], torch.ones(4), True)),
    ("index_put", (X, [X > 0], torch.tensor(7.0))),
    ("index_add", (X, 1, torch.tensor([0, 0]), torch.ones(2, 2, 4))),
    ("index_copy", (X, 1, torch.tensor([2]), torch.ones(2, 1, 4))),
    ("index_fill.int_Scalar", (X, 2, torch.tensor([0, -1]), 3.0)),
    ("upsample_nearest2d", (Y, [7, 3])),
    ("upsample_nearest2d.vec", (Y, None, [2.0, 1.5])),
    ("_upsample_nearest_exact2d", (Y, [7, 3])),
    ("upsample_nearest1d", (X, [9])),
    ("full", ([2, 3], 1.5)),
    ("zeros", ([2],)),
    ("ones_like", (X,)),
    ("full_like", (X, 3)),
    ("new_full", (X, [2], 3)),
    ("new_zeros", (X, [2, 2])),
    ("scalar_tensor", (2.5,)),
    ("arange", (5,)),
    ("arange", (5.5,)),
    ("arange.start", (2, 7)),
    ("arange.start_step", (10, 0, -3)),
    ("arange.start_step", (0.0, 1.0, 0.1)),
    ("arange.start", (3, 3)),
    ("linspace", (0.0, 1.0, 7)),
    ("eye", (3,)),
    ("eye", (3,), {"dtype": torch.float64}),
    ("eye.m", (3, 2)),
    ("eye.m", (2, 4), {"dtype": torch.int64}),
    ("fill.Scalar", (X, 2)),
    ("zeros_like", (X,)),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_exact(case: tuple[Any, ...]) -> None:
    name, args, *options = case
    check(f"aten.{name}", *args, **(options[0] if options else {}))


STATIC_ONLY = [
    "split",
    "chunk",
    "unbind",
    "tensor_split",
    "roll",
    "upsample",
    "_upsample",
    "pixel",
    "scatter_reduce",
    "scatter",
    "index_put",
    "index_add",
    "index_copy",
    "diagonal_scatter",
    "squeeze",
]
DYNAMIC = [
    (n, a)
    for n, a, *_ in CASES
    if any(isinstance(x, torch.Tensor) for x in a) and not any(n.startswith(s) for s in STATIC_ONLY)
]


@pytest.mark.parametrize(("name", "args"), DYNAMIC, ids=[f"{i}-{n}" for i, (n, _) in enumerate(DYNAMIC)])
def test_dynamic(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, dynamic=True)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("upsample_bilinear2d", (Y, [9, 5], False)),
        ("upsample_bilinear2d", (Y, [9, 5], True)),
        ("upsample_bilinear2d.vec", (Y, None, False, [0.5, 1.7])),
        ("upsample_linear1d", (X, [3], False)),
        ("upsample_trilinear3d", (Y[None], [2, 5, 3], False)),
        *KEPT_LINEAR,
    ],
)
def test_resampling(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, ulp=4, reassociates=True)


RESIZED: list[tuple[str, tuple[Any, ...]]] = [
    *KEPT_NEAREST,
    ("upsample_nearest2d.vec", (Y, None, [2.0, 1.5])),
    ("upsample_nearest2d", (Y, [7, 3])),
    ("_upsample_nearest_exact2d.vec", (Y, None, [0.7, 3.0])),
    ("_upsample_nearest_exact1d", (X, [9])),
    ("roll", (X, [1, -2], [0, 2])),
    ("roll", (X, [-5], [1])),
    ("roll", (X, [4])),
]


@pytest.mark.parametrize(("name", "args"), RESIZED, ids=[f"{i}-{n}" for i, (n, _) in enumerate(RESIZED)])
def test_dynamic_sizes(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, dynamic=True)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("upsample_bilinear2d", (Y, [9, 5], False)),
        ("upsample_bilinear2d", (Y, [9, 5], True)),
        ("upsample_bilinear2d", (Y, [1, 1], True)),
        ("upsample_bilinear2d.vec", (Y, None, False, [0.5, 1.7])),
        ("upsample_linear1d", (X.double(), [3], False)),
        ("upsample_trilinear3d", (Y[None], [2, 5, 3], True)),
        *KEPT_LINEAR,
    ],
)
def test_dynamic_resampling(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, dynamic=True, ulp=4, reassociates=True)


def test_going_round_nothing_is_refused() -> None:
    nothing = torch.empty(1, 2, 4)  # eager returns whatever its memory holds
    for pads in ([2, -4], [-4, 2]):
        module, _ = module_of("aten.pad", (X[:1, :2], pads, "circular"), {}, nothing[..., :2], False)
        with pytest.raises(UnsupportedError, match="nothing left that could go round"):
            lowered(module)


def test_linear_resizing_of_bytes_is_refused() -> None:
    args = (torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4), [3, 3], False)
    with pytest.raises(UnsupportedError, match="fixed point"):
        check("aten.upsample_bilinear2d", *args)


@pytest.mark.parametrize(
    ("name", "args", "bad"),
    [
        ("embedding", (X[0], torch.tensor([0, 2])), torch.tensor([0, 3])),
        ("embedding", (X[0], torch.tensor([0, 2])), torch.tensor([0, -1])),
        ("index.Tensor", (X[0], [torch.tensor([0, -3])]), torch.tensor([0, -4])),
        ("index_select", (X[0], 0, torch.tensor([0, 2])), torch.tensor([5, 0])),
        ("gather", (X[0, 0], 0, torch.tensor([0, 2])), torch.tensor([4, 0])),
    ],
)
def test_index_out_of_range(name: str, args: tuple[Any, ...], bad: torch.Tensor) -> None:
    from tests.lowering.torch.single_op import eager

    module, inputs = module_of(f"aten.{name}", args, {}, eager(f"aten.{name}", args, {}), False)
    ctx = lowered(module)
    with pytest.raises(ExecutionError, match="index out of range"):
        run_module(module, "forward", [inputs[0].numpy(), bad.numpy()], resources=ctx.resources)


def test_division_by_zero() -> None:
    from tests.lowering.torch.single_op import eager

    args = (torch.tensor([4, 5]), torch.tensor([2, 1]))
    module, inputs = module_of("aten.floor_divide", args, {}, eager("aten.floor_divide", args, {}), False)
    ctx = lowered(module)
    with pytest.raises(ExecutionError, match="division by zero"):
        run_module(module, "forward", [inputs[0].numpy(), np.array([1, 0])], resources=ctx.resources)


def test_unsupported_ops_are_named_together() -> None:
    from xdsl.dialects.func import ReturnOp

    from mlc.dialects.torch.build import create
    from mlc.ir.locations import source_location
    from tests.lowering.torch.single_op import eager, tensor_type

    module, _ = module_of("aten.relu", (X,), {}, eager("aten.relu", (X,), {}), False)
    block = next(op for op in module.walk() if op.name == "torch.aten.relu").parent
    assert block is not None and isinstance(block.last_op, ReturnOp)
    for name, line in (("aten.special_airy_ai", 3), ("aten.special_bessel_y0", 5)):
        op = create(name, [block.args[0]], [tensor_type(X)], location=source_location("model.py", line))
        block.insert_op_before(op, block.last_op)
        block.last_op.operands[0] = op.results[0]
        block.args[0].replace_uses_with_if(op.results[0], lambda use, op=op: use.operation is block.last_op)
    # dead ops are not complained about: use the first as the operand of the second
    ops = [op for op in block.ops if op.name in ("torch.aten.special_airy_ai", "torch.aten.special_bessel_y0")]
    ops[1].operands[0] = ops[0].results[0]
    with pytest.raises(UnsupportedError) as caught:
        lowered(module)
    assert "2 ops have no lowering" in str(caught.value)
    assert "aten.special_airy_ai at model.py:3" in str(caught.value) and "aten.special_bessel_y0 at model.py:5" in str(
        caught.value
    )
