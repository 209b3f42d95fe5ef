"""Cheaper IR construction while a trusted pipeline runs.

xDSL re-verifies every attribute whenever one is made and Python's cycle collector walks the growing IR again and again;
together that is about a third of compile time. Inside `fast_build()` both are off, and ops are made and walked by
`fast_core.py`. What passes build is verified as a whole instead: after every pass in the tests and under
`--verify-each`. `mlc-opt` and the properties of passes keep the attributes' own checks (`verify_attributes`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xdsl.ir import Attribute

from mlc.ir import fast_core, fast_verify
from mlc.ir.collector import collector_paused


def _skip(self: Attribute) -> None:
    """Stands in for `Attribute.__post_init__`."""


_lock = threading.Lock()
_depth = 0
REPLACED = (*fast_core.REPLACED, *fast_verify.REPLACED)
_inside = ((Attribute, "__post_init__", _skip), *REPLACED)
_outside = tuple((owner, name, getattr(owner, name)) for owner, name, _ in _inside)


def _put(functions: tuple[tuple[Any, str, Any], ...]) -> None:
    for owner, name, function in functions:
        setattr(owner, name, function)


@contextmanager
def fast_build(*, verify_attributes: bool = False) -> Iterator[None]:
    """Switch the cycle collector off, and attribute verification unless `verify_attributes`; nests (the outermost one
    decides about attributes), and may be entered by several threads."""
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _put(REPLACED if verify_attributes else _inside)
    try:
        with collector_paused():
            yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _put(_outside)
