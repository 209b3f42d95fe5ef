"""Search: layouts of the whole model, then a tile for each 3x3 convolution, then how each kernel is vectorised.

Every trial is a build of the whole model whose kernels are timed one by one, so one build tries an alternative on all
convolutions or all kernels at once. The best of all is run beside the default at last and kept only when it is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from mlc.explain.profile import profile_calls
from mlc.lowering.linalg.linalg_winograd_conv2d import layer_of
from mlc.module_parts import KernelPart
from mlc.runtime.bundle import Bundle
from mlc.runtime.executable import Executable, TensorSpec
from mlc.tuning.alternatives import WINOGRAD, WINOGRAD_TILES
from mlc.tuning.choices import Choices, PassOptions

RUNS = 7
GAIN = 0.97
"""Of the time before: what an alternative must stay under to be taken; less is noise."""


@dataclass
class Trial:
    """One build: what it was built by, what it is, and its parts at the buffers level."""

    choices: Choices
    bundle: Bundle
    executable: Executable
    main: ModuleOp
    kernels: Sequence[KernelPart]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds of all kernels."""
        return sum(self.seconds.values())


class Search:
    """Finds choices for one model. `log` holds a line per decision."""

    def __init__(self, build: Callable[[Choices], Trial], inputs: Callable[[Sequence[TensorSpec]], list[np.ndarray]]):
        self._build, self._inputs_for = build, inputs
        self._inputs: list[np.ndarray] = []
        self.log: list[str] = []

    def run(
        self,
        layouts: Sequence[PassOptions],
        kernels: Sequence[PassOptions],
        tiles: Sequence[int] = WINOGRAD_TILES,
        default: Choices | None = None,
    ) -> Trial:
        """The build to keep. `tiles`: of 3x3 convolutions. `default`: what holds whatever is measured."""
        base = self._trial(default or Choices())
        best = self._layouts(base, layouts)
        best = self._convolutions(best, tiles)
        best = self._kernels(best, kernels)
        if best is not base and not self.is_faster(best, base):
            self.log.append("the whole is no faster than the default, which is kept")
            return base
        return best

    def _layouts(self, base: Trial, alternatives: Sequence[PassOptions]) -> Trial:
        best = base
        for options in alternatives:
            trial = self._trial(Choices(module={**best.choices.module, **options}))
            if self._note(f"layout {_shown(options)}", trial.total, best.total):
                best = trial
        return best

    def _convolutions(self, before: Trial, tiles: Sequence[int]) -> Trial:
        """The fastest tile for each 3x3 convolution, counted by the kernels that compute it."""
        now = _by_layer(before)
        if not now:
            return before
        taken: dict[str, int] = {}
        fastest = dict(now)
        for tile in tiles:
            trial = self._trial(Choices(module={**before.choices.module, WINOGRAD: {"tile": tile}}))
            for layer, seconds in _by_layer(trial).items():
                if self._note(f"{layer} in tiles of {tile}", seconds, fastest.get(layer, 0.0)):
                    taken[layer], fastest[layer] = tile, seconds
        if not taken:
            return before
        layers = ",".join(f"{layer}={tile}" for layer, tile in sorted(taken.items()))
        return self._trial(Choices(module={**before.choices.module, WINOGRAD: {"layers": layers}}))

    def _kernels(self, before: Trial, alternatives: Sequence[PassOptions]) -> Trial:
        taken: dict[str, PassOptions] = {}
        fastest = dict(before.seconds)
        for options in alternatives:
            trial = self._trial(replace(before.choices, kernels={k.key: options for k in before.kernels}))
            for kernel in before.kernels:
                name = f"k_{kernel.key}"
                seconds = trial.seconds.get(name, 0.0)
                if name in fastest and self._note(f"kernel {kernel.key} {_shown(options)}", seconds, fastest[name]):
                    taken[kernel.key], fastest[name] = options, seconds
        return self._trial(replace(before.choices, kernels=taken)) if taken else before

    def _trial(self, choices: Choices) -> Trial:
        trial = self._build(choices)
        self._inputs = self._inputs or self._inputs_for(trial.executable.inputs)
        self.measure(trial)
        return trial

    def measure(self, trial: Trial) -> None:
        """Fill in the seconds of all calls of each kernel."""
        for m in profile_calls(trial.main, trial.executable, trial.bundle.constants, self._inputs, RUNS):
            trial.seconds[m.symbol] = trial.seconds.get(m.symbol, 0.0) + m.seconds

    def _note(self, what: str, seconds: float, before: float) -> bool:
        better = seconds < GAIN * before
        if better:
            self.log.append(f"{what}: {before * 1e6:.1f} -> {seconds * 1e6:.1f} us")
        return better

    def is_faster(self, new: Trial, old: Trial) -> bool:
        """Whole calls, in turns."""
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(2 * RUNS):
            for trial, found in zip((new, old), times, strict=True):
                start = time.perf_counter()
                trial.executable.run(self._inputs)
                found.append(time.perf_counter() - start)
        return statistics.median(times[0]) < statistics.median(times[1])


def _by_layer(trial: Trial) -> dict[str, float]:
    """Seconds of the kernels that compute 3x3 convolutions, by layer."""
    found: dict[str, float] = {}
    for kernel in trial.kernels:
        for layer in {str(x) for op in kernel.module.walk() if (x := layer_of(op)) is not None}:
            found[layer] = found.get(layer, 0.0) + trial.seconds.get(f"k_{kernel.key}", 0.0)
    return found


def _shown(options: PassOptions) -> str:
    return " ".join(f"{n}{{{' '.join(f'{k}={v}' for k, v in o.items())}}}" for n, o in options.items())
