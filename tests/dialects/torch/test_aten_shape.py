"""ATen ops that move, cut, join, index and make data, against PyTorch."""

from __future__ import annotations

import importlib

import pytest
import torch

from mlc.dialects.torch import Argument, infer_call, schema
from mlc.dialects.torch.types import VTensorType, f32
from mlc.errors import ExecutionError
from tests.dialects.torch.draw import Case, Draw
from tests.dialects.torch.harness import check

pytestmark = pytest.mark.torch


def _index(d: Draw, shape: tuple[int, ...], size: int) -> torch.Tensor:
    return d.ints(shape, torch.int64, -size, size)


CASES: dict[str, Case] = {
    "view reshape _unsafe_view": lambda d: (d.any((2, 3, 4)), d.pick([6, 4], [-1], [2, -1, 2], [24, 1], [3, -1])),
    "view_as reshape_as": lambda d: (d.any((2, 6)), d.any((3, 4))),
    "view.dtype": lambda d: (d.normal((2, 4)), d.pick(torch.int32, torch.int16, torch.uint8)),
    "flatten.using_ints": lambda d: (d.any((2, 3, 4)), d.pick(0, 1), d.pick(-1, 2)),
    "unflatten.int": lambda d: (d.any((2, 12)), 1, d.pick([3, 4], [-1, 2], [2, -1, 3])),
    "permute": lambda d: (d.any((2, 3, 4)), d.pick([2, 0, 1], [-1, 0, -2], [0, 1, 2])),
    "transpose.int": lambda d: (d.any((2, 3, 4)), d.pick(0, 1), d.pick(-1, 0)),
    "t": lambda d: (d.any(d.pick((2, 3), (4,), ())),),
    "mT": lambda d: (d.any((2, 3, 4)),),
    "movedim.int": lambda d: (d.any((2, 3, 4)), d.pick(0, 1, -1), d.pick(0, 2)),
    "unsqueeze": lambda d: (d.any(), d.pick(0, -1)),
    "squeeze": lambda d: (d.any(d.pick((1, 3, 1), (), (2, 3))),),
    "squeeze.dim": lambda d: (d.any((1, 3, 1)), d.pick(0, 1, -1)),
    "squeeze.dims": lambda d: (d.any((1, 3, 1)), d.pick([0, 2], [1], [-1])),
    "expand": lambda d: (d.any((1, 3, 1)), d.pick([2, 3, 4], [-1, 3, 2], [5, 2, -1, 4])),
    "broadcast_to": lambda d: (d.any((3,)), [2, 3]),
    "expand_as": lambda d: (d.any((3, 1)), d.any((2, 3, 4))),
    "repeat": lambda d: (d.any((2, 3)), d.pick([2, 1], [2, 2, 3], [1, 0])),
    "repeat_interleave.self_int": lambda d: (d.any((2, 3)), 2, d.pick(None, 0, 1)),
    "repeat_interleave.self_Tensor": lambda d: (d.any((2, 3)), torch.tensor([2, 1]), 0),
    "repeat_interleave.Tensor": lambda d: (torch.tensor([2, 0, 3]),),
    "slice.Tensor": lambda d: (
        d.any((5, 4)),
        d.pick(0, 1, -1),
        d.pick(None, 0, 1, -3, 9),
        d.pick(None, 3, -1, 100, 9223372036854775807),
        d.pick(1, 2),
    ),
    "slice_scatter": lambda d: (d.normal((5, 4)), d.normal((2, 4)), 0, 1, 3, 1),
    "select_scatter": lambda d: (d.normal((5, 4)), d.normal((5,)), 1, d.pick(0, -1)),
    "narrow": lambda d: (d.any((5, 4)), 0, d.pick(1, -3), 2),
    "select.int": lambda d: (d.any((3, 4)), d.pick(0, 1), d.pick(0, -1, 2)),
    "cat": lambda d: ([d.any((2, 3)), d.any((1, 3)), d.any((0, 3))], 0),
    "concat": lambda d: ([d.normal((2, 3)), d.normal((0,)), d.ints((2, 1))], -1),
    "stack": lambda d: ([d.any((2, 3)), d.any((2, 3))], d.pick(0, 1, -1)),
    "chunk": lambda d: (d.any((5, 4)), d.pick(2, 3, 7), d.pick(0, 1)),
    "split.Tensor": lambda d: (d.any((5, 4)), d.pick(2, 3, 7), d.pick(0, 1)),
    "split_with_sizes": lambda d: (d.any((5, 4)), [2, 0, 3], 0),
    "tensor_split.sections": lambda d: (d.any((5, 4)), d.pick(2, 3), d.pick(0, 1)),
    "unbind.int": lambda d: (d.any((3, 4)), d.pick(0, -1)),
    "index.Tensor": lambda d: (
        d.any((3, 4, 5)),
        d.pick(
            [_index(d, (2,), 3)],
            [None, _index(d, (2, 2), 4)],
            [_index(d, (2, 1), 3), None, _index(d, (3,), 5)],
            [_index(d, (2,), 3), _index(d, (2,), 4)],
            [None, _index(d, (2,), 4), _index(d, (1,), 5)],
        ),
    ),
    "index_put": lambda d: (d.normal((3, 4)), [torch.tensor([0, -1, 0]), None], d.normal((3, 4)), True),
    "_index_put_impl": lambda d: (d.normal((3, 4)), [torch.tensor([0, 2])], d.normal((4,)), False, False),
    "index_select": lambda d: (d.any((3, 4)), d.pick(0, 1), d.ints((5,), torch.int64, 0, 3)),
    "gather": lambda d: (d.any((3, 4)), d.pick(0, 1), d.ints((2, 3), torch.int64, 0, 3)),
    "scatter.value": lambda d: (d.normal((3, 4)), d.pick(0, 1), d.ints((2, 1), torch.int64, 0, 3), 2.5),
    "scatter.src": lambda d: (d.normal((3, 4)), 0, torch.tensor([[0, 2, 1], [1, 0, 2]]), d.normal((2, 4))),
    "scatter_add": lambda d: (d.normal((3, 4)), d.pick(0, 1), d.ints((2, 3), torch.int64, 0, 3), d.normal((2, 4))),
    "scatter_reduce.two": lambda d: (
        d.normal((3, 4)),
        1,
        d.ints((3, 4), torch.int64, 0, 4),
        d.normal((3, 4)),
        d.pick("sum", "prod", "mean", "amax", "amin"),
        d.pick(True, False),
    ),
    "index_add": lambda d: (d.normal((3, 4)), 0, torch.tensor([0, 2, 0]), d.normal((3, 4))),
    "as_strided_scatter": lambda d: (d.normal((3, 4)), d.normal((2, 2)), [2, 2], [5, 1], d.pick(None, 2)),
    "nonzero_static": lambda d: (d.ints((3, 4), torch.int64, 0, 2), d.pick(3, 15), d.pick(-1, 7)),
    "index_reduce": lambda d: (
        d.normal((3, 4)),
        d.pick(0, -2),
        torch.tensor([0, 2, 0]),
        d.normal((3, 4)),
        d.pick("prod", "mean", "amax", "amin"),
        d.pick(True, False),
    ),
    "put": lambda d: (d.normal((3, 4)), torch.tensor([[0, -1], [5, 5]]), d.normal((2, 2)), True),
    "index_copy": lambda d: (d.normal((3, 4)), 0, torch.tensor([2, 0]), d.normal((2, 4))),
    "index_fill.int_Scalar": lambda d: (d.normal((3, 4)), 1, torch.tensor([0, 3]), 2.0),
    "masked_scatter": lambda d: (d.normal((3, 4)), d.bools((3, 4)), d.normal((12,))),
    "masked_select": lambda d: (d.any((3, 4)), d.bools((3, 4))),
    "take": lambda d: (d.any((3, 4)), d.ints((2, 2), torch.int64, 0, 12)),
    "take_along_dim": lambda d: (d.any((3, 4)), d.ints((3, 2), torch.int64, 0, 4), 1),
    "nonzero argwhere": lambda d: (d.ints((3, 4), torch.int64, 0, 2),),
    "embedding": lambda d: (d.normal((7, 3)), d.ints((2, 4), torch.int64, 0, 7)),
    "constant_pad_nd": lambda d: (d.any((3, 4)), d.pick([1, 2], [1, 2, 0, 3], [-1, 2], [0, -2, 1, 0]), d.pick(0, 1)),
    "reflection_pad1d": lambda d: (d.normal((2, 5)), [2, 1]),
    "reflection_pad3d replication_pad3d": lambda d: (d.normal((1, 2, 3, 4, 5)), [1, 2, 1, 0, 2, 1]),
    "replication_pad1d": lambda d: (d.normal((2, 5)), [2, 1]),
    "fliplr flipud": lambda d: (d.any((3, 4)),),
    "index_fill.int_Tensor": lambda d: (d.normal((3, 4)), 1, torch.tensor([0, 3]), torch.tensor(2.0)),
    "index.Tensor_hacked_twin": lambda d: (d.normal((3, 4)), [_index(d, (2,), 3), _index(d, (2,), 4)]),
    "index_put.hacked_twin": lambda d: (d.normal((3, 4)), [torch.tensor([0, 2])], d.normal((4,)), d.pick(True, False)),
    "reflection_pad2d": lambda d: (d.normal((1, 2, 5, 4)), [2, 1, 1, 3]),
    "replication_pad2d": lambda d: (d.normal((1, 2, 5, 4)), [2, 1, 0, 3]),
    "pad": lambda d: (
        d.normal((1, 2, 5, 4)),
        [2, 1, 1, 0],
        d.pick("constant", "reflect", "replicate", "circular"),
        None,
    ),
    "diagonal": lambda d: (d.any((3, 4)), d.pick(-1, 0, 2)),
    "diag_embed": lambda d: (d.any((2, 3)), d.pick(-1, 0, 2)),
    "diagonal_scatter": lambda d: (d.normal((3, 3)), d.normal((3,))),
    "unfold": lambda d: (d.any((3, 7)), 1, d.pick(2, 3), d.pick(1, 2)),
    "as_strided": lambda d: (d.any((4, 5)), [2, 3], [5, 2], d.pick(None, 1)),
    "flip": lambda d: (d.any((3, 4)), d.pick([0], [0, 1], [-1], [])),
    "roll": lambda d: (d.any((3, 4)), d.pick([1], [-2]), d.pick([0], [1], [])),
    "rot90": lambda d: (d.any((3, 4)), d.pick(1, 2, 3), [0, 1]),
    "pixel_shuffle": lambda d: (d.normal((2, 8, 3, 4)), 2),
    "pixel_unshuffle": lambda d: (d.normal((2, 2, 6, 4)), 2),
    "channel_shuffle": lambda d: (d.normal((2, 6, 3, 4)), 3),
    "glu": lambda d: (d.normal((3, 4)), -1),
    "meshgrid": lambda d: ([d.normal((3,)), d.normal((2,))],),
    "meshgrid.indexing": lambda d: ([d.normal((3,)), d.normal((2,))], d.pick("ij", "xy")),
    "broadcast_tensors": lambda d: ([d.normal((3, 1)), d.normal((2,))],),
    "im2col": lambda d: (d.normal((2, 3, 6, 5)), [2, 3], [1, d.pick(1, 2)], [1, 0], [2, 1]),
    "zeros ones": lambda d: ([2, 3], d.pick(None, torch.int64, torch.bool)),
    "full": lambda d: ([2, 3], d.pick(1, 2.5, True), d.pick(None, torch.float64)),
    "scalar_tensor": lambda d: (d.pick(1, 2.5), d.pick(None, torch.int64, torch.float32)),
    "zeros_like ones_like": lambda d: (d.any(), d.pick(None, torch.float64)),
    "full_like": lambda d: (d.any(), 1, d.pick(None, torch.float32)),
    "new_zeros new_ones": lambda d: (d.any(), [2, 2]),
    "new_full": lambda d: (d.any(), [2, 2], 1),
    "arange": lambda d: (d.pick(5, 0, 4.5), d.pick(None, torch.float32, torch.int32)),
    "arange.start": lambda d: (2, d.pick(7, 2, 6.5)),
    "arange.start_step": lambda d: (d.pick(0, 10), d.pick(20, 15), d.pick(1, 3, 2.5)),
    "linspace": lambda d: (d.pick(0, -1.5), d.pick(1, 7), d.pick(1, 2, 7)),
    "eye": lambda d: (3,),
    "eye.m": lambda d: (3, 2),
    "tril_indices triu_indices": lambda d: (3, 4, d.pick(-1, 0, 1)),
    "size.int sym_size.int": lambda d: (d.any((3, 4)), d.pick(0, -1)),
    "numel": lambda d: (d.any(),),
    "dim": lambda d: (d.any(),),
    "item _local_scalar_dense": lambda d: (d.normal(()),),
    "is_nonzero": lambda d: (torch.tensor(d.pick(0.0, 2.0)),),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "case"), [(n, c) for names, c in CASES.items() for n in names.split()])
