"""Kernels that fill memory with the same value, and what one that serves all of them leaves open.

    memref<1x8x1x58x8xf32, strided<[215296, 26912, 464, 8, 1]>>
    memref<1x16x1x30x8xf32, strided<[115200, 7200, 240, 8, 1]>>  ->  memref<1x?x1x?x8xf32, strided<[?, ?, ?, 8, 1]>>

A padded image is filled along its borders: two small kernels for each size of image, a third of all kernels of some
models. Elements side by side (the last dimension) stay as they are, and so do sizes of 1: the code is as good.
Part of `share_kernels.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

from xdsl.dialects import arith, func
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, StridedLayoutAttr
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Attribute

T = TypeVar("T")


@dataclass(frozen=True)
class Family:
    """Kernels that one can serve whose arguments are of `types`, of at most these sizes. `sizes`: of each member."""

    members: list[func.FuncOp]
    types: Sequence[Attribute]
    at_most: Sequence[Sequence[int] | None]
    sizes: list[int]
    rule: str


def is_fill(kernel: func.FuncOp) -> bool:
    """Whether `kernel` does nothing but fill its only argument with a constant."""
    args, ops = kernel.body.block.args, list(kernel.body.block.ops)
    kinds = arith.ConstantOp, FillOp, func.ReturnOp
    return (
        len(ops) == len(kinds)
        and all(isinstance(op, kind) for op, kind in zip(ops, kinds, strict=True))
        and len(args) == 1
        and isinstance(args[0].type, MemRefType)
        and DYNAMIC_INDEX not in args[0].type.get_shape()
    )


def fill_families(kernels: Iterable[func.FuncOp], least: int) -> list[Family]:
    """Families of kernels of `is_fill`, of `least` members each, in order of their first members."""
    groups: dict[Hashable, list[func.FuncOp]] = {}
    for kernel in kernels:
        type_ = _filled(kernel)
        strides, shape = type_.get_strides(), type_.get_shape()
        if strides is not None and strides and strides[-1] == 1:
            value = kernel.body.block.first_op
            assert isinstance(value, arith.ConstantOp)
            units = tuple(n == 1 for n in shape)
            about = (kernel.arg_attrs, tuple(sorted(kernel.attributes.items())))
            key = value.value, type_.element_type, type_.memory_space, units, shape[-1], about
            groups.setdefault(key, []).append(kernel)
    return [_family(members) for members in groups.values() if len(members) >= least]


def _filled(kernel: func.FuncOp) -> MemRefType:
    type_ = kernel.body.block.args[0].type
    assert isinstance(type_, MemRefType)
    return type_


def _family(members: list[func.FuncOp]) -> Family:
    types = [_filled(m) for m in members]
    shapes = [tuple(t.get_shape()) for t in types]
    strides = [_same(column) for column in zip(*(t.get_strides() or () for t in types), strict=True)]
    offset = _same([_offset(t) for t in types])
    shape = [DYNAMIC_INDEX if (n := _same(column)) is None else n for column in zip(*shapes, strict=True)]
    opened = MemRefType(types[0].element_type, shape, StridedLayoutAttr(strides, offset), types[0].memory_space)
    most = [max(column) for column in zip(*shapes, strict=True)]
    return Family(members, [opened], [most], [prod(s) for s in shapes], "fill")


def _same(values: Sequence[T]) -> T | None:
    """What all are, or None."""
    return values[0] if all(v == values[0] for v in values) else None


def _offset(type_: MemRefType) -> int | None:
    return type_.layout.get_offset() if isinstance(type_.layout, StridedLayoutAttr) else 0
