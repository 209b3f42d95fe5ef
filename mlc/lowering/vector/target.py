"""What the vectoriser asks of the target. Filled from the machine model in the context, or from pass options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Target:
    """The figures of `mlc.backends.machine.MachineModel` that tile choices use (see there)."""

    vector_bits: int = 512
    vector_registers: int = 32
    fma: bool = True
    fma_per_cycle: float = 1
    fma_latency: int = 4
    loads_per_cycle: float = 1
    narrow_per_cycle: float = 2
    broadcast_load: bool = True
    lane_operand: bool = False
    dot_bf16: bool = False
    dot_int8: bool = False
    tile_bf16: bool = False
    tile_int8: bool = False
    l1: int = 32 << 10
    l2: int = 1 << 20
    row_tiles: int | None = None  # of products, in a block; None: as many as stay in the second-level cache
    l3: int = 16 << 20
    twice: int = 32  # rows of which one may be computed twice, by a last tile that moves back
    chain: int = 640  # terms of a float sum one after the other: 3 times eager's error with as many

    @property
    def scalars_in_turn(self) -> bool:
        """Whether each scalar of a tile is to go through one register, for all columns before the next is loaded."""
        return not self.broadcast_load and not self.lane_operand

    def lanes(self, bits: int) -> int:
        """Elements of `bits` in one register."""
        return max(1, self.vector_bits // max(8, bits))


_OURS = ("row_tiles", "twice", "chain")  # no figures of a machine


def target_of(
    machine: Any,
    vector_bits: int | None,
    vector_registers: int | None,
    dot_products: bool | None = None,
    matrix_tiles: bool | None = None,
) -> Target:
    """The machine's figures, overridden by options; AVX-512 where neither says."""
    known = {name: getattr(machine, name) for name in Target.__dataclass_fields__ if machine and name not in _OURS}
    if vector_bits is not None:
        known["vector_bits"] = vector_bits
        known.setdefault("broadcast_load", vector_bits == 512)
    if vector_registers is not None:
        known["vector_registers"] = vector_registers
    if dot_products is not None:
        known["dot_bf16"] = known["dot_int8"] = dot_products
    if matrix_tiles is not None:
        known["tile_bf16"] = known["tile_int8"] = matrix_tiles
    return Target(**known)