def test_shape_op(name: str, case: Case, seed: int) -> None:
    check(f"aten.{name}", case(Draw(seed)), scale=1 if name in ("glu", "linspace") else 0, dynamic_seed=seed)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("squeeze", lambda d: (d.any((1, 3, 1)), d.pick([0, 2], [2]))),
        ("collapse", lambda d: (d.any((2, 3, 4)), d.pick(0, 1), 2)),
        ("split_dim", lambda d: (d.any((2, 12)), 1, d.pick(3, 4))),
        ("view_of", lambda d: (d.any(),)),
        ("sqrt", lambda d: (d.normal((2, 3)).abs(),)),
    ],
)
def test_prims(name: str, case: Case) -> None:
    importlib.import_module("torch._prims")
    for seed in range(3):
        check(f"prims.{name}", case(Draw(seed)))


def test_iota() -> None:
    check("prims.iota", (5, 2, 3, torch.int64, torch.device("cpu"), False))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("aten.index.Tensor", (torch.zeros(3), [torch.tensor([3])])),
        ("aten.embedding", (torch.zeros(3, 2), torch.tensor([-1]))),
        ("aten.gather", (torch.zeros(3), 0, torch.tensor([5]))),
        ("aten.index_select", (torch.zeros(3), 0, torch.tensor([7]))),
    ],
)
def test_index_out_of_range(name: str, arguments: tuple[object, ...]) -> None:
    """PyTorch raises; so does the reference, as an error of the program."""
    import numpy as np

    from mlc.ir.semantics import load_dialect_semantics, semantics_of
    from tests.dialects.torch.harness import Runner, build, full_arguments, to_numpy

    load_dialect_semantics("torch")
    full = full_arguments(name, arguments)
    op = build(name, full)
    with pytest.raises(ExecutionError, match="out of"):
        semantics_of(op)(op, tuple(to_numpy(a) for a in full), Runner())
    assert np.geterr()["invalid"] != "raise"


def test_sizes_left_over() -> None:
    """-1 of a view is found although a size is dynamic, when that size cancels."""
    x = VTensorType.get((None, 64, 7, 7), f32)
    assert infer_call("aten.view", (x, [-1, 3136])) == (VTensorType.get((None, 3136), f32),)
    assert infer_call("aten.reshape", (x, [-1, 64, 49])) == (VTensorType.get((None, 64, 49), f32),)
    assert infer_call("aten.flatten.using_ints", (x, 1, -1)) == (VTensorType.get((None, 3136), f32),)


def test_unknown_rank_gives_the_least_known_type() -> None:
    any_tensor = VTensorType.get()
    assert infer_call("aten.relu", (any_tensor,)) == (any_tensor,)
    assert infer_call("aten.mm", (any_tensor, any_tensor)) == (any_tensor,)
    assert infer_call("aten.max.dim", (any_tensor, 0, False)) == (any_tensor, any_tensor)
    assert isinstance(schema("aten.relu").arguments[0], Argument)
