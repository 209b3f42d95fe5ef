"""Compile every model of the zoo to native code and compare with eager and with float64: one line a model.

    python -m tests.models.check_native [--small] [--batch 4] [name …]

The rule: within 1e-4 of eager, relative to the largest output, and at most 4 times eager's own error against float64.
"""

from __future__ import annotations

import argparse
import copy
import time
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

import mlc
from tests.models.zoo import ZOO

TOLERANCE = 1e-4
FACTOR = 4.0
FLOOR = 1e-6  # a few roundings of one output: where eager happens to be nearly exact


def tensors(tree: Any) -> list[torch.Tensor]:
    """The tensor leaves."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def error(got: Any, wanted: Any) -> float:
    """Largest difference relative to the largest value, over all tensor leaves; NaN where they are not NaN alike."""
    worst = 0.0
    for g, w in zip(tensors(got), tensors(wanted), strict=True):
        assert g.shape == w.shape
        if w.numel():
            found = float((g.double() - w.double()).abs().max() / w.double().abs().max().clamp_min(1e-30))
            worst = found if found != found else max(worst, found)
    return worst


def compare(name: str, model: nn.Module, inputs: tuple[Any, ...], compiled: mlc.CompiledModel) -> str:
    """Run both and float64; raises when a rule is broken, else returns a line to print."""
    exact_model = copy.deepcopy(model).double()
    exact_inputs = pytree.tree_map(
        lambda v: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v, inputs
    )
    with torch.no_grad():
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # for what models create themselves
        try:
            exact = exact_model(*exact_inputs)
        finally:
            torch.set_default_dtype(default)
        expected = model(*inputs)
        got = compiled(*inputs)
    eager, ours, theirs = error(got, expected), error(got, exact), error(expected, exact)
    line = f"{name:20} {eager:.1e} from eager, {ours:.1e} from float64 (eager {theirs:.1e})"
    assert eager <= TOLERANCE and ours <= max(FACTOR * theirs, FLOOR), line
    return line


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    failed = 0
    for name in options.names or ZOO:
        model, inputs = ZOO[name].build(batch=options.batch, small=options.small)
        start = time.perf_counter()
        try:
            compiled = mlc.compile(model, inputs, num_threads=1)
            taken = time.perf_counter() - start
            print(f"{compare(name, model, inputs, compiled)}, compiled in {taken:.1f} s", flush=True)
        except (mlc.MlcError, AssertionError) as problem:
            failed += 1
            print(f"{name:20} FAILED {str(problem).splitlines()[0][:200]}", flush=True)
    raise SystemExit(min(failed, 1))


if __name__ == "__main__":
    main()
