"""Compile two PyTorch models and compare them with eager: error, speed, and where to look next.

python examples/demo.py            # what `make demo` runs
python examples/demo.py --small    # narrow models, a few seconds
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import resnet
import torch
import transformer
from torch import nn

import mlc

RUNS = 15
TOLERANCE = 1e-4
FLOOR = 1e-6  # small models: a few roundings of one output


def main() -> int:
    """Run the demo; 0 when every error is within bounds."""
    parser = argparse.ArgumentParser(description="Compile two PyTorch models and compare them with eager.")
    parser.add_argument("--small", action="store_true", help="narrow models, a few seconds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"mlc {mlc.__version__}, PyTorch {torch.__version__}, {cpu_name()}, one thread each\n")
    fine = True
    for title, example in (("ResNet-18", resnet.example), ("Transformer encoder", transformer.example)):
        model, inputs = example(small=options.small)
        try:
            fine &= show(title, model, inputs)
        except mlc.MlcError as error:
            print(f"  {error}\n")
            fine = False
    print(NEXT)
    return 0 if fine else 1


def show(title: str, model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> bool:
    """Compile, compare and time one model."""
    parameters = sum(p.numel() for p in model.parameters())
    shapes = ", ".join(f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}" for x in inputs)
    print(f"{title}: {parameters:,} parameters, input {shapes}")
    with torch.inference_mode():
        expected = model(*inputs)
        exact = copy.deepcopy(model).double()(*(x.double() if x.is_floating_point() else x for x in inputs))
        start = time.perf_counter()
        compiled = mlc.compile(model, num_threads=1)
        got = compiled(*inputs)
        first = time.perf_counter() - start
        print(f"  first answer   {first:.2f} s from nn.Module (again from the disk cache: run this twice)")
        ours, theirs = error(got, exact), error(expected, exact)
        print(f"  error          {error(got, expected):.1e} against eager")
        print(f"                 {ours:.1e} against float64 (eager's own: {theirs:.1e})")
        native, eager = interleaved(lambda: compiled(*inputs), lambda: model(*inputs))
    print(f"  time           {1e3 * native:.1f} ms, eager {1e3 * eager:.1f} ms (medians of {RUNS}, interleaved):")
    print(f"                 {eager / native:.2f}x as fast as eager\n")
    return error(got, expected) <= TOLERANCE and ours <= max(4 * theirs, FLOOR)


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((got.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of each, run in turns so that both see the same machine."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for run, taken in zip((first, second), times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def cpu_name() -> str:
    """What the processor calls itself."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


NEXT = """Where to look next:
  python -c "import mlc, torch; m = mlc.compile(torch.nn.Linear(8, 4)); m(torch.ones(2, 8)); print(m.ir('linalg'))"
                                        every level as text: torch, linalg, kernels, buffers, loops, llvm
  mlc-opt examples/mlp.mlir --mlc-pipeline=cpu --mlc-to=kernels
                                        the same staircase on a file, stopped at any step
  examples/resnet.py, examples/transformer.py
                                        the two models above
  ARCHITECTURE.md                       the levels, the folders, the rules"""


if __name__ == "__main__":
    sys.exit(main())
