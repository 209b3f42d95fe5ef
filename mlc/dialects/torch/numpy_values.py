"""How torch values look in numpy, and the door through which ATen semantics are registered.

    @aten("relu")
    def relu(c: Call, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0)

A tensor is a numpy array of its dtype (bf16 is carried in float32, rounded after each op), a list a Python list, a
number, string or None the Python value. A function gets the arguments in schema order and may compute in a wider
dtype: its results are rounded once to the result type, which is the op's own where it says one and the inferred one
otherwise.
Floats are computed in float64 unless noted, so a result is the exact one rounded, up to float64's own error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, ComplexType, Float64Type, IntegerType
from xdsl.ir import Attribute, Operation

from mlc.arrays.bfloat16 import round_bf16
from mlc.dialects.torch.aten import AtenOp
from mlc.dialects.torch.inference import infer_raw
from mlc.dialects.torch.promotion import result_type
from mlc.dialects.torch.shapes import wrap_dim
from mlc.dialects.torch.types import (
    BaseTensorType,
    VTensorType,
    complex64,
    complex128,
    f16,
    f32,
    f64,
    i1,
    si8,
    si16,
    si32,
    si64,
    ui8,
    ui16,
    ui32,
    ui64,
)
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.ir.semantics import Args, Runner, fail, semantics
from mlc.ir.values import dtype_of

_ELEMENT_TYPES: dict[str, Attribute] = {
    "float32": f32,
    "float64": f64,
    "float16": f16,
    "bool": i1,
    "int8": si8,
    "int16": si16,
    "int32": si32,
    "int64": si64,
    "uint8": ui8,
    "uint16": ui16,
    "uint32": ui32,
    "uint64": ui64,
    "complex64": complex64,
    "complex128": complex128,
}

# Domains whose floats are numpy floats; the others carry residues or pairs that ATen's functions do not know.
_PLAIN_DOMAINS = ("ieee", "integers")


def numpy_dtype(element_type: Attribute) -> np.dtype[Any]:
    """The dtype of arrays of an element type; bf16 is carried in float32."""
    if isinstance(element_type, ComplexType):
        return np.dtype(np.complex128 if isinstance(element_type.element_type, Float64Type) else np.complex64)
    return dtype_of(element_type)


def element_type_of(array: np.ndarray) -> Attribute:
    """The element type of an array (float32 for bf16 carried in it)."""
    return _ELEMENT_TYPES[array.dtype.name]


def round_to(value: Any, element_type: Attribute) -> np.ndarray:
    """`value` converted to an element type, rounded once (half to even), floats to ints towards zero."""
    array = np.asarray(value)
    dtype = numpy_dtype(element_type)
    with np.errstate(all="ignore"):
        if isinstance(element_type, BFloat16Type):
            return np.asarray(round_bf16(_to_odd_f32(array)))
        if dtype.kind in "iu" and array.dtype.kind == "f":
            return array.astype(np.int64).astype(dtype)
        if dtype.kind != "c" and array.dtype.kind == "c":
            array = np.real(array)
        return array.astype(dtype)


def _to_odd_f32(array: np.ndarray) -> np.ndarray:
    """float64 to float32 rounded to odd, so that a second rounding to bf16 is as good as one."""
    if array.dtype != np.float64:
        return array.astype(np.float32)
    near = array.astype(np.float32)
    inexact = np.isfinite(near) & (near.astype(np.float64) != array)
    toward = np.where(np.abs(near.astype(np.float64)) > np.abs(array), np.nextafter(near, np.float32(0)), near)
    bits = toward.astype(np.float32).view(np.uint32)
    return np.where(inexact, (bits | np.uint32(1)).view(np.float32), near).astype(np.float32)


def wide(x: Any) -> Any:
    """Floats as float64, complex numbers as complex128, ints and bools as float64: to compute in."""
    array = np.asarray(x)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


class Call:
    """One run of an ATen op: its result types, and what is asked of the engine."""

    def __init__(self, op: Operation, name: str, arguments: Sequence[Any], run: Runner) -> None:
        self.op = op
        self.run = run
        self._name = name
        self._arguments = arguments
        self._types = [_abstract(a, t) for a, t in zip(arguments, op.operand_types, strict=True)]
        self._results: tuple[Any, ...] | None = None

    @property
    def results(self) -> tuple[Any, ...]:
        """Inferred result types for the actual shapes."""
        if self._results is None:
            self._results = infer_raw(self._name, self._types)
        return self._results

    def element(self, number: int = 0) -> Attribute:
        """Element type of a tensor result."""
        declared = self.op.results[number].type
        if isinstance(declared, BaseTensorType) and declared.element_type is not None:
            return declared.element_type
        inferred = self.results[number]
        if isinstance(inferred, BaseTensorType) and inferred.element_type is not None:
            return inferred.element_type
        raise UnsupportedError(
            f"the dtype of result {number} of '{self.op.name}' is not known",
            where=format_location(self.op.location) or None,
        )

    def dtype(self, number: int = 0) -> np.dtype[Any]:
        """Numpy dtype of a tensor result."""
        return numpy_dtype(self.element(number))

    def shape(self, number: int = 0) -> tuple[int, ...]:
        """Inferred shape of a tensor result."""
        return self.results[number].shape

    def common(self, *positions: int) -> Attribute:
        """Element type that arguments promote to."""
        return result_type(self._types[p] for p in positions)

    def argument_element(self, position: int) -> Attribute:
        """Element type of a tensor argument."""
        return self._types[position].element_type

    def fail(self, message: str) -> Any:
        """The program did something that PyTorch refuses."""
        fail(self.op, message)


def _abstract(value: Any, declared: Attribute) -> Any:
    """A run-time value as inference sees it."""
    if isinstance(value, np.ndarray | np.generic):
        element = declared.element_type if isinstance(declared, BaseTensorType) else None
        return VTensorType.get(np.shape(value), element or element_type_of(np.asarray(value)))
    if isinstance(value, list | tuple):
        return [_abstract(v, _inner(declared)) for v in value]
    return value


def _inner(declared: Attribute) -> Attribute:
    inner = getattr(declared, "contained", declared)
    return inner if isinstance(inner, Attribute) else declared


AtenFn = Callable[..., Any]
MEANINGS: dict[str, AtenFn] = {}


def aten(names: str) -> Callable[[AtenFn], AtenFn]:
    """Register the meaning of `torch.aten.<name>` for each word of `names`."""
    return torch_semantics(" ".join(f"aten.{name}" for name in names.split()))


def torch_semantics(names: str) -> Callable[[AtenFn], AtenFn]:
    """Register the meaning of `torch.<name>` for each word of `names`."""

    def register(fn: AtenFn) -> AtenFn:
        for name in names.split():
            MEANINGS[name] = fn
            semantics(f"torch.{name}")(_wrap(name, fn))
        return fn

    return register


def _wrap(name: str, fn: AtenFn) -> Callable[[Operation, Args, Runner], tuple[Any, ...]]:
    def meaning(op: Operation, args: Args, run: Runner) -> tuple[Any, ...]:
        assert isinstance(op, AtenOp)
        if run.domain.name not in _PLAIN_DOMAINS:
            raise UnsupportedError(
                f"'{op.name}' runs on IEEE floats only, not in the domain '{run.domain.name}'",
                where=format_location(op.location) or None,
                hint="lower to the linalg level first",
            )
        call = Call(op, name, args, run)
        try:
            with np.errstate(all="ignore"):
                out = fn(call, *args)
        except (ValueError, IndexError, ZeroDivisionError) as error:  # what numpy says of shapes that do not fit
            fail(op, str(error))
        if not op.results:
            return ()
        values = out if isinstance(out, tuple) else (out,)
        return tuple(_finish(call, i, v) for i, v in enumerate(values))

    return meaning


def _finish(call: Call, number: int, value: Any) -> Any:
    """Tensors rounded to the result type; lists of tensors and Python values as they are."""
    if isinstance(value, np.ndarray | np.generic):
        return round_to(value, call.element(number))
    return value


def is_float(array: Any) -> bool:
    """Whether an array holds floats or complex numbers."""
    return np.asarray(array).dtype.kind in "fc"


def is_mask(element_type: Attribute) -> bool:
    """Bool, or ui8 in its old role of a bool."""
    return isinstance(element_type, IntegerType) and (element_type.width.data == 1 or element_type == ui8)


def axis(dim: int, rank: int) -> int:
    """A dimension argument as a number from 0; a scalar counts as one-dimensional."""
    return wrap_dim(dim, rank)


def axes(dim: Any, rank: int) -> tuple[int, ...]:
    """Reduced dimensions: all of them for None or an empty list."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(rank))
    listed = dim if isinstance(dim, list | tuple) else [dim]
    return tuple(axis(d, rank) for d in listed) if rank else ()


def pair(values: Any, count: int) -> list[int]:
    """A list argument of one number or `count` of them, as `count` numbers."""
    items = list(values) if isinstance(values, list | tuple) else [values]
    return items * count if len(items) == 1 else items
