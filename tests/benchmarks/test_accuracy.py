"""Errors relative to the largest exact value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import load_exact, relative_error, save_exact
from benchmarks.prepared import fastest

EXACT = [np.array([1.0, -4.0]), np.array([0.5])]


def singles(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_the_worst_output_counts():
    assert relative_error([singles(1.0, -4.2), singles(0.5)], EXACT) == pytest.approx(0.05, rel=1e-4)
    assert relative_error([singles(1.0, -4.0), singles(0.25)], EXACT) == 0.5


def test_nan_is_no_small_error():
    assert relative_error([singles(1.0, np.nan), singles(0.5)], EXACT) == np.inf


def test_results_must_have_the_same_form():
    with pytest.raises(ValueError, match="shape"):
        relative_error([singles(1.0), singles(0.5)], EXACT)
    with pytest.raises(ValueError):
        relative_error([singles(1.0, 2.0)], EXACT)


def test_exact_results_keep_their_order(tmp_path: Path):
    arrays = [np.full(1, float(i)) for i in range(12)]
    save_exact(tmp_path, arrays)
    assert [a[0] for a in load_exact(tmp_path)] == list(range(12))


def test_the_fastest_way_is_taken():
    clock = iter([0.0, 3.0, 0.0, 1.0, 0.0, 3.0, 0.0, 1.0])
    slow, quick = (lambda: "slow"), (lambda: "quick")
    assert fastest([slow, quick], rounds=2, clock=lambda: next(clock))() == "quick"
    assert fastest([slow])() == "slow"
