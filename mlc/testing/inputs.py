"""Inputs for a program: arrays by argument type, drawn from the program's seed. Dynamic dims take several sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, IntAttr, IntegerType, MemRefType, StridedLayoutAttr
from xdsl.ir import Attribute

from mlc.dialects.torch.types import VTensorType
from mlc.ir.memory import Buffer, Storage, row_major
from mlc.ir.semantics import Domain
from mlc.ir.values import DYNAMIC, byte_size, dtype_of, element_type, is_float, static_shape
from mlc.testing.program import Program

Kind = Literal["normal", "edge", "integers"]

EDGES = (-0.0, 0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-38, 3.4e38, -3.4e38, 0.5, 2.5)
"""Minus zero twice: it alone tells `x + 0.0` from `x`."""
INT_EDGES = (0, 1, -1, 2, 127, -128)
DENSITIES = (0.15, 0.15, 0.6)
"""Share of edges among the elements of an array: few, so that sums stay numbers, or so many that each one comes up."""
DYNAMIC_SIZES = (3, 1, 5, 0)


@dataclass
class MemRefInput:
    """A buffer argument: the storage's contents, and where in it the elements lie."""

    data: np.ndarray
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    element: Attribute

    def buffer(self, domain: Domain) -> Buffer:
        """A fresh copy as the interpreter's value."""
        storage = Storage(self.data.size * byte_size(self.element))
        whole = Buffer(storage, self.element, domain, 0, 0, (self.data.size,), (1,))
        value = domain.constant(self.data, self.element) if is_float(self.element) else self.data
        whole.write(value)
        return whole.with_layout(self.offset, self.sizes, self.strides)

    def stored(self) -> np.ndarray:
        """A fresh copy as it lies in memory: bf16 as its bits."""
        if isinstance(self.element, BFloat16Type):
            return (self.data.view(np.uint32) >> 16).astype(np.uint16)
        return self.data.copy()

    def read(self, stored: np.ndarray) -> np.ndarray:
        """What `stored` holds, as values: bf16 in float32."""
        if isinstance(self.element, BFloat16Type):
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return stored


def argument_types(program: Program) -> list[Attribute]:
    """Types of the entry's parameters."""
    return list(program.signature.inputs.data)


def make_inputs(program: Program, kind: Kind, variant: int = 0) -> list[Any]:
    """One input per parameter; `variant` picks the size of dynamic dims."""
    rng = np.random.default_rng([program.seed, variant])
    size = DYNAMIC_SIZES[variant % len(DYNAMIC_SIZES)]
    return [_input(program, k, t, kind, size, rng) for k, t in enumerate(argument_types(program))]


def _input(program: Program, k: int, t: Attribute, kind: Kind, size: int, rng: np.random.Generator) -> Any:
    limits = program.int_limits.get(k)
    if isinstance(t, MemRefType):
        return _memref(t, kind, program.sizes.get(k), size, rng, limits)
    if isinstance(t, VTensorType):
        assert t.shape is not None and t.element_type is not None
        return values(tuple(size if d is None else d for d in t.shape), t.element_type, kind, rng, limits)
    shape = tuple(size if d == DYNAMIC else d for d in static_shape(t))
    out = values(shape, element_type(t), kind, rng, limits)
    return out if shape or hasattr(t, "shape") else out[()]


def values(
    shape: tuple[int, ...], e: Attribute, kind: Kind, rng: np.random.Generator, limits: tuple[int, int] | None = None
) -> np.ndarray:
    """Elements of a type: floats by kind, ints small with the ends of their range among the edges, bools."""
    dtype = dtype_of(e)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        if limits is not None:
            return rng.integers(limits[0], limits[1] + 1, shape).astype(dtype)
        out = rng.integers(-9, 10, shape).astype(dtype)
        if kind == "edge" and isinstance(e, IntegerType):
            ends = np.iinfo(dtype)
            edges = [n for n in (*INT_EDGES, ends.min, ends.max) if ends.min <= n <= ends.max]
            chosen = rng.choice(np.array(edges, dtype), shape)
            out = np.where(rng.random(shape) < rng.choice(DENSITIES), chosen, out)
        return out
    if kind == "integers":
        return rng.integers(-3, 4, shape).astype(dtype)
    out = rng.standard_normal(shape) * np.exp2(rng.integers(-2, 3, shape))
    if kind == "edge":
        out = np.where(rng.random(shape) < rng.choice(DENSITIES), rng.choice(EDGES, shape), out)
    with np.errstate(over="ignore"):
        return np.asarray(out, dtype=dtype)


def _memref(
    t: MemRefType,
    kind: Kind,
    known: tuple[int, ...] | None,
    size: int,
    rng: np.random.Generator,
    limits: tuple[int, int] | None,
) -> MemRefInput:
    """Storage around a window: strides and offset as the type says, with gaps where it leaves them open."""
    sizes = known if known is not None else tuple(size if d == DYNAMIC else d for d in t.get_shape())
    layout = t.layout if isinstance(t.layout, StridedLayoutAttr) else None
    offset = 0
    strides = list(row_major(sizes))
    if layout is not None:
        said = layout.offset
        offset = said.data if isinstance(said, IntAttr) else int(rng.integers(0, 20))
        step = 1
        for d in reversed(range(len(sizes))):
            own = layout.strides.data[d]
            strides[d] = own.data if isinstance(own, IntAttr) else step + int(rng.integers(0, 3))
            step = max(step, strides[d] * max(1, sizes[d]))
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    total = 0 if 0 in sizes else last + 1 + int(rng.integers(0, 4)) * (layout is not None)
    e = element_type(t)
    return MemRefInput(values((total,), e, kind, rng, limits), offset, sizes, tuple(strides), e)
