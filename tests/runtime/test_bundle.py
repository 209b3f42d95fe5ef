"""Bundles: bytes and back, and the weights that code is bound to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from mlc.arrays.recipes import Recipes
from mlc.errors import ArtifactError
from mlc.runtime.bundle import Bundle
from mlc.runtime.executable import TensorSpec

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def bundle() -> Bundle:
    """Of a model with a weight `w`, a derived constant and a table that a pass made."""
    spec = TensorSpec((None, 3), np.dtype(np.float32), "x")
    return Bundle(
        objects=[b"main", b"kernel"],
        inputs=(spec,),
        outputs=(spec,),
        constants=["const.0", "table"],
        derived=["const.0"],
        recipes=Recipes([("weight", ["w", "<f4", False], []), ("reshape", [[4]], [0])], {"w.packed": 1}),
        constant_functions="f",
        literals={"table": np.array([1, 2])},
        weights={"w": (W.dtype.str, W.shape)},
        assertions={1: "no"},
        places="p",
        choices={"module": {}},
    )


def test_bytes_and_back():
    made = bundle()
    again = Bundle.from_bytes(made.to_bytes())
    assert np.array_equal(again.literals.pop("table"), made.literals.pop("table"))
    assert again == made


@pytest.mark.parametrize("data", [b"", b"mlc-bundle-4\n", bundle().to_bytes()[:-1], bundle().to_bytes() + b"x"])
def test_bytes_that_are_no_bundle(data: bytes):
    with pytest.raises(ArtifactError, match="not a compiled model"):
        Bundle.from_bytes(data)


def test_weights_it_was_made_for():
    Bundle.from_bytes(bundle().to_bytes()).check_weights({"w": W + 1, "other": W}.get)


@pytest.mark.parametrize(
    "w", [W[:1], W.reshape(3, 2), W.astype(np.float64), W.view(np.int32), np.ones((), np.float32), None]
)
def test_weights_that_do_not_fit_are_refused(w: np.ndarray | None):
    weights: Mapping[str, np.ndarray] = {"w": w} if w is not None else {}
    with pytest.raises(ArtifactError, match="the weight 'w' is "):
        Bundle.from_bytes(bundle().to_bytes()).check_weights(weights.get)
