"""Reference semantics of `memref`: views. A view that could reach outside its storage is refused where it is made."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, MemRefType, NoneAttr, StridedLayoutAttr, UnrankedMemRefType
from xdsl.dialects.memref import ExpandShapeOp, ReinterpretCastOp, SubviewOp
from xdsl.ir import Attribute, Operation

from mlc.dialects.tensor.semantics import reassociation_of
from mlc.dialects.tensor.semantics_slices import reduced_dims, slice_of
from mlc.ir.memory import Buffer, row_major
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import DYNAMIC, byte_size, element_type, fill_shape, mixed, static_shape


def _buffer(value: Any) -> Buffer:
    assert isinstance(value, Buffer)
    return value


@lru_cache(maxsize=1024)
def static_layout(t: Attribute) -> tuple[tuple[int | None, ...] | None, int | None]:
    """Strides and offset that a memref type promises; None where it leaves them open."""
    assert isinstance(t, MemRefType)
    match t.layout:
        case NoneAttr():
            shape = t.get_shape()
            if DYNAMIC in shape:
                known: list[int | None] = []
                step: int | None = 1
                for n in reversed(shape):
                    known.append(step)
                    step = None if step is None or n == DYNAMIC else step * n
                return tuple(reversed(known)), 0
            return row_major(shape), 0
        case StridedLayoutAttr():
            strides = tuple(None if isinstance(s, NoneAttr) else s.data for s in t.layout.strides.data)
            offset = None if isinstance(t.layout.offset, NoneAttr) else t.layout.offset.data
            return strides, offset
        case _:
            return None, None


def check_layout(op: Operation, value: Buffer, t: Attribute) -> None:
    """Refuse a buffer whose sizes, strides or offset are not those its type states."""
    if not isinstance(t, MemRefType):
        return
    strides, offset = static_layout(t)
    sizes = static_shape(t)
    if len(sizes) != len(value.sizes) or any(s not in (DYNAMIC, n) for s, n in zip(sizes, value.sizes, strict=True)):
        fail(op, f"a buffer of sizes {list(value.sizes)} is no {t}")
    for n, have, said in zip(value.sizes, value.strides, strides or (None,) * len(sizes), strict=True):
        if said is not None and n > 1 and have != said:
            fail(op, f"strides {list(value.strides)} are not those of {t}")
    if offset is not None and value.offset != offset and 0 not in value.sizes:
        fail(op, f"offset {value.offset} is not that of {t}")


def _finish(op: Operation, value: Buffer, run: Runner) -> Results:
    promised = run.state.setdefault("memref.promised", {})
    if op not in promised:
        t = op.results[0].type
        promised[op] = (static_shape(t), *static_layout(t)) if isinstance(t, MemRefType) else (None, None, None)
    sizes, strides, offset = promised[op]
    if value.sizes != sizes or value.strides != strides or (offset is not None and value.offset != offset):
        check_layout(op, value, op.results[0].type)
    _ = value.array  # raises when the view leaves its storage
    return (value,)


@semantics("memref.cast")
def cast(op: Operation, args: Args, run: Runner) -> Results:
    if not isinstance(op.results[0].type, UnrankedMemRefType):
        check_layout(op, _buffer(args[0]), op.results[0].type)
    return args


@lru_cache(maxsize=4096)
def _ints(attr: Attribute) -> tuple[int, ...]:
    assert isinstance(attr, DenseArrayBase)
    return tuple(int(v) for v in attr.get_values())


@semantics("memref.subview")
def subview(op: Operation, args: Args, run: Runner) -> Results:
    source = _buffer(args[0])
    forms = run.state.setdefault("memref.subviews", {})
    form = forms.get(op)
    if form is None:
        assert isinstance(op, SubviewOp)
        a, b = 1 + len(op.offsets), 1 + len(op.offsets) + len(op.sizes)
        static_sizes = _ints(op.static_sizes)
        keep = None if DYNAMIC in static_sizes else _kept(op, static_sizes)
        form = forms[op] = a, b, _ints(op.static_offsets), static_sizes, _ints(op.static_strides), keep
    a, b, static_offsets, static_sizes, static_strides, keep = form
    offsets, sizes = mixed(static_offsets, args[1:a]), mixed(static_sizes, args[a:b])
    steps = mixed(static_strides, args[b:])
    slice_of(op, source.sizes, offsets, sizes, steps)
    offset = source.offset + sum(o * s for o, s in zip(offsets, source.strides, strict=True))
    strides = [k * s for k, s in zip(steps, source.strides, strict=True)]
    keep = _kept(op, sizes) if keep is None else keep
    return _finish(op, source.with_layout(offset, [sizes[d] for d in keep], [strides[d] for d in keep]), run)


def _kept(op: Operation, sizes: Sequence[int]) -> list[int]:
    """Dimensions of a subview that its result has."""
    result = op.results[0].type
    dropped = reduced_dims(sizes, result) if len(static_shape(result)) < len(sizes) else ()
    return [d for d in range(len(sizes)) if d not in dropped]


@semantics("memref.reinterpret_cast")
def reinterpret_cast(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ReinterpretCastOp)
    source = _buffer(args[0])
    a, b = 1 + len(op.offsets), 1 + len(op.offsets) + len(op.sizes)
    (offset,) = mixed(_ints(op.static_offsets), args[1:a])
    sizes = mixed(_ints(op.static_sizes), args[a:b])
    strides = mixed(_ints(op.static_strides), args[b:])
    return _finish(op, source.with_layout(offset, sizes, strides), run)


@semantics("memref.view")
def view(op: Operation, args: Args, run: Runner) -> Results:
    source = _buffer(args[0])
    t = op.results[0].type
    shift = int(args[1])
    sizes = fill_shape(t, args[2:])
    nbytes = byte_size(t) * int(np.prod(sizes, dtype=np.int64))
    if shift < 0 or shift + nbytes > source.sizes[0]:
        fail(op, f"bytes {shift}..{shift + nbytes} of a buffer of {source.sizes[0]}")
    start = source.base + source.offset + shift
    return _finish(op, Buffer(source.storage, element_type(t), run.domain, start, 0, sizes, row_major(sizes)), run)


@semantics("memref.collapse_shape")
def collapse_shape(op: Operation, args: Args, run: Runner) -> Results:
    source = _buffer(args[0])
    sizes: list[int] = []
    strides: list[int] = []
    for group in reassociation_of(op):
        size, stride = _collapsed(op, [source.sizes[d] for d in group], [source.strides[d] for d in group])
        sizes.append(size)
        strides.append(stride)
    return _finish(op, source.with_layout(source.offset, sizes, strides), run)


def _collapsed(op: Operation, sizes: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    total = int(np.prod(sizes, dtype=np.int64))
    wide = [(n, s) for n, s in zip(sizes, strides, strict=True) if n != 1]
    for (_, outer), (n, inner) in itertools.pairwise(wide):
        if total and outer != n * inner:
            fail(op, f"dimensions of sizes {list(sizes)} and strides {list(strides)} are not contiguous")
    return total, wide[-1][1] if wide else (strides[-1] if strides else 1)


@semantics("memref.expand_shape")
def expand_shape(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ExpandShapeOp)
    source = _buffer(args[0])
    sizes = mixed(_ints(op.static_output_shape), args[1:])
    strides: list[int] = [1] * len(sizes)
    for d, group in enumerate(reassociation_of(op)):
        if int(np.prod([sizes[i] for i in group], dtype=np.int64)) != source.sizes[d]:
            fail(op, f"dimension {d} of size {source.sizes[d]} does not split into {[sizes[i] for i in group]}")
        step = source.strides[d]
        for i in reversed(group):
            strides[i] = step
            step *= sizes[i]
    return _finish(op, source.with_layout(source.offset, sizes, strides), run)


@semantics("memref.extract_strided_metadata")
def extract_strided_metadata(op: Operation, args: Args, run: Runner) -> Results:
    source = _buffer(args[0])
    base = Buffer(source.storage, source.element, run.domain, source.base, 0, (), ())
    numbers = [source.offset, *source.sizes, *source.strides]
    return (base, *(np.int64(n) for n in numbers))
