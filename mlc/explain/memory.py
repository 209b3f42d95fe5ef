"""The memory that a compiled model takes beside its inputs and outputs: arena, weights as they are, derived constants.

memory: arena 26.0 MB (26.0 MB live at most); weights 494.6 MB as they are, 294.2 MB derived
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlc.ir.remarks import Remark


@dataclass(frozen=True)
class Memory:
    """Bytes. `live`: the most that buffers of the arena need at one time; open sizes are taken for nominal ones."""

    arena: int
    live: int
    weights: int
    derived: int

    def text(self) -> str:
        """One line."""
        sizes = (self.arena, self.live, self.weights, self.derived)
        arena, live, weights, derived = (f"{n / 1e6:.1f} MB" for n in sizes)
        return f"memory: arena {arena} ({live} live at most); weights {weights} as they are, {derived} derived"


def memory_of(
    remarks: Iterable[Remark], names: Sequence[str], arrays: Sequence[np.ndarray], derived: set[str]
) -> Memory:
    """From the remarks of all passes, and the constants by name; `derived` are those that mlc computed."""
    plan = next((r.data for r in remarks if r.pass_name == "plan-memory" and r.kind == "analysis"), {})
    sizes = dict(zip(names, (a.nbytes for a in arrays), strict=True))
    own = sum(n for name, n in sizes.items() if name in derived)
    return Memory(plan.get("arena", 0), plan.get("peak", 0), sum(sizes.values()) - own, own)
