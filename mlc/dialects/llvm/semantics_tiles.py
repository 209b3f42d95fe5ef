"""Reference semantics of AMX's intrinsics: a tile is an array of the bytes of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import bf16, f32

from mlc.dialects.amx.semantics import multiplied, multiplied_int8
from mlc.dialects.llvm.intrinsics import TILE_LOAD, TILE_MULF, TILE_MULI, TILE_STORE, TILE_ZERO
from mlc.dialects.llvm.semantics_memory import memory_of
from mlc.ir.semantics import Args, Results, Runner

_SIGNS = {TILE_MULI.format(signs=a + b): (a == "u", b == "u") for a in "su" for b in "su"}
TILE_INTRINSICS = frozenset((TILE_ZERO, TILE_LOAD, TILE_STORE, TILE_MULF, *_SIGNS))


def tile_intrinsic(name: str, args: Args, run: Runner) -> Results:
    """What an intrinsic of `TILE_INTRINSICS` returns; its first arguments are sizes: rows, and bytes of a row."""
    rows, width = int(args[0]), int(args[1])
    if name == TILE_ZERO:
        return (np.zeros((rows, width), dtype=np.uint8),)
    if name in (TILE_LOAD, TILE_STORE):
        start, stride = int(args[2]), int(args[3])
        lines = [memory_of(run).window(start + i * stride, width, write=name == TILE_STORE) for i in range(rows)]
        if name == TILE_LOAD:
            return (np.stack(lines).copy(),)
        for line, row in zip(lines, args[4], strict=True):
            line[:] = row
        return ()
    acc, lhs, rhs = (np.ascontiguousarray(v) for v in args[3:])
    if name == TILE_MULF:
        factors = (_floats(lhs.view(np.uint16)), _floats(rhs.view(np.uint16)))
        sums: Any = multiplied((*factors, acc.view(np.float32)), bf16, f32, run)
    else:
        sums = multiplied_int8((lhs.view(np.int8), rhs.view(np.int8), acc.view(np.int32)), *_SIGNS[name])
    return (np.ascontiguousarray(sums).view(np.uint8),)


def _floats(bits: np.ndarray) -> np.ndarray:
    """bf16 by its bits, as the float32 of the same value."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
