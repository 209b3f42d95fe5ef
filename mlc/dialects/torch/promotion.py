"""PyTorch's type promotion: which dtype a result has.

Three kinds of operands, by priority: tensors with dimensions, 0-d tensors, Python numbers. A lower kind
raises the result only when its category (bool < integer < float < complex) is higher.

    result_type([f16 tensor<2>, 3.5])      = f16
    result_type([si64 tensor<2>, 3.5])     = f32
    result_type([f32 tensor<>, f64 tensor<2>]) = f64
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xdsl.dialects.builtin import ComplexType, Float16Type, IntegerType, Signedness
from xdsl.ir import Attribute

from mlc.dialects.torch.types import (
    BaseTensorType,
    TorchBoolType,
    TorchFloatType,
    TorchIntType,
    bf16,
    complex32,
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

DEFAULT_FLOAT = f32
"""`torch.get_default_dtype()`: mlc compiles for PyTorch's default."""

BOOLEAN, INTEGER, FLOATING, COMPLEX = range(4)

# c10::ScalarType numbers, as they stand in `dtype` arguments.
SCALAR_TYPES: dict[int, Attribute] = {
    0: ui8,
    1: si8,
    2: si16,
    3: si32,
    4: si64,
    5: f16,
    6: f32,
    7: f64,
    8: complex32,
    9: complex64,
    10: complex128,
    11: i1,
    15: bf16,
    27: ui16,
    28: ui32,
    29: ui64,
}
SCALAR_TYPE_OF: dict[Attribute, int] = {type: number for number, type in SCALAR_TYPES.items()}


class CannotInfer(Exception):
    """The result depends on something that is not known before the program runs."""


def category(dtype: Attribute) -> int:
    """Where a dtype stands in bool < integer < float < complex."""
    if isinstance(dtype, IntegerType):
        return BOOLEAN if dtype.width.data == 1 else INTEGER
    return COMPLEX if isinstance(dtype, ComplexType) else FLOATING


def _float_rank(dtype: Attribute) -> int:
    return {f64: 3, f32: 2, f16: 1, bf16: 1}[dtype]


def promote(a: Attribute, b: Attribute) -> Attribute:
    """`torch.promote_types`."""
    if a == b:
        return a
    high, low = (a, b) if category(a) >= category(b) else (b, a)
    if category(high) == COMPLEX:
        part = high.element_type if isinstance(high, ComplexType) else f32
        other = low.element_type if isinstance(low, ComplexType) else low
        return ComplexType(_promote_floats(part, other) if category(other) == FLOATING else part)  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]
    if category(high) == FLOATING:
        return _promote_floats(high, low) if category(low) == FLOATING else high
    if category(low) == BOOLEAN:
        return high
    return _promote_ints(a, b)


def _promote_floats(a: Attribute, b: Attribute) -> Attribute:
    if a == b:
        return a
    if _float_rank(a) == _float_rank(b):
        return f32  # f16 with bf16
    return a if _float_rank(a) > _float_rank(b) else b


def _promote_ints(a: Attribute, b: Attribute) -> Attribute:
    assert isinstance(a, IntegerType) and isinstance(b, IntegerType)
    wide, narrow = (a, b) if a.width.data >= b.width.data else (b, a)
    if a.signedness == b.signedness:
        return wide
    if wide.signedness.data == Signedness.SIGNED and wide.width.data > narrow.width.data:
        return wide
    widths = {8: si16}  # ui8 with si8; larger unsigned types do not promote with signed ones
    if wide.width.data in widths:
        return widths[wide.width.data]
    raise CannotInfer(f"no common type of {a} and {b}")


def scalar_dtype(value: Any) -> Attribute:
    """The dtype that a Python number, or the type of a number not known, stands for."""
    kind = getattr(value, "type", None)
    if isinstance(value, bool) or isinstance(kind, TorchBoolType):
        return i1
    if isinstance(value, int) or isinstance(kind, TorchIntType):
        return si64
    if isinstance(value, float) or isinstance(kind, TorchFloatType):
        return DEFAULT_FLOAT
    if isinstance(value, complex):
        return ComplexType(DEFAULT_FLOAT)
    raise CannotInfer(f"the kind of number {value} is not known")


def tensor_dtype(t: BaseTensorType) -> Attribute:
    """A tensor's element type; CannotInfer when unknown."""
    if t.element_type is None:
        raise CannotInfer("element type unknown")
    return t.element_type


def _combine(higher: Attribute | None, lower: Attribute | None) -> Attribute | None:
    if higher is None or lower is None:
        return lower if higher is None else higher
    if category(higher) == COMPLEX:
        return higher
    if category(higher) == FLOATING:
        return ComplexType(higher) if category(lower) == COMPLEX else higher  # pyright: ignore[reportArgumentType]
    if category(higher) == BOOLEAN or category(lower) >= FLOATING:
        return promote(higher, lower)
    return higher


def result_type(operands: Iterable[Any]) -> Attribute:
    """`torch.result_type` of tensor types and numbers; None operands are left out."""
    dimensional: Attribute | None = None
    zero: Attribute | None = None
    number: Attribute | None = None
    for operand in operands:
        if operand is None:
            continue
        if isinstance(operand, BaseTensorType):
            dtype = tensor_dtype(operand)
            if operand.shape == ():
                zero = dtype if zero is None else promote(zero, dtype)
            else:
                dimensional = dtype if dimensional is None else promote(dimensional, dtype)
        else:
            dtype = scalar_dtype(operand)
            number = dtype if number is None else promote(number, dtype)
    combined = _combine(dimensional, _combine(zero, number))
    if combined is None:
        raise CannotInfer("no operand")
    return combined


def to_float(dtype: Attribute) -> Attribute:
    """The dtype of a float function of `dtype`: ints and bools give the default float."""
    return dtype if category(dtype) >= FLOATING else DEFAULT_FLOAT


def to_real(dtype: Attribute) -> Attribute:
    """The dtype of a complex number's parts; others as they are."""
    return dtype.element_type if isinstance(dtype, ComplexType) else dtype


def to_sum(dtype: Attribute) -> Attribute:
    """The dtype of a sum or product: ints and bools give 64 bit ints."""
    return si64 if category(dtype) <= INTEGER else dtype


def is_low_precision(dtype: Attribute) -> bool:
    """f16 or bf16."""
    return isinstance(dtype, Float16Type) or dtype == bf16


def from_scalar_type(number: Any) -> Attribute:
    """The dtype of a `dtype` argument."""
    if not isinstance(number, int) or number not in SCALAR_TYPES:
        raise CannotInfer(f"dtype {number} unknown")
    return SCALAR_TYPES[number]


def scalar_type_number(dtype: Attribute) -> int:
    """The `dtype` argument that stands for a dtype."""
    return next(number for number, known in SCALAR_TYPES.items() if known == dtype)
