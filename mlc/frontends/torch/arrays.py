"""Tensors and numpy arrays, without copies where the memory allows it; torch dtypes, numpy dtypes, element types.

numpy has no bfloat16: its bits travel as uint16, and the type says what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlc.errors import DTypeError
from mlc.runtime.artifact.tensors import Memory

ELEMENT_TYPES: dict[torch.dtype, str] = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.bool: "i1",
    torch.int64: "si64",
    torch.int32: "si32",
    torch.int16: "si16",
    torch.int8: "si8",
    torch.uint8: "ui8",
    torch.uint16: "ui16",
    torch.uint32: "ui32",
    torch.uint64: "ui64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}

# c10::ScalarType: what a dtype argument is in the torch dialect
SCALAR_TYPE_NUMBERS: dict[torch.dtype, int] = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.complex32: 8,
    torch.complex64: 9,
    torch.complex128: 10,
    torch.bool: 11,
    torch.bfloat16: 15,
    torch.uint16: 27,
    torch.uint32: 28,
    torch.uint64: 29,
}

MEMORY_FORMAT_NUMBERS: dict[torch.memory_format, int] = {
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.channels_last_3d: 3,
}

LAYOUT_NUMBERS: dict[torch.layout, int] = {torch.strided: 0}


def element_type(dtype: torch.dtype) -> str:
    """The name of a dtype's element type; quantized and other exotic ones are refused."""
    try:
        return ELEMENT_TYPES[dtype]
    except KeyError:
        raise DTypeError(
            f"tensors of {dtype} cannot be compiled",
            expected=f"one of: {', '.join(str(d).removeprefix('torch.') for d in ELEMENT_TYPES)}",
        ) from None


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's memory as an array of the same strides; a copy only of conjugated or negated views."""
    tensor = tensor.detach()
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    return tensor.numpy()


def borrowed(tensor: torch.Tensor) -> np.ndarray:
    """`to_numpy` for the length of a call: `Tensor.numpy` would keep the tensor from being resized ever after."""
    array_type = _NUMPY_DTYPES.get(tensor.dtype)
    if array_type is None or not tensor.data_ptr() or tensor.is_conj() or tensor.is_neg():
        return to_numpy(tensor)
    return np.asarray(Memory(tensor, array_type))


REINTERPRETED = (torch.bfloat16, torch.uint8)
"""Dtypes that compiled code hands over as the bits of another one."""


def from_numpy(array: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor on the array's memory; `dtype` tells bfloat16 bits from real uint16, and uint8 from its bits as int8."""
    tensor = torch.from_numpy(array)
    return tensor.view(dtype) if dtype in REINTERPRETED else tensor


def numpy_dtype(array: np.ndarray) -> torch.dtype | None:
    """The torch dtype of an array; None when torch has none."""
    return _FROM_NUMPY.get(array.dtype)


_FROM_NUMPY: dict[np.dtype[Any], torch.dtype] = {
    torch.empty(0, dtype=d).numpy().dtype: d
    for d in (
        torch.float16,
        torch.float32,
        torch.float64,
        torch.bool,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.complex64,
        torch.complex128,
    )
}
_NUMPY_DTYPES = {dtype: array_type for array_type, dtype in _FROM_NUMPY.items()} | {torch.bfloat16: np.dtype(np.uint16)}
