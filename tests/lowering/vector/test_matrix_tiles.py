"""Products through a matrix unit: random programs in every domain, tiles of every remainder, registers that suffice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.campaign import run_tape, targets
from mlc.lowering.vector.matrix_tiles import PIECE, MatrixTiles, TileRegisters, register_rows, rows_left
from mlc.lowering.vector.matrix_writer import MatrixWriter
from mlc.testing.program import Discard

NAME = "vectorize-structured"
TILED = {"dot_products": True, "matrix_tiles": True, "twice": 1}
# the contract of the pass, for products that fill tiles, and near misses, alone
CONTRACT = replace(targets()[NAME], profile="memref-matrix", options=(TILED, {**TILED, "row_tiles": 1}))


def test_same_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    write = MatrixWriter.write

    def counted(writer: MatrixWriter) -> Any:
        seen["integers" if writer.dot.unsigned is not None else "floats"] += 1
        return write(writer)

    monkeypatch.setattr(MatrixWriter, "write", counted)

    @settings(
        max_examples=100, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.binary(min_size=80, max_size=240))
    def holds(data: bytes) -> None:
        try:
            _, outcome, _ = run_tape(NAME, CONTRACT, data, thorough=sum(data) % 8 == 0)
        except Discard:
            seen["discarded"] += 1
            return
        seen["programs"] += 1
        seen["compared"] += bool(outcome.domains)
        assert outcome.finding is None, f"tape {data.hex()}: {outcome.finding}"

    holds()
    assert seen["programs"] > 80 and seen["compared"] > 50, dict(seen)
    assert seen["floats"] >= 25 and seen["integers"] >= 5, dict(seen)


@pytest.mark.parametrize("n", [1, 4, 7, 14, 16, 17, 28, 33, 49, 56, 100, 128, 1000])
def test_rows_are_covered_once(n: int) -> None:
    rows = register_rows(n)
    assert 1 <= rows <= min(n, 16)
    for down in (1, 2):
        low = n // (rows * down) * rows * down
        parts = rows_left(low, n, rows)
        covered = [*range(low), *(row for first, count in parts for row in range(first, first + count))]
        assert covered == list(range(n))
        assert all(count % rows == 0 or count <= PIECE for _, count in parts)


@pytest.mark.parametrize(("n", "rows"), [(7, 7), (14, 14), (28, 14), (49, 16), (56, 14), (128, 16)])
def test_rows_of_a_register(n: int, rows: int) -> None:
    assert register_rows(n) == rows


def _tiles(rows: int, groups: int) -> MatrixTiles:
    return MatrixTiles(0, 0, None, 1, 2, rows, groups, 2, 2)


def test_products_of_one_shape_share_registers_others_do_not_fit() -> None:
    registers = TileRegisters()
    assert registers.take(_tiles(16, 16))
    assert registers.take(_tiles(16, 16))
    assert not registers.take(_tiles(14, 16))
    assert not registers.take(_tiles(16, 8))
    assert TileRegisters().take(_tiles(7, 8))
