"""Import the programs with torch-mlir and store its text, the inputs and eager's outputs.

    python -m tests.upstream.export stored.pt raw linalg-on-tensors

A process of its own: torch-mlir's native code and llvmlite's LLVM do not share one.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch_mlir import fx

from tests.upstream.programs import PROGRAMS


def export(name: str, kinds: list[str]) -> dict[str, Any]:
    """One program: its text per output type of torch-mlir (or why there is none), inputs, eager's outputs."""
    torch.manual_seed(0)
    model, inputs, dynamic = PROGRAMS[name]()
    model.eval()
    texts: dict[str, str] = {}
    for kind in kinds:
        try:
            module = fx.export_and_import(model, *inputs, output_type=kind, dynamic_shapes=dynamic)
        except Exception as e:
            texts[kind] = f"// {type(e).__name__}: {e}"
        else:
            texts[kind] = module.operation.get_asm(enable_debug_info=True)
    with torch.no_grad():
        outputs = model(*inputs)
    results = list(outputs) if isinstance(outputs, tuple) else [outputs]
    return {"texts": texts, "inputs": list(inputs), "outputs": results}


def main(path: str, kinds: list[str]) -> None:
    warnings.filterwarnings("ignore")
    torch.save({name: export(name, kinds) for name in PROGRAMS}, Path(path))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
