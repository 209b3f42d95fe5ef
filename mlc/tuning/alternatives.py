"""What tuning tries, as data: options of passes for the whole module, for each 3x3 convolution, for each kernel."""

from __future__ import annotations

from mlc.backends.machine import MachineModel
from mlc.lowering.linalg.linalg_winograd_pointwise import GAIN
from mlc.tuning.choices import PassOptions

WINOGRAD = "linalg-winograd-conv2d"
WINOGRAD_TILES = (0, 2, 4)
"""Output tiles of a 3x3 convolution; 0 is the direct way."""


def layouts(machine: MachineModel, *, winograd: bool = True) -> list[PassOptions]:
    """Blocks of channels and panels of columns narrower and wider than one vector register. With `winograd`, pairs of
    terms in all 1x1 convolutions that gain by it, also where compiling their kernels takes long; and no numbers split
    for a matrix unit."""
    lanes = machine.lanes(32)
    found: list[PassOptions] = []
    if winograd and machine.adds_beside_fma:
        found.append({"linalg-winograd-pointwise": {"gain": GAIN}})
    if winograd and machine.tile_bf16:
        found.append({"linalg-split-matmul": {"gain": 0}})
    if lanes >= 8:
        found.append({"linalg-block-layouts": {"block": lanes // 2}})
        found.append({"linalg-pack-matmul": {"block": lanes // 2}})
    found.append({"linalg-pack-matmul": {"block": 2 * lanes}})
    return found


def kernels(machine: MachineModel) -> list[PassOptions]:
    """Narrower vectors, and tiles for fewer registers (smaller ones, which leave room for what LLVM keeps)."""
    found: list[PassOptions] = []
    if machine.vector_bits >= 256:
        found.append({"vectorize-structured": {"vector_bits": machine.vector_bits // 2}})
    if machine.vector_registers >= 16:
        found.append({"vectorize-structured": {"vector_registers": machine.vector_registers * 3 // 4}})
        found.append({"vectorize-structured": {"vector_registers": machine.vector_registers // 2}})
    return found
