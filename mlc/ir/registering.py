"""Tables that modules fill while they are imported, and imports that were interrupted.

Ctrl-C in the middle of an import makes Python forget the module; the next import runs it from the start, and registers
what is in the table already. That is no second registration: it is the same function, made once more.
"""

from __future__ import annotations

from typing import Any


def is_made_again(old: Any, new: Any) -> bool:
    """Whether `new` is the function `old` of a repeated import: the same lines of the same module."""
    a, b = getattr(old, "__code__", None), getattr(new, "__code__", None)
    if a is None or b is None:
        return False
    return (old.__module__, a.co_filename, a.co_firstlineno) == (new.__module__, b.co_filename, b.co_firstlineno)
