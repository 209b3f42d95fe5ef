"""Tensors of torch and arrays of numpy at the boundary of a saved model. torch is found, never imported: a caller who
passes a tensor has imported it.

    as_array("x", torch.ones(2, dtype=torch.bfloat16))   -->   array([16256, 16256], dtype=uint16)

numpy has no bfloat16: its bits travel as uint16, and arrays of ml_dtypes' bfloat16 are taken too.
Tests: tests/artifact/test_load.py
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mlc.errors import DTypeError, MlcError, UnsupportedError, UsageError

ARRAY_TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
        "float64", "complex64", "complex128",
    )
} | {"bfloat16": np.dtype(np.uint16)}  # fmt: skip
"""Element types by torch's names, as what numpy holds them."""


def torch_module() -> Any:
    """torch, where this process has imported it."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "Tensor") else None


def is_tensor(value: object) -> bool:
    """Whether it is a tensor of torch."""
    torch = torch_module()
    return torch is not None and isinstance(value, torch.Tensor)


def dtype_name(value: Any) -> str:
    """`float32` of a tensor or an array."""
    return str(value.dtype).removeprefix("torch.")


def strides(value: Any) -> tuple[int, ...]:
    """In elements."""
    if isinstance(value, np.ndarray):
        return tuple(s // max(1, value.itemsize) for s in value.strides)
    return tuple(value.stride())


def describe(value: Any) -> str:
    """`float32[4, 6]` of a tensor or an array, the class of anything else."""
    if is_tensor(value) or isinstance(value, np.ndarray):
        try:
            return f"{dtype_name(value)}{list(value.shape)}"
        except RuntimeError:  # nested tensors have no shape
            return type(value).__name__
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def refusal(name: str, value: Any) -> MlcError | None:
    """Why this tensor or array can be no input of compiled code; None when it can."""
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            return UnsupportedError(
                f"argument '{name}' is a masked array", expected="a plain array", hint=f"pass {name}.filled(0)"
            )
        swapped = value.dtype.newbyteorder("=") != value.dtype
        if swapped or dtype_name(value) not in ARRAY_TYPES:
            return DTypeError(
                f"argument '{name}' is an array of {value.dtype}",
                expected=f"one of: {', '.join(ARRAY_TYPES)}",
                hint=f"pass {name}.astype({str(value.dtype.newbyteorder('='))!r}): its bytes are in another order than "
                "this machine's"
                if swapped
                else None,
            )
        return None
    torch = torch_module()
    plain = type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout is torch.strided
    if not plain or value.is_nested or value.is_quantized or torch._C._functorch.is_functorch_wrapped_tensor(value):
        return UnsupportedError(
            f"argument '{name}' is {describe(value)} ({type(value).__name__}, {value.layout})",
            expected="a dense tensor of plain numbers",
        )
    if value.device.type != "cpu":
        return DTypeError(
            f"argument '{name}' is on device '{value.device}'", expected="device 'cpu'", hint=f"pass {name}.cpu()"
        )
    if not value.data_ptr() and value.numel():
        return UsageError(f"argument '{name}' has no memory: its storage was freed", expected="a tensor with data")
    if dtype_name(value) not in ARRAY_TYPES:
        return DTypeError(f"argument '{name}' has dtype {value.dtype}", expected=f"one of: {', '.join(ARRAY_TYPES)}")
    if value.requires_grad and torch.is_grad_enabled():
        return UnsupportedError(
            f"input '{name}' requires a gradient, which compiled code does not record",
            hint=f"call under torch.no_grad(), or pass {name}.detach()",
        )
    return None


class Memory:
    """Keeps a tensor as long as an array on its memory lives: `Tensor.numpy` would keep it from ever being resized."""

    def __init__(self, tensor: Any, array_type: np.dtype[Any]) -> None:
        self.tensor = tensor
        self.__array_interface__ = {
            "data": (tensor.data_ptr(), False),
            "shape": tuple(tensor.shape),
            "strides": tuple(s * array_type.itemsize for s in tensor.stride()),
            "typestr": array_type.str,
            "version": 3,
        }


def as_array(name: str, value: Any) -> np.ndarray:
    """The memory of a tensor or an array, with its strides; a copy only of conjugated or negated tensors.

    Raises the error of `refusal`.
    """
    wrong = refusal(name, value)
    if wrong is not None:
        raise wrong
    array_type = ARRAY_TYPES[dtype_name(value)]
    if isinstance(value, np.ndarray):
        return value if value.dtype == array_type else value.view(array_type)
    value = value.detach()
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    if not value.data_ptr():
        return np.empty(tuple(value.shape), array_type)
    return np.asarray(Memory(value, array_type))


def as_tensor(array: np.ndarray, dtype: str) -> Any:
    """A tensor of torch on the array's memory; `dtype` by torch's name."""
    torch = torch_module()
    if dtype == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
