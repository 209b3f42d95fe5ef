"""Nested tensors that a model makes: named as such where recording one fails.

torch.nested.nested_tensor([x, y])   -->   model.py:7: this model makes a nested tensor

What is met is some call of PyTorch's own code for them, which reads memory or moves a tensor to another device.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

NESTED = "pad to one length (torch.nn.utils.rnn.pad_sequence) and pass the lengths or a mask"
_FOLDER = str(Path(torch.nested.__file__).parent)


def makes_nested() -> bool:
    """Whether PyTorch's code for nested tensors is what runs now."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_FOLDER):
            return True
        frame = frame.f_back
    return False
