"""What a call refuses before the compiled code runs."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from mlc.errors import ShapeError
from mlc.runtime.executable import Executable, NativeCode, TensorSpec


def test_results_of_negative_size_are_refused() -> None:
    """The code says that its result has two rows less than its input."""
    ran: list[int] = []
    forward = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5)(lambda *_: ran.append(1) or 0)
    arena_size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(lambda _: 64)

    @ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_int64))
    def output_dims(dims: ctypes.Array[ctypes.c_int64], out: ctypes.Array[ctypes.c_int64]) -> None:
        out[0] = dims[0] - 2  # pyright: ignore[reportArgumentType]

    addresses = [ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (forward, arena_size, output_dims)]
    code = NativeCode(*addresses, owner=(forward, arena_size, output_dims))
    specs = [(TensorSpec((None, 4), np.dtype(np.float32), name),) for name in ("x", "out")]
    executable = Executable(code, *specs, constants=[])
    assert executable.run([np.zeros((3, 4), np.float32)])[0].shape == (1, 4) and ran == [1]
    with pytest.raises(ShapeError, match=r"result 0 would have the shape \[-1, 4\]"):
        executable.run([np.zeros((1, 4), np.float32)])
    assert ran == [1]
