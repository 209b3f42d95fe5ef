"""`torch.cond` in a model: both branches are computed and the results chosen between.

torch.cond(p, f, g, (x,))   -->   torch.where(p, f(x), g(x))

That is the same for branches that only compute: one that changes a tensor from outside in place is refused. What would
go wrong in the branch that eager does not take is kept from it by `branches.py` (not in programs of torch.export).
PyTorch itself would hand the branches to its compiler, which cannot see the recorder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch._higher_order_ops import utils
from torch.utils import _pytree as pytree

from mlc.frontends.torch.branches import OnlyIf
from mlc.frontends.torch.functional import is_wrapped, unwrap
from mlc.frontends.torch.owned import owned
from mlc.frontends.torch.problems import CONTROL_FLOW

Refuse = Callable[[str, str], Any]


@contextlib.contextmanager
def both_branches(refuse: Refuse) -> Iterator[None]:
    """Run models that use it; `refuse` raises an error, given what is wrong and a way out."""
    compiled = utils._hop_compile_and_call

    def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        if function.__qualname__.startswith("cond."):
            return choice(*args, refuse=refuse)
        if function.__qualname__.startswith("while_loop."):
            refuse("uses the control-flow op 'while_loop'", CONTROL_FLOW)
        return compiled(function, args, kwargs)

    utils._hop_compile_and_call = call
    try:
        yield
    finally:
        utils._hop_compile_and_call = compiled


def choice(
    condition: torch.Tensor,
    then: Callable[..., Any],
    otherwise: Callable[..., Any],
    operands: Sequence[Any],
    *,
    refuse: Refuse,
) -> Any:
    """What `torch.cond` returns, computed without control flow."""
    chosen = condition.reshape(())
    taken = [OnlyIf(unwrap(c)) if is_wrapped(c) else nullcontext() for c in (chosen, ~chosen)]
    ended: list[Any] = []
    for branch, only_if in zip((then, otherwise), taken, strict=True):
        with only_if:
            ended.append(_branch(branch, operands, refuse))
    (ours, spec), (theirs, other) = map(pytree.tree_flatten, ended)
    shown = [[_describe(v) for v in leaves] for leaves in (ours, theirs)]
    if spec != other or shown[0] != shown[1]:
        refuse(
            f"has branches of torch.cond that return different things: {shown[0]} and {shown[1]}",
            "return tensors of the same shapes and dtypes from both",
        )
    leaves = [
        torch.where(chosen, a, b) if isinstance(a, torch.Tensor) else a for a, b in zip(ours, theirs, strict=True)
    ]
    return pytree.tree_unflatten(leaves, spec)


def _branch(branch: Callable[..., Any], operands: Sequence[Any], refuse: Refuse) -> Any:
    """The results of a branch, which must change nothing."""
    given = pytree.tree_map_only(torch.Tensor, torch.clone, tuple(operands))
    mine = owned(branch)
    tensors = [t for t in pytree.tree_leaves(given) if isinstance(t, torch.Tensor)]
    tensors += mine.tensors.values()
    tensors += [t for _, m in mine.modules for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
    before = [_state(t) for t in tensors]
    result = branch(*given)
    if any(_state(t) is not state for t, state in zip(tensors, before, strict=True)):
        refuse(
            "changes a tensor in place in a branch of torch.cond",
            "compute a new tensor there, return it, and write it after the torch.cond",
        )
    return result


def _state(tensor: torch.Tensor) -> Any:
    """Something that is another object once the tensor was changed in place."""
    return unwrap(tensor) if is_wrapped(tensor) else tensor._version


def _describe(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
