"""Arrays on tensors' memory: the same elements in the same places, and the tensors as free as before."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

import mlc
from mlc.frontends.torch.arrays import ELEMENT_TYPES, borrowed, to_numpy


@pytest.mark.parametrize("dtype", ELEMENT_TYPES, ids=str)
def test_borrowed_arrays_are_those_of_numpy(dtype: torch.dtype) -> None:
    whole = torch.arange(24).reshape(3, 8).to(dtype)
    for x in (whole, whole.T[::2], whole[1:, 2:6], whole[0, 0], whole[:, :1].expand(3, 5), whole[:0]):
        got, want = borrowed(x), to_numpy(x)
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, want)
        if want.size:
            assert got.ctypes.data == want.ctypes.data and got.strides == want.strides


def test_borrowed_arrays_keep_the_memory() -> None:
    array = borrowed(torch.full((1000,), 3.0))
    gc.collect()
    assert (array == 3).all()


def test_conjugated_and_negated_views_are_copied() -> None:
    x = torch.tensor([1 + 2j, 3 - 4j])
    np.testing.assert_array_equal(borrowed(x.conj()), [1 - 2j, 3 + 4j])
    np.testing.assert_array_equal(borrowed(x.conj().imag), [-2, 4])


@pytest.mark.parametrize("open_sizes", [False, True])
def test_a_call_leaves_inputs_resizable(open_sizes: bool) -> None:
    shapes = ({0: torch.export.Dim("rows")},) if open_sizes else None
    example = (torch.randn(3, 4),)
    compiled = mlc.compile(torch.nn.Tanh(), example, dynamic_shapes=shapes)
    for _ in range(3):
        x = torch.randn(3, 4)
        torch.testing.assert_close(compiled(x), x.tanh())
        x.resize_(5, 5)
    example[0].resize_(5, 5)
