"""What a recording knows of each tensor: where its value comes from, and what it is a view of.

x = a @ b; y = x.t()   -->   Entry(INPUT, %0) for x; Entry(INPUT, %1, view=t of x) for y
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch.utils.weak import TensorWeakRef

from mlc.frontends.torch.graph import Location, Value


class Origin(IntEnum):
    """What a tensor's value depends on, weakest first."""

    MADE = 0  # Python numbers alone: the same at every call
    STATE = 1  # weights too: the same until somebody changes them
    INPUT = 2  # the inputs


@dataclass(eq=False, slots=True)
class Entry:
    """A tensor known to the recorder. `kept` holds it alive where its memory is needed to make a literal; `look` is
    dtype, sizes and strides of one that was made here."""

    origin: Origin
    value: Value | None = None
    ref: TensorWeakRef | None = None
    kept: torch.Tensor | None = None
    name: str = ""
    view: View | None = None
    location: Location | None = None
    look: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class View:
    """How an entry's tensor is a view of another: the call that made it, its tensor argument at `position`."""

    base: Entry
    func: torch._ops.OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    position: int
    result: int | None

    def replay(self, base: torch.Tensor) -> torch.Tensor:
        """The same view of another tensor."""
        args = (*self.args[: self.position], base, *self.args[self.position + 1 :])
        out = self.func(*args, **self.kwargs)
        return out if self.result is None else out[self.result]
