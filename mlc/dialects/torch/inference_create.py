"""Result types of ops that make tensors."""

from __future__ import annotations

import math
from typing import Any

from mlc.dialects.torch.inference import Unknown, aten, infers
from mlc.dialects.torch.promotion import (
    DEFAULT_FLOAT,
    FLOATING,
    INTEGER,
    category,
    from_scalar_type,
    scalar_dtype,
)
from mlc.dialects.torch.shapes import known, like, size_of, sizes_of, tensor
from mlc.dialects.torch.types import si64


def _dtype(dtype: Any, otherwise: Any) -> Any:
    return otherwise if known(dtype) is None else from_scalar_type(dtype)


@infers(*aten("zeros ones empty.memory_format rand randn empty_permuted rand.generator randn.generator"))
def create(size: Any, *options: Any) -> Any:
    """The default float, or the dtype asked for."""
    dtype = next((o for o in options if isinstance(o, int) and not isinstance(o, bool)), None)
    return tensor(sizes_of(size), _dtype(dtype, DEFAULT_FLOAT))


@infers(*aten("empty_strided"))
def empty_strided(size: Any, _stride: Any, dtype: Any = None, *_: Any) -> Any:
    """The default float, or the dtype asked for."""
    return tensor(sizes_of(size), _dtype(dtype, DEFAULT_FLOAT))


@infers(*aten("full"))
def full(size: Any, value: Any, dtype: Any = None, *_: Any) -> Any:
    """The value's kind, or the dtype asked for."""
    return tensor(sizes_of(size), from_scalar_type(dtype) if known(dtype) is not None else scalar_dtype(value))


@infers(*aten("scalar_tensor"))
def scalar_tensor(_value: Any, dtype: Any = None, *_: Any) -> Any:
    """The default float, or the dtype asked for."""
    return tensor((), _dtype(dtype, DEFAULT_FLOAT))


@infers("prim.NumToTensor.Scalar", "prim.NumToTensor.bool")
def num_to_tensor(value: Any) -> Any:
    """A 0-d tensor of the number's kind; floats as doubles."""
    dtype = scalar_dtype(value)
    return tensor((), from_scalar_type(7) if category(dtype) == FLOATING else dtype)


@infers(*aten("zeros_like ones_like empty_like rand_like randn_like"))
def create_like(x: Any, dtype: Any = None, *_: Any) -> Any:
    """Shape and dtype of the tensor, or the dtype asked for."""
    return like(x, dtype=None if known(dtype) is None else from_scalar_type(dtype))


@infers(*aten("full_like randint_like"))
def full_like(x: Any, _value: Any, dtype: Any = None, *_: Any) -> Any:
    """Shape and dtype of the tensor, or the dtype asked for."""
    return create_like(x, dtype)


@infers(*aten("new_zeros new_ones new_empty"))
def new(x: Any, size: Any, dtype: Any = None, *_: Any) -> Any:
    """Another shape, the tensor's dtype or the one asked for."""
    return create_like(like(x, sizes_of(size)), dtype)


@infers(*aten("new_full new_empty_strided"))
def new_full(x: Any, size: Any, _value: Any, dtype: Any = None, *_: Any) -> Any:
    """Another shape, the tensor's dtype or the one asked for."""
    return new(x, size, dtype)


def _arange(start: Any, end: Any, step: Any, dtype: Any) -> Any:
    numbers = (start, end, step)
    if known(dtype) is not None:
        wanted = from_scalar_type(dtype)
    else:
        ints = all(category(scalar_dtype(n)) <= INTEGER for n in numbers)
        wanted = si64 if ints else DEFAULT_FLOAT
    if any(isinstance(n, Unknown) for n in numbers):
        return tensor((None,), wanted)
    return tensor((max(0, math.ceil((end - start) / step)),), wanted)


@infers(*aten("arange"))
def arange(end: Any, dtype: Any = None, *_: Any) -> Any:
    """From 0 by 1."""
    return _arange(0, end, 1, dtype)


@infers(*aten("arange.start"))
def arange_start(start: Any, end: Any, dtype: Any = None, *_: Any) -> Any:
    """By 1."""
    return _arange(start, end, 1, dtype)


@infers(*aten("arange.start_step"))
def arange_step(start: Any, end: Any, step: Any = 1, dtype: Any = None, *_: Any) -> Any:
    """Every number from start to before end."""
    return _arange(start, end, step, dtype)


@infers("prims.iota")
def iota(length: Any, start: Any, step: Any, dtype: Any, device: Any, requires_grad: Any) -> Any:
    """`length` numbers."""
    return tensor((size_of(length),), from_scalar_type(known(dtype)))


@infers(*aten("linspace"))
def linspace(_start: Any, _end: Any, steps: Any, dtype: Any = None, *_: Any) -> Any:
    """`steps` numbers."""
    return tensor((size_of(steps),), _dtype(dtype, DEFAULT_FLOAT))


@infers(*aten("eye"))
def eye(n: Any, dtype: Any = None, *_: Any) -> Any:
    """Square."""
    return tensor((size_of(n), size_of(n)), _dtype(dtype, DEFAULT_FLOAT))


@infers(*aten("eye.m"))
def eye_m(n: Any, m: Any, dtype: Any = None, *_: Any) -> Any:
    """Rectangular."""
    return tensor((size_of(n), size_of(m)), _dtype(dtype, DEFAULT_FLOAT))


@infers(*aten("randint"))
def randint(_high: Any, size: Any, dtype: Any = 4, *_: Any) -> Any:
    """64 bit ints, or the dtype asked for."""
    return tensor(sizes_of(size), _dtype(dtype, si64))


@infers(*aten("randint.low"))
def randint_low(_low: Any, _high: Any, size: Any, dtype: Any = 4, *_: Any) -> Any:
    """64 bit ints, or the dtype asked for."""
    return tensor(sizes_of(size), _dtype(dtype, si64))


@infers(*aten("randperm"))
def randperm(n: Any, dtype: Any = 4, *_: Any) -> Any:
    """`n` numbers."""
    return tensor((size_of(n),), _dtype(dtype, si64))


@infers(*aten("tril_indices triu_indices"))
def triangle_indices(_rows: Any, _columns: Any, _offset: Any = 0, dtype: Any = 4, *_: Any) -> Any:
    """Row and column numbers of a triangle."""
    return tensor((2, None), _dtype(dtype, si64))
