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
    memory = ReusedMemory((4, 8), torch.float32)
    tensor = memory.take()
    first = tensor.data_ptr()
    other = memory.take()
    assert other.data_ptr() != first and tensor._base is None and tensor._version == 0
    view, storage, array = tensor[1:].t(), tensor.untyped_storage(), tensor.numpy()
    del tensor
    assert memory.take().data_ptr() != first
    del view
    assert memory.take().data_ptr() != first
    del storage
    assert memory.take().data_ptr() != first
    del array
    assert first in {x.data_ptr() for x in [memory.take() for _ in range(3)]}
    many = [memory.take() for _ in range(6)]
    assert len({x.data_ptr() for x in many}) == 6
    del many
    assert len(memory._blocks) == KEPT


def test_results_can_be_resized():
    compiled = mlc.compile(Scale())
    x = torch.ones(512, 1024)
    for _ in range(4):
        y = compiled(x)
        assert torch.equal(y.resize_(1024, 1024)[:512], x * 2)
        z = compiled(x)
        z.untyped_storage().resize_(0)
        out = compiled(x)
        assert torch.equal(torch.add(torch.ones(600, 1024), 1, out=out), torch.full((600, 1024), 2.0))
        assert torch.equal(compiled(x), x * 2)


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


def test_inputs_can_be_resized_after_a_call():
    compiled = mlc.compile(lambda x: {"y": x.to(torch.float32) * 2})
    for dtype in (torch.float32, torch.bfloat16, torch.bool, torch.uint8, torch.int64):
        x = torch.ones(3, 4).to(dtype)
        for given in (x, x.t(), x[:, ::2], torch.ones(0, 4).to(dtype)):
            assert torch.equal(compiled(given)["y"], given.to(torch.float32) * 2)
        assert x.resize_(5, 5).shape == (5, 5)


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
