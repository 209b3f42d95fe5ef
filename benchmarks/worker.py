"""Child processes of the benchmark: one model each; they print one line of JSON.

    python -m benchmarks.worker compare MODEL --engines eager,mlc --runs 15 --threads 1
    python -m benchmarks.worker first MODEL            time from the module to the first answer, and peak memory
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

import mlc
from benchmarks.engines import ENGINES
from tests.models.zoo import ZOO

MIN_SECONDS = 0.01


def _floats(result: Any) -> list[np.ndarray]:
    leaves = [v for v in pytree.tree_leaves(result) if isinstance(v, torch.Tensor) and v.is_floating_point()]
    return [v.detach().double().numpy() for v in leaves]


def _error(result: Any, exact: list[np.ndarray]) -> float:
    """Largest error relative to the largest exact value, over all outputs."""
    worst = 0.0
    for got, want in zip(_floats(result), exact, strict=True):
        scale = float(np.abs(want).max()) if want.size else 0.0
        worst = max(worst, float(np.abs(got - want).max()) / scale if scale else 0.0)
    return worst


def compare(name: str, engines: list[str], runs: int, threads: int) -> dict[str, Any]:
    """Interleaved timings of all engines, and their errors against a float64 run."""
    torch.set_num_threads(threads)
    model, inputs = ZOO[name].build()
    with torch.inference_mode():
        doubles = pytree.tree_map(
            lambda v: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v, inputs
        )
        exact = _floats(copy.deepcopy(model).double()(*doubles))
        calls = {e: ENGINES[e](model, inputs) for e in engines}
        errors = {e: _error(call(), exact) for e, call in calls.items()}
        repeats: dict[str, int] = {}
        for e, call in calls.items():
            start = time.perf_counter()
            call()
            repeats[e] = max(1, int(MIN_SECONDS / max(1e-9, time.perf_counter() - start)))
        times: dict[str, list[float]] = {e: [] for e in engines}
        for _ in range(runs):
            for e, call in calls.items():
                start = time.perf_counter()
                for _ in range(repeats[e]):
                    call()
                times[e].append((time.perf_counter() - start) / repeats[e] * 1e3)
    base = times[engines[0]]
    return {
        "model": name,
        "threads": threads,
        "ms": {e: statistics.median(t) for e, t in times.items()},
        "quartiles": {e: statistics.quantiles(t, n=4)[::2] if len(t) > 1 else t * 2 for e, t in times.items()},
        "ratio": {e: statistics.median(a / b for a, b in zip(base, t, strict=True)) for e, t in times.items()},
        "error": errors,
    }


def first(name: str) -> dict[str, Any]:
    """Seconds from the module to the first answer of mlc, and memory above the model's weights."""
    model, inputs = ZOO[name].build()
    weights = sum(t.nbytes for t in {*model.parameters(), *model.buffers()})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    compiled = mlc.compile(model)
    compiled(*inputs)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"model": name, "seconds": seconds, "weights": weights, "peak_above": peak - before}


def main() -> None:
    """See the module's docstring."""
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["compare", "first"])
    p.add_argument("model")
    p.add_argument("--engines", default="eager,mlc")
    p.add_argument("--runs", type=int, default=15)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    if args.what == "compare":
        result = compare(args.model, args.engines.split(","), args.runs, args.threads)
    else:
        result = first(args.model)
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
