"""Where a value lies in memory: a root allocation and the part of it that the value covers.

    %d = tensor.empty : tensor<1x96x7x7xf32>                      root r, box [0,0,0,0] + [1,96,7,7]
    %s = tensor.extract_slice %d[0, 64, 0, 0] [1, 32, 7, 7] […]    root r, box [0,64,0,0] + [1,32,7,7]

`disjoint`, `contains` and `same_place` answer the questions of the in-place analysis; each errs on the safe side
(`disjoint` and `same_place` say no, `contains` says no) when sizes are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import SSAValue

from mlc.lowering.buffers.extents import Extent, combine


@dataclass(eq=False)
class Root:
    """One piece of memory. `writable` is false for inputs and constants."""

    name: str
    shape: tuple[Extent, ...]
    writable: bool
    tensors: list[SSAValue] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class View:
    """The part of `root` that a value covers.

    `offsets` and `sizes`: a box in the root's own index space that holds every element of the view. `dims`: which
    root dimension each view dimension runs along, one by one; None when the view was reshaped or strided, so that the
    box only bounds it. `linear`: element offset and strides from the root's start, when all are static.
    """

    root: Root
    offsets: tuple[Extent, ...]
    sizes: tuple[Extent, ...]
    dims: tuple[int, ...] | None
    shape: tuple[Extent, ...]
    linear: tuple[int, tuple[int, ...]] | None
    steps: tuple[object, ...] = ()


def whole(root: Root, strides: Sequence[int | None] | None) -> View:
    """The view that covers a root."""
    static = None if strides is None or None in strides else tuple(s for s in strides if s is not None)
    linear = (0, static) if static is not None and all(isinstance(d, int) for d in root.shape) else None
    return View(root, (0,) * len(root.shape), root.shape, tuple(range(len(root.shape))), root.shape, linear)


def slice_view(
    view: View, offsets: Sequence[Extent], sizes: Sequence[Extent], strides: Sequence[Extent], kept: Sequence[int]
) -> View:
    """The view that `offsets`, `sizes`, `strides` cut out of `view`, of which dimensions `kept` stay."""
    shape = tuple(sizes[d] for d in kept)
    linear = None
    if view.linear is not None:
        ints = [x for x in (*offsets, *sizes, *strides) if isinstance(x, int)]
        if len(ints) == 3 * len(sizes):
            rank = len(sizes)
            start = view.linear[0] + sum(o * s for o, s in zip(ints[:rank], view.linear[1], strict=True))
            steps = [a * b for a, b in zip(ints[2 * rank :], view.linear[1], strict=True)]
            linear = (start, tuple(steps[d] for d in kept))
    step = ("slice", tuple(offsets), tuple(sizes), tuple(strides), tuple(kept))
    if view.dims is None or any(s != 1 for s in strides):
        box_offsets, box_sizes = view.offsets, view.sizes
        if view.dims is not None:
            box_offsets, box_sizes = _strided_box(view, view.dims, offsets, sizes, strides)
        return replace(
            view,
            offsets=box_offsets,
            sizes=box_sizes,
            dims=None,
            shape=shape,
            linear=linear,
            steps=(*view.steps, (view.offsets, view.sizes, view.dims), step),
        )
    new_offsets, new_sizes = list(view.offsets), list(view.sizes)
    for i, d in enumerate(view.dims):
        new_offsets[d] = combine("arith.addi", view.offsets[d], offsets[i])
        new_sizes[d] = sizes[i]
    dims = tuple(view.dims[d] for d in kept)
    return replace(view, offsets=tuple(new_offsets), sizes=tuple(new_sizes), dims=dims, shape=shape, linear=linear)


def _strided_box(
    view: View, dims: Sequence[int], offsets: Sequence[Extent], sizes: Sequence[Extent], strides: Sequence[Extent]
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    box_offsets, box_sizes = list(view.offsets), list(view.sizes)
    for i, d in enumerate(dims):
        size, stride = sizes[i], strides[i]
        if stride == 1:
            box_sizes[d] = size
        elif isinstance(size, int) and isinstance(stride, int) and stride > 0:
            box_sizes[d] = (size - 1) * stride + 1 if size else 0
        else:
            continue  # keep the dimension of the view: it holds every element of the slice
        box_offsets[d] = combine("arith.addi", view.offsets[d], offsets[i])
    return tuple(box_offsets), tuple(box_sizes)


def reshaped_view(view: View, memref: MemRefType, shape: tuple[Extent, ...], step: tuple[object, ...]) -> View:
    """`view` under another shape; `memref` is the type of the reshaped memref, `step` says how it was reshaped."""
    strides = memref.get_strides()
    linear = None
    static = all(isinstance(d, int) for d in shape)
    if static and view.linear is not None and strides is not None and None not in strides:
        linear = (view.linear[0], tuple(s for s in strides if s is not None))
    before = ("shape", view.shape, view.dims)
    steps = view.steps
    if len(steps) >= 2 and steps[-1] == ("undo", step) and isinstance(steps[-2], tuple) and steps[-2][1] == shape:
        return replace(view, dims=steps[-2][2], shape=shape, linear=linear, steps=steps[:-2])
    undo = ("undo", ("collapse" if step[0] == "expand" else "expand", *step[1:]))
    return replace(view, dims=None, shape=shape, linear=linear, steps=(*steps, before, undo))


def _significant(view: View) -> tuple[object, ...] | None:
    """Offset, sizes and strides of the dimensions that hold more than one element; None when not static."""
    if view.linear is None:
        return None
    pairs = [(n, s) for n, s in zip(view.shape, view.linear[1], strict=True) if n != 1]
    return (view.linear[0], *pairs)


def same_place(a: View, b: View) -> bool:
    """Whether element i of `a` is element i of `b`, for each i, for sure."""
    if a.root is not b.root:
        return False
    first, second = _significant(a), _significant(b)
    if first is not None and second is not None:
        return first == second
    return (a.shape, a.offsets, a.sizes, a.dims, a.steps) == (b.shape, b.offsets, b.sizes, b.dims, b.steps)


def _interval(view: View) -> tuple[int, int] | None:
    """First and last element offset; None when not static or empty."""
    if view.linear is None:
        return None
    offset, strides = view.linear
    reach = 0
    for size, stride in zip(view.shape, strides, strict=True):
        assert isinstance(size, int)
        reach += max(size - 1, 0) * stride
    return offset, offset + reach


def disjoint(a: View, b: View) -> bool:
    """Whether no element of `a` is an element of `b`, for sure."""
    if a.root is not b.root or 0 in a.shape or 0 in b.shape:
        return True
    for ao, an, bo, bn in zip(a.offsets, a.sizes, b.offsets, b.sizes, strict=True):
        if _ends_before(ao, an, bo) or _ends_before(bo, bn, ao):
            return True
    first, second = _interval(a), _interval(b)
    if first is None or second is None:
        return False
    return first[1] < second[0] or second[1] < first[0]


def _ends_before(offset: Extent, size: Extent, other: Extent) -> bool:
    end = combine("arith.addi", offset, size)
    if isinstance(end, int) and isinstance(other, int):
        return end <= other
    return end == other


def contains(outer: View, inner: View) -> bool:
    """Whether every element of `inner` is an element of `outer`, for sure."""
    if outer.root is not inner.root or outer.dims is None:
        return same_place(outer, inner)
    root = outer.root.shape
    for full, oo, on, io, size in zip(root, outer.offsets, outer.sizes, inner.offsets, inner.sizes, strict=True):
        if (oo == 0 and on == full) or (oo == io and on == size):
            continue
        match oo, on, io, size:
            case int(), int(), int(), int():
                if not (oo <= io and io + size <= oo + on):
                    return False
            case _:
                return False
    return True


def collapsed_strides(
    shape: Sequence[int], strides: Sequence[int | None], groups: Sequence[Sequence[int]]
) -> tuple[int | None, ...] | None:
    """Strides of a collapsed memref, or None when the groups are not contiguous for sure."""
    out: list[int | None] = []
    for group in groups:
        live = list(group)
        while len(live) > 1 and shape[live[-1]] == 1:
            live.pop()
        dynamic = shape[live[-1]] == DYNAMIC_INDEX and len(live) > 1
        result = None if dynamic else strides[live[-1]]
        stride = result
        for later, dim in zip(reversed(group[1:]), reversed(group[:-1]), strict=True):
            size = shape[later]
            stride = None if stride is None or size == DYNAMIC_INDEX else stride * size
            if shape[dim] == 1:
                continue
            if stride is None or strides[dim] is None or stride != strides[dim]:
                return None
        out.append(result)
    return tuple(out)


def expanded_strides(
    shape: Sequence[int], strides: Sequence[int | None], groups: Sequence[Sequence[int]]
) -> tuple[int | None, ...]:
    """Strides of an expanded memref of `shape`."""
    if not groups:
        return (1,) * len(shape)
    out: list[int | None] = [None] * len(shape)
    for group, start in zip(groups, strides, strict=True):
        stride = start
        for dim in reversed(group):
            out[dim] = stride
            stride = None if stride is None or shape[dim] == DYNAMIC_INDEX else stride * shape[dim]
    return tuple(out)
