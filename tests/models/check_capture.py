"""Capture every model of the zoo and replay it with PyTorch's own ops: prints one line a model.

python tests/models/check_capture.py [--small] [name …]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.utils import _pytree as pytree

from mlc.frontends.torch import Captured, capture
from mlc.frontends.torch.captured import FromResult
from mlc.ir.context import MlcContext, make_context
from tests.frontends.replay import replay
from tests.models.zoo import ZOO


def captured_outputs(captured: Captured, ctx: MlcContext, leaves: list[object]) -> list[torch.Tensor]:
    """Replay, and pick what the model returns (not the values written back)."""
    inputs = [leaves[i] if isinstance(i, int) else i for i in captured.inputs]
    results = replay(captured.module, ctx.resources, inputs)
    return [results[o.index] for o in captured.outputs if isinstance(o, FromResult)]


def check(name: str, *, small: bool, batch: int = 1) -> str:
    """Capture and replay one model; returns a line to print. Raises when the numbers differ."""
    model, inputs = ZOO[name].build(batch=batch, small=small)
    with torch.inference_mode():
        t0 = time.perf_counter()
        expected = [v for v in pytree.tree_leaves(model(*inputs)) if isinstance(v, torch.Tensor)]
        t1 = time.perf_counter()
    ctx = make_context()
    captured = capture(model, inputs, {}, ctx.resources)
    t2 = time.perf_counter()
    captured.module.verify()
    got = captured_outputs(captured, ctx, pytree.tree_leaves((inputs, {})))
    assert len(got) == len(expected)
    worst = 0.0
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape and g.dtype == e.dtype
        worst = max(worst, float((g - e).abs().max() / e.abs().max().clamp_min(1e-30)))
    assert worst <= 1e-5, f"{name}: replay differs from eager by {worst}"
    ops = sum(1 for op in captured.module.walk() if op.name.startswith("torch.aten"))
    return f"{name:20} {ops:5} aten ops  eager {t1 - t0:6.2f} s  capture {t2 - t1:6.2f} s  error {worst:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in options.names or ZOO:
        print(check(name, small=options.small), flush=True)


if __name__ == "__main__":
    main()
