"""Products whose weights come from beyond the second-level cache, as on Intel servers: tiles of three columns, whatever
is left over of rows and columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import mlc
from mlc import setting
from mlc.backends.llvm import CPU_BACKEND
from mlc.backends.llvm.target import missing_features
from mlc.backends.machine import PRESETS, MachineModel, from_features
from mlc.lowering.vector import schedule

WIDE = PRESETS["x86-64-avx512"]


class SmallCaches:
    """A machine of two wide multiply-adds per cycle, with a second level that holds 24 KB."""

    def machine(self, target: str) -> MachineModel:
        wide = from_features("x86_64", {*WIDE.features, "amx-tile"}, name="sapphirerapids")
        return replace(wide, features=WIDE.features, tune="", l2=24 << 10)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(CPU_BACKEND, attribute)


def test_machine() -> None:
    machine = SmallCaches().machine("native")
    assert (machine.fma_per_cycle, machine.loads_per_cycle, machine.broadcast_load) == (2, 2, False)
    assert from_features("x86_64", set(WIDE.features), name="znver4").broadcast_load


@pytest.mark.skipif(bool(missing_features(WIDE)), reason="this machine cannot run code for AVX-512")
@pytest.mark.parametrize("columns", [256, 304, 320])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 17, 25, 41])
def test_same_numbers(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles: list[int] = []
    chosen = schedule.contraction_tile

    def told(nest: Any, width: int, lanes: int, row: Any, cols: list[int], *rest: Any, **more: Any) -> dict[int, int]:
        tile = chosen(nest, width, lanes, row, cols, *rest, **more)
        tiles.append(max([tile.get(d, 1) for d in cols], default=1))
        return tile

    monkeypatch.setattr(schedule, "contraction_tile", told)
    monkeypatch.setattr(setting, "load_backend", lambda target: SmallCaches())
    torch.manual_seed(0)
    layer, x = nn.Linear(32, columns).eval(), torch.randn(rows, 32)
    with torch.no_grad():
        got, exact = mlc.compile(layer, (x,), cache_dir="")(x), layer.double()(x.double())
    assert float((got.double() - exact).abs().max()) < 4e-6
    assert 3 in tiles or columns == 256 or rows not in (16, 17, 25)  # the others have remainders of the usual tiles
