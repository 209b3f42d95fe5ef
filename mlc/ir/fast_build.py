"""Cheaper IR construction while a trusted pipeline runs.

xDSL re-verifies every attribute whenever one is made and Python's cycle collector walks the growing IR again and again;
together that is about a third of compile time. Inside `fast_build()` both are off. What passes build is verified as a
whole instead: after every pass in the tests and under `--verify-each`. `mlc-opt` does not use this.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xdsl.ir import Attribute

from mlc.ir.collector import collector_paused

_lock = threading.Lock()
_depth = 0
_saved_post_init = Attribute.__post_init__


def _skip(self: Attribute) -> None:
    """Stands in for `Attribute.__post_init__`."""


@contextmanager
def fast_build() -> Iterator[None]:
    """Switch attribute verification and the cycle collector off; nests, and may be entered by several threads."""
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            Attribute.__post_init__ = _skip  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with collector_paused():
            yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                Attribute.__post_init__ = _saved_post_init
