"""A bundle from the cache is linked without the compiler: no xDSL where all constants have recipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc import build, driver, linking, recorded
from mlc.arrays.recipes import Recipes
from mlc.runtime.bundle import Bundle

LINK = """
import sys
import numpy as np
from mlc.backends.registry import load_backend
from mlc.ir.resources import ResourceStore
from mlc.linking import link
from mlc.phases import Phases
from mlc.runtime.bundle import Bundle
from mlc.runtime.cache import cache_at, using
bundle, arrays, cache = sys.argv[1:]
store = ResourceStore()
data = np.load(arrays)
for name in data.files:
    if name not in ("x", "y"):
        store.set(name, data[name])
with using(cache_at(cache)):
    executable = link(Bundle.from_bytes(open(bundle, "rb").read()), store, load_backend("native"), Phases())
(y,) = executable.run([data["x"]])
assert y.tobytes() == data["y"].tobytes()
sys.exit(" ".join(sorted(m for m in sys.modules if m.split(".")[0] in ("xdsl", "torch"))) or None)
"""


def net() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.BatchNorm2d(32)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 20)),
    )
    for m in body:
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 2)
            nn.init.normal_(m.running_mean)
    return body.eval()


X = torch.linspace(-1, 1, 2 * 3 * 24 * 24).reshape(2, 3, 24, 24)


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Bundle, Any, Any]]:
    """The bundles that were linked, with the weights and what became of them."""
    found: list[tuple[Bundle, Any, Any]] = []

    def noted(bundle: Bundle, resources: Any, *args: Any, **kwargs: Any) -> Any:
        found.append((bundle, resources, linking.link(bundle, resources, *args, **kwargs)))
        return found[-1][2]

    for module in (driver, recorded):
        monkeypatch.setattr(module, "link", noted)
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recipes_give_what_the_interpreter_gives(
    precision: str, linked: list[tuple[Bundle, Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for kind in ("recipes", "interpreter"):
        if kind == "interpreter":
            monkeypatch.setattr(build, "recipes_of", lambda _: Recipes())
        for _ in range(2):
            mlc.compile(net(), (X,), precision=precision, cache_dir=tmp_path / kind)
    (made, _, _), (bundle, _, by_recipes), _, (other, _, by_interpreter) = linked
    assert (
        bundle.to_bytes() == made.to_bytes()
        and set(bundle.recipes.results) == set(bundle.derived)
        and not bundle.constant_functions
    )
    assert other.constant_functions and other.constants == bundle.constants
    for name, a, b in zip(bundle.constants, by_recipes.constants, by_interpreter.constants, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name


def test_a_bundle_is_linked_without_the_compiler(linked: list[tuple[Bundle, Any, Any]], tmp_path: Path):
    compiled = mlc.compile(net(), (X,), cache_dir=tmp_path)
    with torch.no_grad():
        y = compiled(X)
    ((bundle, resources, _),) = linked
    assert bundle.derived
    (tmp_path / "bundle").write_bytes(bundle.to_bytes())
    weights = {name: resources.get(name) for name in bundle.weights}
    np.savez(tmp_path / "arrays.npz", x=X.numpy(), y=y.numpy(), **weights)
    command = [sys.executable, "-c", LINK, tmp_path / "bundle", tmp_path / "arrays.npz", tmp_path]
    r = subprocess.run([*map(str, command)], capture_output=True, text=True, env={**os.environ})
    assert r.returncode == 0 and not r.stderr, r.stderr
