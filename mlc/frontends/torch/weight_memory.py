"""The memory of the weights that a capture rests on, as blocks for `mlc/runtime/offload.py`.

    model.lin.weight, f32[3072, 768]   -->   Block(its storage's address, 9437184, the bytes that guards look at)

Tests: tests/api/test_offload_weights.py
"""

from __future__ import annotations

import torch

from mlc.frontends.torch.captured import Captured
from mlc.runtime.offload import Block

_LOOKED_AT = 1 << 16
"""Bytes of a block's front within which guards look at samples, unless elements that are neighbours lie far apart."""
_PLAIN = (torch.Tensor, torch.nn.Parameter)


def weight_blocks(captured: Captured) -> list[Block]:
    """One for each storage. Left out is what is no plain tensor in memory of this process alone: subclasses, other
    devices and layouts, shared and pinned memory."""
    kept: dict[tuple[int, int], int] = {}
    for weight in captured.state.weights:
        tensor = weight.tensor
        if type(tensor) not in _PLAIN or tensor.layout is not torch.strided or tensor.device.type != "cpu":
            continue
        storage = tensor.untyped_storage()
        block = storage.data_ptr(), storage.nbytes()
        if not all(block) or storage.is_shared() or _is_pinned(tensor):
            continue
        ends = [at + length - block[0] for at, length in weight.samples]
        kept[block] = max(kept.get(block, 0), *(end for end in (0, *ends) if end <= _LOOKED_AT))
    return [Block(address, nbytes, front) for (address, nbytes), front in kept.items()]


def _is_pinned(tensor: torch.Tensor) -> bool:
    return torch.cuda.is_initialized() and tensor.is_pinned()
