"""Vector instructions of x86 for which no target-independent op exists: dot products of narrow elements,
lookups in a register. No passes.

In: nothing but xDSL's IRDL. Out: `X86VECTOR`, semantics.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from mlc.dialects.x86vector.ops import OPS

X86VECTOR = Dialect("x86vector", list(OPS), [])

__all__ = ["X86VECTOR"]
