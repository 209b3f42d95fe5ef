"""What may go wrong in a branch of `torch.cond` that is computed but not taken: it gets operands that cannot.

x[i], a // b   -->   x[torch.where(taken, i, 0)], a // torch.where(taken, b, 1)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_INDEXED = {
    **dict.fromkeys(("embedding", "index", "index_put", "nll_loss", "nll_loss_nd", "nll_loss2d"), 1),
    **dict.fromkeys(("cross_entropy_loss", "embedding_bag", "put", "take", "take_along_dim", "unsafe_index"), 1),
    **dict.fromkeys(("gather", "index_add", "index_copy", "index_fill", "index_reduce", "index_select"), 2),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), 2),
    "one_hot": 0,
}
"""Where ops have the positions that they look up."""
_DIVIDED = {"div", "divide", "floor_divide", "remainder", "fmod"}


class OnlyIf(TorchDispatchMode):
    """See the module. Inside, ops count as taken where `condition` (a tensor of one truth value) says so."""

    def __init__(self, condition: torch.Tensor) -> None:
        super().__init__()
        self._condition = condition

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: PyTorch would import its compiler to hide this mode from it."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::") if isinstance(func, torch._ops.OpOverload) else ""
        position, safe = (1, 1) if name in _DIVIDED else (_INDEXED.get(name, len(args)), 0)
        if position < len(args):
            operand = pytree.tree_map_only(torch.Tensor, lambda t: self._made_safe(t, safe), args[position])
            args = (*args[:position], operand, *args[position + 1 :])
        return func(*args, **(kwargs or {}))

    def _made_safe(self, operand: torch.Tensor, safe: int) -> torch.Tensor:
        """The integers of an operand; `safe` in their place where the branch is not taken."""
        if operand.is_floating_point() or operand.is_complex() or operand.dtype is torch.bool:
            return operand
        return torch.where(self._condition, operand, torch.full((), safe, dtype=operand.dtype))
