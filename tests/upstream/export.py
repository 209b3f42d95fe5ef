"""Import the programs with torch-mlir and store its texts, and calls with what eager and float64 make of them.

    python -m tests.upstream.export stored.pt

A process of its own: torch-mlir's native code and llvmlite's LLVM do not share one.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch_mlir import fx
from torch_mlir.compiler_utils import TorchMlirCompilerError

from tests.upstream.programs import PROGRAMS

KINDS = ("raw", "linalg-on-tensors")


def outputs(model: torch.nn.Module, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """The results, as a list."""
    with torch.no_grad():
        result = model(*inputs)
    return [r.clone() for r in (result if isinstance(result, tuple) else (result,))]


def export(name: str) -> dict[str, Any]:
    """One program: its text per output type of torch-mlir (or why there is none), and its calls."""
    torch.manual_seed(0)
    model, inputs, dynamic, others = PROGRAMS[name]()
    model.eval()
    texts: dict[str, str] = {}
    for kind in KINDS:
        try:
            module = fx.export_and_import(model, *inputs, output_type=kind, dynamic_shapes=dynamic)
        except TorchMlirCompilerError as e:
            texts[kind] = f"// {type(e).__name__}: {e}"
        else:
            texts[kind] = module.operation.get_asm(enable_debug_info=True)
    calls = [list(inputs), *([torch.randn(*shape)] for shape in others)]
    eager = [outputs(model, call) for call in calls]
    wide = [[x.double() if x.is_floating_point() else x for x in call] for call in calls]
    exact = [outputs(model.double(), call) for call in wide]
    return {"texts": texts, "calls": list(zip(calls, eager, exact, strict=True))}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.save({name: export(name) for name in PROGRAMS}, Path(sys.argv[1]))
