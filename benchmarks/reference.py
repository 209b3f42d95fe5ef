"""The float64 run of a row, and what the row asks of the machine; a process of its own.

python -m benchmarks.reference resnet50 DIRECTORY    ->  DIRECTORY/exact.npz and one line of JSON:
{"flops": 8.2e9, "weight_bytes": 102e6, "io_bytes": 0.6e6}
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.accuracy import save_exact
from benchmarks.models import ROWS


def count_flops(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiplications and additions of products and convolutions, direct ones. Fused attention ops, which the counter
    does not know, are taken apart."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops()


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf


def weight_bytes(model: nn.Module) -> int:
    """Bytes of the weights that a call reads: all, except tables of which it only looks up some rows."""
    read: dict[int, int] = {}
    for module in model.modules():
        if not isinstance(module, nn.Embedding):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                read[tensor.data_ptr()] = tensor.nbytes
    return sum(read.values())


def reference(row: str, directory: Path) -> dict[str, int]:
    """See the module's docstring."""
    model, inputs = ROWS[row].build()
    flops = ROWS[row].flops
    if flops is None:
        flops = count_flops(model, inputs)
    with torch.inference_mode():
        exact = _tensors(copy.deepcopy(model).double()(*pytree.tree_map(_double, inputs)))
    save_exact(directory, [t.numpy() for t in exact if t.is_floating_point()])
    results = sum(t.numel() * (4 if t.is_floating_point() else t.element_size()) for t in exact)
    return {
        "flops": flops,
        "weight_bytes": weight_bytes(model),
        "io_bytes": sum(t.nbytes for t in _tensors(inputs)) + results,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(reference(sys.argv[1], Path(sys.argv[2]))))
