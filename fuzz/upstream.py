"""Contracts of passes that are not ours: what `mlc-opt` and our pipelines take from xDSL, under the same tests."""

from __future__ import annotations

from mlc.ir.contract import Bitwise, Contract

UPSTREAM: dict[str, Contract] = {
    "cse": Contract(level_in="any", level_out="any", preserves=Bitwise(), profile="arith"),
    "dce": Contract(level_in="any", level_out="any", preserves=Bitwise(), profile="arith"),
}
