"""Python's cycle collector, off while something large is built.

A full collection walks every object of the process, torch's and the user's too: 0.15 s where torch alone is imported.
A first call makes enough objects to set off one or more, and frees next to nothing by them: IR that is done with is
taken apart (`release.py`). After the outermost `collector_paused()` all objects count as old, as if they had outlived
collections: what is garbage among them goes with the next full one, and the first answer waits for none. Python does
not count them for that; where they have become many, there is a full one here.
Tests: tests/ir/test_release.py
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth = 0
_was_on = False
_unseen, _full = 0, 0  # objects that no full collection has seen, and how many there were of these
MOST_UNSEEN = 1_000_000
"""A model leaves a hundred thousand or a few, half of them garbage, about 150 bytes each."""


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
        many = False
        with _lock:
            _depth -= 1
            if _depth == 0 and _was_on:
                many = _count_as_old()
                gc.enable()
        if many:  # outside of the lock: what is collected may come here again
            gc.collect()


def _count_as_old() -> bool:
    """All objects to the oldest generation, without a look at them; not where the program has frozen some. Whether they
    are so many that a full collection is due."""
    global _unseen, _full
    if gc.get_freeze_count() != 0:
        return False
    full = gc.get_stats()[2]["collections"]
    _unseen = (_unseen if full == _full else 0) + gc.get_count()[0]
    _full = full
    gc.freeze()
    gc.unfreeze()
    return _unseen > MOST_UNSEEN
