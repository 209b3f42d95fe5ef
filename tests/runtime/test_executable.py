"""What a call refuses before the compiled code runs."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from mlc.errors import LimitError, ShapeError
from mlc.runtime.executable import Executable, NativeCode, TensorSpec, aligned_empty


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


@pytest.mark.parametrize("nbytes", [1 << 50, (1 << 63) - 65, -1 << 20])
def test_memory_that_is_not_there(nbytes: int) -> None:
    """An arena of more bytes than there are, or whose size overflowed."""
    with pytest.raises(LimitError, match="there is no memory for what the model keeps while it runs"):
        aligned_empty(nbytes)


@pytest.mark.parametrize("rows", [1 << 46, 1 << 61])
def test_results_that_fit_no_memory_are_refused(rows: int) -> None:
    """The code says that its result has `rows` rows."""
    forward = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5)(lambda *_: 0)
    arena_size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(lambda _: 64)

    @ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_int64))
    def output_dims(dims: ctypes.Array[ctypes.c_int64], out: ctypes.Array[ctypes.c_int64]) -> None:
        out[0] = rows  # pyright: ignore[reportArgumentType]

    addresses = [ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (forward, arena_size, output_dims)]
    code = NativeCode(*addresses, owner=(forward, arena_size, output_dims))
    specs = [(TensorSpec((None, 4), np.dtype(np.float32), name),) for name in ("x", "out")]
    with pytest.raises(LimitError, match=rf"there is no memory for result 0: float32\[{rows}, 4\]"):
        Executable(code, *specs, constants=[]).run([np.zeros((3, 4), np.float32)])


@pytest.mark.parametrize("rows", [3, None])
def test_an_arena_whose_size_overflowed_is_refused(rows: int | None) -> None:
    ran: list[int] = []
    forward = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5)(lambda *_: ran.append(1) or 0)
    arena_size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(lambda _: -4096)
    addresses = [ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (forward, arena_size)]
    code = NativeCode(*addresses, output_dims=None, owner=(forward, arena_size))
    executable = Executable(
        code, (TensorSpec((rows, 4), np.dtype(np.float32)),), (TensorSpec((4,), np.dtype(np.float32)),), constants=[]
    )
    with pytest.raises(LimitError, match="there is no memory for what the model keeps"):
        executable.run([np.zeros((3, 4), np.float32)])
    if rows:
        with pytest.raises(LimitError, match="there is no memory for what the model keeps"):
            executable.new_frame()
    assert not ran
