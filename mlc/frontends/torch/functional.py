"""PyTorch's functionalization, the small part of it that capture uses.

A wrapped tensor remembers in-place changes instead of making them; `unwrap` gives the tensor it ended as.
`torch.func.functionalize` is the same machinery, but writes changes back into the inputs, which a capture must not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

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
    if type(value) is torch.Tensor:
        _T._functionalize_sync(value)  # what `_sync` calls, after it has asked for a subclass of its own
    else:
        _T._sync(value)
    return _T._from_functional_tensor(value)


@contextlib.contextmanager
def functionalization() -> Iterator[None]:
    """In-place ops and views inside become functional ones before they reach a dispatch mode.

    Autocast keeps no casts of weights meanwhile: wrapped ones would be found by eager calls in the same block.
    """
    keeps = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    _T._enable_functionalization(reapply_views=True)
    try:
        yield
    finally:
        _T._disable_functionalization()
        torch.set_autocast_cache_enabled(keeps)


@contextlib.contextmanager
def below_autograd() -> Iterator[None]:
    """No autograd, so that composite ops reach a dispatch mode whole (inference mode does it too, but its tensors
    cannot be viewed and changed in place under functionalization, so it is left when the caller is in it)."""
    with torch.inference_mode(False), torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
        yield


def call_functionally(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call from inside a dispatch mode (under `functionalization`), in-place ops turned functional once more."""
    given = pytree.tree_map_only(torch.Tensor, wrap, (args, kwargs))
    key = torch._C.DispatchKey.Functionalize
    excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(key)
    torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
    try:
        return pytree.tree_map(unwrap, function(*given[0], **given[1]))
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, excluded)
