"""Ops that are recorded as what they are made of, by PyTorch's own definitions.

torch.einsum("bij,bjk->bik", x, y)   -->   permute, view, bmm
F.l1_loss(x, y)                      -->   sub, abs, mean

Those without a lowering of their own are listed in composite_ops.txt, which scripts/generate_composite_ops.py writes;
`BY_CHOICE` have one, but nothing gains by seeing them whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import torch

from mlc.frontends.torch.emit import op_name

BY_CHOICE = frozenset({"aten.glu", "aten.grid_sampler", "aten.mse_loss"})


@cache
def composite_ops() -> frozenset[str]:
    """Names of all ops that are taken apart."""
    return BY_CHOICE | set((files("mlc.frontends.torch") / "composite_ops.txt").read_text().split())


@cache
def decomposition(func: torch._ops.OpOverload) -> Callable[..., Any] | None:
    """PyTorch's definition of an op that is not recorded whole; None for the others."""
    if op_name(func) not in composite_ops():
        return None
    if op_name(func) == "aten.one_hot":
        return _one_hot
    if op_name(func) == "aten.binary_cross_entropy":
        return _binary_cross_entropy
    if op_name(func) == "aten.isin.Tensor_Tensor":
        return _isin
    if func._can_decompose():
        return func.decompose
    return _from_table(func)


def _from_table(func: torch._ops.OpOverload) -> Callable[..., Any]:
    from torch._decomp import decomposition_table  # noqa: PLC0415 - half a second, and rarely needed

    return decomposition_table[func]


def may_differ(func: torch._ops.OpOverload) -> bool:
    """Whether the definition of an op accepts, or returns, other dtypes than the kernel that eager runs."""
    return not func._can_decompose() or op_name(func) == "aten.one_hot"


def _one_hot(index: torch.Tensor, num_classes: int = -1) -> torch.Tensor:
    """As eager has it, which checks the classes at every call; PyTorch's own definition for tracing does not."""
    if num_classes == -1:
        num_classes = int(index.max()) + 1
    return index.new_zeros((*index.shape, num_classes)).scatter(-1, index.unsqueeze(-1), 1)


def _binary_cross_entropy(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """As eager has it, which checks the probabilities; PyTorch's own definition does not."""
    inside = ((x >= 0) & (x <= 1)).all()
    torch.ops.aten._assert_async.msg(inside, "all elements of input should be between 0 and 1")
    return _from_table(torch.ops.aten.binary_cross_entropy.default)(x, *args, **kwargs)


def _isin(x: torch.Tensor, tests: torch.Tensor, *, assume_unique: bool = False, invert: bool = False) -> torch.Tensor:
    """PyTorch's own definition looks for numbers among sorted ones, where NaN is in the way: it is less than none."""
    kind = torch.result_type(x, tests)
    if assume_unique or not kind.is_floating_point or not tests.numel():
        whole = _from_table(torch.ops.aten.isin.Tensor_Tensor)
        return whole(x, tests, assume_unique=assume_unique, invert=invert)
    ordered = tests.flatten().to(kind).sort().values  # NaN last
    wanted = x.flatten().to(kind)
    place = torch.searchsorted(ordered.nan_to_num(float("inf"), float("inf"), float("-inf")), wanted)
    found = ordered[place.clamp(max=ordered.numel() - 1)] == wanted
    return (~found if invert else found).reshape(x.shape)
