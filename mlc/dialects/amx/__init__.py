"""Tiles of x86's matrix unit (AMX): registers of up to 16 rows of 64 bytes, and products of them. No passes.

In: nothing but xDSL's IRDL. Out: `AMX`, semantics.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from mlc.dialects.amx.ops import OPS, TileType

AMX = Dialect("amx", list(OPS), [TileType])

__all__ = ["AMX", "TileType"]
