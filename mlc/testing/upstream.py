"""Contracts of passes that are not ours: what `mlc-opt` and our pipelines take from xDSL, under the same tests."""

from __future__ import annotations

from mlc.ir.canonicalize import Canonicalize
from mlc.ir.contract import Bitwise, Contract


def _anywhere() -> Contract:
    """One run takes away one layer of dead code only."""
    return Contract(level_in="any", level_out="any", preserves=Bitwise(), profile="any", idempotent=False)


UPSTREAM: dict[str, Contract] = {
    "canonicalize": Canonicalize.contract,
    **{name: _anywhere() for name in ("cse", "dce")},
}
