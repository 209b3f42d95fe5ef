"""What tuning settled, in words: by the names of kernels, and beside what it is chosen instead of.

    tuned: vectorize-structured: vector_bits 256 instead of 512              of one kernel
    tuned: linalg-winograd-conv2d: 1x64x64x56x56 direct instead of what the pass chooses
    tuned: linalg-pack-matmul: block 32 instead of 16                        of the whole model

Tests: tests/explain/test_tuned.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import Operation

from mlc.backends.machine import MachineModel
from mlc.lowering.linalg.linalg_winograd_conv2d import layer_of
from mlc.tuning.alternatives import WINOGRAD
from mlc.tuning.choices import DIRECT, Choices, PassOptions

NOTHING = "tuned: nothing that was measured is faster than the default"


@dataclass
class Told:
    """`model`: of all kernels; `kernels`: of single ones, by name."""

    model: list[str] = field(default_factory=list)
    kernels: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """All of it, kernels by name."""
        return [*self.model, *(f"{name}: {text}" for name, found in self.kernels.items() for text in found)]


def tell(
    choices: Choices,
    machine: MachineModel,
    kernels: Mapping[str, tuple[str, Operation]],
    *,
    tuned: bool,
    winograd: bool = True,
) -> Told:
    """What differs from the default of models with or without `winograd`. `kernels`: key and function by name. `tuned`:
    something was measured, which is said also where nothing came of it."""
    told = Told()
    layers = dict(
        item.split("=") for item in str(choices.module.get(WINOGRAD, {}).get("layers", "")).split(",") if item
    )
    for name, (key, kernel) in kernels.items():
        found = _texts(choices.kernels.get(key, {}), machine)
        shapes = dict.fromkeys(str(layer) for op in kernel.walk() if (layer := layer_of(op)) is not None)
        for layer in shapes if layers else ():
            if layer in layers:
                tile = layers[layer]
                how = "direct" if tile == "0" else f"in tiles of {tile}x{tile}"
                found.append(f"tuned: {WINOGRAD}: {layer} {how} instead of what the pass chooses")
        if found:
            told.kernels[name] = found
    given = DIRECT.module if not winograd else {}
    own = {
        name: {k: v for k, v in options.items() if k != "layers" and given.get(name, {}).get(k) != v}
        for name, options in choices.module.items()
    }
    told.model.extend(_texts(own, machine))
    if tuned and not told.lines():
        told.model.append(NOTHING)
    return told


def _texts(options: PassOptions, machine: MachineModel) -> list[str]:
    return [
        f"tuned: {name}: {option} {value} instead of {_default(option, machine)}"
        for name, values in options.items()
        for option, value in values.items()
    ]


def _default(option: str, machine: MachineModel) -> Any:
    known = {
        "vector_bits": machine.vector_bits,
        "vector_registers": machine.vector_registers,
        "block": machine.lanes(32),
    }
    return known.get(option, "what the pass chooses")
