"""PyTorch's functionalization, the small part of it that capture uses.

A wrapped tensor remembers in-place changes instead of making them; `unwrap` gives the tensor it ended as.
`torch.func.functionalize` is the same machinery, but writes changes back into the inputs, which a capture must not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

_T: Any = torch  # these names are public in torch's namespace but not declared for type checkers


def wrap(tensor: torch.Tensor) -> torch.Tensor:
    """A functional wrapper of `tensor`."""
    return _T._to_functional_tensor(tensor)


def is_wrapped(value: object) -> bool:
    """Whether `value` is a functional wrapper."""
    return isinstance(value, torch.Tensor) and _T._is_functional_tensor(value)


def unwrap(value: Any) -> Any:
    """The tensor behind a wrapper, pending changes applied; anything else as it is."""
    if not is_wrapped(value):
        return value
    _T._sync(value)
    return _T._from_functional_tensor(value)


@contextlib.contextmanager
def functionalization() -> Iterator[None]:
    """In-place ops and views inside become functional ones before they reach a dispatch mode."""
    _T._enable_functionalization(reapply_views=True)
    try:
        yield
    finally:
        _T._disable_functionalization()


@contextlib.contextmanager
def below_autograd() -> Iterator[None]:
    """No autograd, so that composite ops reach a dispatch mode whole (inference mode does it too, but its tensors
    cannot be viewed and changed in place under functionalization)."""
    with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
        yield
