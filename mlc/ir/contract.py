"""What a pass promises. A pass without a contract cannot be registered (see `mlc.ir.passes.MlcPass`).

The property suite reads these: it draws programs of `profile`, runs the pass with each of `options`, and compares
before and after under `preserves`, in the reference interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["any", "torch", "linalg", "kernels", "buffers", "loops", "llvm"]


@dataclass(frozen=True)
class Bitwise:
    """Every output bit is the same, NaN payloads aside."""


@dataclass(frozen=True)
class Reassociates:
    """Order of additions (or fma contraction) changes: identical in GF(p), within the sound bound in floats."""

    reason: str


@dataclass(frozen=True)
class WithinUlp:
    """Each element moves by at most `ulp` units in the last place per rewritten op; `reason` says why."""

    ulp: float
    reason: str


@dataclass(frozen=True)
class WithinBound:
    """Error at most `factor` * n * eps * sum|terms| with a derived `factor` (Winograd, online softmax)."""

    factor: float
    reason: str


@dataclass(frozen=True)
class Narrows:
    """Some values are rounded to floats of `bits` bits, or for 8 to integers by `math.roundeven`: error at most the
    running bound that counts those roundings. `reason` says which values."""

    bits: int
    reason: str


Equality = Bitwise | Reassociates | WithinUlp | WithinBound | Narrows


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The promises of one pass.

    `level_in`/`level_out`: the level it takes and leaves ("any": it stays where it is).
    `preserves`: the equality relation. `profile`: generator profile in `fuzz/` that feeds its property.
    `options`: option values the property draws, as keyword dicts; empty means the defaults alone.
    `establishes`: what holds afterwards, in words. `idempotent`: a second run changes nothing.
    `nests`: works on each function without looking at another symbol, so it may run in `func.func(...)`.
    `rules`: the rewrites the pass can make, name -> before and after in a few words; every remark it makes of a rewrite
    carries one of these names, and the property fails for a rule that hardly ever fires. Empty: one, named as the pass.
    """

    level_in: Level
    level_out: Level
    preserves: Equality
    profile: str
    options: tuple[dict[str, object], ...] = ()
    establishes: tuple[str, ...] = ()
    idempotent: bool = True
    nests: bool = False
    rules: Mapping[str, str] = field(default_factory=dict)

    def rules_of(self, pass_name: str) -> tuple[str, ...]:
        """Names of the rewrites that the pass of this contract can make."""
        return tuple(self.rules) or (pass_name,)
