"""Python's cycle collector, off while something large is built.

A full collection walks every object of the process, torch's and the user's too: 0.15 s where torch alone is imported.
A first call makes enough objects to set off one or more, and frees next to nothing by them. What is garbage by then is
collected after the outermost `collector_paused()` ends, when the next collection is due.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth = 0
_was_on = False


@contextmanager
def collector_paused() -> Iterator[None]:
    """Switch the cycle collector off; nests, and may be entered by several threads."""
    global _depth, _was_on
    with _lock:
        _depth += 1
        if _depth == 1:
            _was_on = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _was_on:
                gc.enable()
