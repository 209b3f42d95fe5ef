"""Large results: their memory is used again, and never while somebody can still read it."""

from __future__ import annotations

import gc
import threading

import numpy as np
import torch
from torch import nn

import mlc
from mlc.frontends.torch.reuse import KEPT, ReusedMemory


def test_memory_comes_back_when_the_last_reference_ends():
    memory = ReusedMemory((4, 8), np.dtype(np.float32))
    a = memory.take()
    first = a.ctypes.data
    b = memory.take()
    assert b.ctypes.data != first
    tensor = torch.from_numpy(a)
    view, storage = tensor[1:].t(), tensor.untyped_storage()
    del a, tensor
    assert memory.take().ctypes.data != first
    del view
    assert memory.take().ctypes.data != first
    del storage
    assert first in {x.ctypes.data for x in [memory.take() for _ in range(3)]}
    many = [memory.take() for _ in range(6)]
    del many
    assert len(memory._free) == KEPT


class Scale(nn.Module):
    """A result of 2 MiB."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2.0


def test_results_stay_what_they_were():
    compiled = mlc.compile(Scale())
    kept: list[torch.Tensor | np.ndarray] = []
    for k in range(12):
        y = compiled(torch.full((512, 1024), float(k)))
        kept.append((y, y[3:], y.numpy(), y.numpy()[1:, ::2], np.asarray(y), y.view(-1))[k % 6])
        del y
    gc.collect()
    for k, value in enumerate(kept):
        assert bool((torch.as_tensor(value) == 2.0 * k).all())
    del kept
    gc.collect()
    before = {compiled(torch.ones(512, 1024)).data_ptr() for _ in range(5)}
    assert len(before) <= KEPT


def test_threads_have_memory_of_their_own():
    compiled = mlc.compile(Scale(), (torch.ones(512, 1024),))
    wrong: list[int] = []

    def work(number: int) -> None:
        for k in range(30):
            value = float(number * 100 + k)
            y = compiled(torch.full((512, 1024), value))
            if not bool((y == 2 * value).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
