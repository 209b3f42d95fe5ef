"""Builds linalg on tensors: constants, sizes, views, and `linalg.generic`.

Constants and sizes of arguments are made once, at the head of the function; views are kept in `Tensor` and
materialised by `realize` only where a consumer needs another layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any

from xdsl.dialects import arith, cf, tensor
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    AffineMapAttr,
    ArrayAttr,
    DenseArrayBase,
    IndexType,
    IntegerAttr,
    LocationAttr,
    TensorType,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.errors import ShapeError
from mlc.ir.locations import with_location
from mlc.lowering.torch.to_linalg.body import Body, number_attribute
from mlc.lowering.torch.to_linalg.dims import Dim, DimTable, mlir_shape, static
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.tensor import Axes, Number, Scalar, Tensor, plain

Groups = tuple[tuple[int, ...], ...]
_INDEX = IndexType()
_MOST_ELEMENTS = 1 << 58
"""Of 16 bytes each, so that no number of bytes passes 63 bits."""


@lru_cache(maxsize=4096)
def axes_map(loops: int, axes: tuple[int, ...]) -> AffineMapAttr:
    """Indexing map that picks loops: `axes_map(3, (0, 2))` is (d0, d1, d2) -> (d0, d2)."""
    return AffineMapAttr(AffineMap(loops, 0, tuple(AffineDimExpr(a) for a in axes)))


def expr_map(loops: int, exprs: Sequence[AffineExpr]) -> AffineMapAttr:
    """Indexing map of arbitrary expressions."""
    return AffineMapAttr(AffineMap(loops, 0, tuple(exprs)))


@lru_cache(maxsize=256)
def iterators(kinds: str) -> ArrayAttr[IteratorTypeAttr]:
    """`"ppr"`: two parallel loops and a reduction."""
    return ArrayAttr(IteratorTypeAttr.parallel() if k == "p" else IteratorTypeAttr.reduction() for k in kinds)


class Emitter:
    """Emits into the current block of one function."""

    def __init__(self, block: Block) -> None:
        self.entry = block
        self.block = block
        self.location: LocationAttr = UNKNOWN_LOC
        self._head = Block()
        self.constants: set[SSAValue] = set()
        self._constants: dict[tuple[Attribute, int], SSAValue] = {}
        self._realized: dict[tuple[SSAValue, Axes, tuple[Dim, ...], Groups, tuple[bool, ...]], SSAValue] = {}
        self.dims = DimTable(lambda op: self.emit(op), self.index)

    # -- ops, constants, sizes -----------------------------------------------------------------------------------

    def emit(self, op: Operation) -> Operation:
        with_location(op, self.location)
        self.block.add_op(op)
        return op

    def op(self, cls: Callable[..., Operation], *args: Any, **kwargs: Any) -> SSAValue:
        """`cls(*args)` and its first result."""
        return self.emit(cls(*args, **kwargs)).results[0]

    def head(self, op: Operation) -> SSAValue:
        """Put `op` at the head of the function, where everything sees it."""
        op.location = self.location
        self._head.add_op(op)
        return op.results[0]

    @contextmanager
    def at_head(self) -> Iterator[None]:
        """Emit at the head of the function: for what depends on constants alone."""
        outer, self.block = self.block, self._head
        yield
        self.block = outer

    def is_constant(self, t: Tensor) -> bool:
        """Whether the tensor is a constant or computed from constants alone."""
        return t.value in self.constants

    def finish(self) -> None:
        """Insert the head. To be called once, when the function is converted."""
        ops = list(self._head.ops)
        for op in ops:
            op.detach()
        if self.entry.first_op is None:
            self.entry.add_ops(ops)
        else:
            self.entry.insert_ops_before(ops, self.entry.first_op)

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Emit into a nested block; what is computed there is forgotten afterwards."""
        outer, sizes, realized = self.block, self.dims.snapshot(), dict(self._realized)
        self.block = block
        yield
        self.block, self._realized = outer, realized
        self.dims.restore(sizes)

    def constant(self, attr: Any) -> SSAValue:
        """Scalar constant, one per function and value."""
        value = getattr(getattr(attr, "value", None), "data", None)
        key = (attr, int(isinstance(value, float) and math.copysign(1.0, value) < 0))
        if key not in self._constants:
            self._constants[key] = self.head(arith.ConstantOp(attr))
        return self._constants[key]

    def index(self, value: int) -> SSAValue:
        return self.constant(IntegerAttr(value, _INDEX))

    def number(self, value: Number, dtype: DType) -> SSAValue:
        return self.constant(number_attribute(value, dtype))

    def check(self, condition: SSAValue, message: str) -> None:
        """`cf.assert`."""
        self.emit(cf.AssertOp(condition, message))

    def argument_size(self, argument: SSAValue, d: int) -> SSAValue:
        """Size of dimension `d` of a function argument."""
        size = self.head(tensor.DimOp(argument, self.index(d)))
        self.dims.limit(size, 0, math.inf)
        return size

    def cast_scalar(self, s: Scalar | Number, dtype: DType) -> SSAValue:
        """A run-time or constant number as a value of `dtype`."""
        if not isinstance(s, Scalar):
            return self.number(s, dtype)
        body = Body(self.block, self.location)
        if isinstance(s.value.type, IndexType):
            return body.from_index(s.value, dtype)
        return body.cast(s.value, s.dtype, dtype)

    # -- tensors -------------------------------------------------------------------------------------------------

    def type_of(self, shape: Sequence[Dim], dtype: DType) -> TensorType:
        known = [d for d in shape if isinstance(d, int)]
        if known and (min(known) < 0 or math.prod(known) > _MOST_ELEMENTS):
            raise ShapeError(
                f"a tensor of sizes {[d if isinstance(d, int) else None for d in shape]}",
                expected=f"sizes from 0, at most {_MOST_ELEMENTS} elements",
            )
        return TensorType(dtype.mlir, mlir_shape(shape))

    def empty(self, shape: Sequence[Dim], dtype: DType) -> SSAValue:
        return self.op(tensor.EmptyOp, [d for d in shape if isinstance(d, SSAValue)], self.type_of(shape, dtype))

    def fill(self, shape: Sequence[Dim], dtype: DType, value: Number | SSAValue) -> SSAValue:
        """A new tensor filled with `value`."""
        scalar = value if isinstance(value, SSAValue) else self.number(value, dtype)
        return self.op(linalg.FillOp, [scalar], [self.empty(shape, dtype)])

    def full(self, shape: Sequence[Dim], dtype: DType, value: Number | SSAValue) -> Tensor:
        """A tensor of one value: a 0-d one, stretched."""
        splat = None if isinstance(value, SSAValue) else value
        return Tensor(self.fill((), dtype, value), dtype, tuple(shape), (None,) * len(shape), (), splat)

    def generic(
        self,
        ins: Sequence[tuple[SSAValue, AffineMapAttr]],
        outs: Sequence[tuple[SSAValue, AffineMapAttr]],
        kinds: str,
        fn: Callable[..., SSAValue | tuple[SSAValue, ...]],
    ) -> tuple[SSAValue, ...]:
        """`linalg.generic`; `fn(body, *scalars of ins and outs)` builds the body and returns what it yields."""
        operands = [v for v, _ in (*ins, *outs)]
        block = Block(arg_types=[v.type.element_type for v in operands])  # pyright: ignore[reportAttributeAccessIssue]
        body = Body(block, self.location)
        yielded = fn(body, *block.args)
        body.emit(linalg.YieldOp(*(yielded if isinstance(yielded, tuple) else (yielded,))))
        op = linalg.GenericOp(
            [v for v, _ in ins],
            [v for v, _ in outs],
            Region(block),
            ArrayAttr(m for _, m in (*ins, *outs)),
            iterators(kinds),
            [v.type for v, _ in outs],
        )
        return tuple(self.emit(op).results)

    def transpose(self, value: SSAValue, shape: Sequence[Dim], perm: Sequence[int], dtype: DType) -> SSAValue:
        out = self.empty([shape[p] for p in perm], dtype)
        return self.op(linalg.TransposeOp, value, out, DenseArrayBase.from_list(i64, list(perm)))

    # -- reshapes of values --------------------------------------------------------------------------------------

    def collapse(self, value: SSAValue, shape: Sequence[Dim], groups: Groups, dtype: DType) -> SSAValue:
        """Merge neighbouring dims of `value`."""
        new = [self.dims.product(shape[d] for d in g) for g in groups]
        return self.op(
            tensor.CollapseShapeOp.build,
            operands=[value],
            properties={"reassociation": _reassociation(groups)},
            result_types=[self.type_of(new, dtype)],
        )

    def expand(self, value: SSAValue, shape: Sequence[Dim], groups: Groups, dtype: DType) -> SSAValue:
        """Split dims of `value` into the groups of `shape`."""
        return self.op(
            tensor.ExpandShapeOp,
            value,
            [d for d in shape if isinstance(d, SSAValue)],
            _reassociation(groups),
            mlir_shape(shape),
            self.type_of(shape, dtype),
        )

    def reshape(self, value: SSAValue, old: Sequence[Dim], new: Sequence[Dim], dtype: DType) -> SSAValue:
        """Row-major reshape of a value by the fewest view ops."""
        if len(old) == len(new) and all(self.dims.same(a, b) for a, b in zip(old, new, strict=True)):
            return value
        if not old:  # a copy: views of 0-d tensors are little used and unevenly supported
            n = len(new)
            outs = [(self.empty(new, dtype), axes_map(n, tuple(range(n))))]
            return self.generic([(value, axes_map(n, ()))], outs, "p" * n, lambda body, x, out: x)[0]
        if not new:
            return self.collapse(value, old, (), dtype)
        pairs = self.match_shapes(old, new)
        if pairs is None:
            if len(old) != 1:
                value = self.collapse(value, old, (tuple(range(len(old))),), dtype)
            if static(old) != static(new):
                value = self.op(tensor.CastOp, value, self.type_of((self.dims.product(new),), dtype))
            return value if len(new) == 1 else self.expand(value, new, (tuple(range(len(new))),), dtype)
        olds, news = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
        middle = [self.dims.product(old[d] for d in g) for g in olds]
        if len(middle) != len(old):
            value = self.collapse(value, old, olds, dtype)
        return value if len(middle) == len(new) else self.expand(value, new, news, dtype)

    def match_shapes(
        self, old: Sequence[Dim], new: Sequence[Dim]
    ) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
        """Cut both shapes into as many runs of equal product as possible; None when there is no such cut.

        (2, 3, 4) to (6, 4): [((0, 1), (0,)), ((2,), (1,))]. Both sides of every run are non-empty.
        """
        same, product = self.dims.same, self.dims.product
        runs: list[tuple[list[int], list[int]]] = []
        i = j = 0
        while i < len(old) and j < len(new):
            a, b = [i], [j]
            i, j = i + 1, j + 1
            pa, pb = old[a[0]], new[b[0]]
            while not same(pa, pb):
                if self._smaller(pa, pb) and i < len(old):
                    a.append(i)
                    pa = product((pa, old[i]))
                    i += 1
                elif j < len(new) and not self._smaller(pa, pb):
                    b.append(j)
                    pb = product((pb, new[j]))
                    j += 1
                else:
                    return None
            runs.append((a, b))
        if not runs:
            return [] if not old and not new else None
        for rest, side, shape in ((range(i, len(old)), 0, old), (range(j, len(new)), 1, new)):
            if any(shape[d] != 1 for d in rest):
                return None
            runs[-1][side].extend(rest)
        return [(tuple(a), tuple(b)) for a, b in runs]

    def _smaller(self, a: Dim, b: Dim) -> bool:
        """Whether `a` should grow to meet `b`: fewer unknowns or a smaller coefficient."""
        (ca, xs), (cb, ys) = self.dims.monomial(a), self.dims.monomial(b)
        if len(xs) != len(ys):
            return len(xs) < len(ys)
        return ca < cb

    # -- views ---------------------------------------------------------------------------------------------------

    def permuted(self, t: Tensor, perm: Sequence[int]) -> Tensor:
        """Dimensions in another order; free unless it tears a split axis apart."""
        axes = tuple(t.axes[p] for p in perm)
        real = [(a, p) for a, p in zip(axes, perm, strict=True) if a is not None]
        runs = [i for i, (a, _) in enumerate(real) if i == 0 or real[i - 1][0] != a]
        torn = len({a for a, _ in real}) != len(runs)
        swapped = any(x[0] == y[0] and x[1] > y[1] for x, y in pairwise(real))
        if torn or swapped:
            t = self.plain(t)
            axes = tuple(perm)
        return t.with_view(tuple(t.shape[p] for p in perm), axes)

    def viewed(self, t: Tensor, shape: Sequence[Dim]) -> Tensor:
        """`t.reshape(shape)`, free where a value's axes are only split."""
        shape = tuple(shape)
        if not self.is_row_major(t):
            t = self.plain(t)
        pairs = self.match_shapes(t.value_shape, shape) if t.value_shape else None
        if not t.value_shape and all(d == 1 for d in shape):
            return t.with_view(shape, (None,) * len(shape))
        if pairs is None:
            return plain(self.reshape(t.value, t.value_shape, shape, t.dtype), t.dtype, shape)
        olds = tuple(a for a, _ in pairs)
        value, value_shape = t.value, t.value_shape
        if len(olds) != len(value_shape):
            value_shape = tuple(self.dims.product(t.value_shape[d] for d in g) for g in olds)
            value = self.collapse(t.value, t.value_shape, olds, t.dtype)
        axes: list[int | None] = [None] * len(shape)
        for axis, (_, new) in enumerate(pairs):
            wide = [d for d in new if shape[d] != 1] or [new[0]]
            for d in range(wide[0], wide[-1] + 1):
                axes[d] = axis
        return Tensor(value, t.dtype, shape, tuple(axes), value_shape)

    def is_row_major(self, t: Tensor) -> bool:
        """Whether the elements of `value` are those of `t` in the same order."""
        real = [a for a in t.axes if a is not None]
        return real == sorted(real) and all(s == 1 for s, a in zip(t.shape, t.axes, strict=True) if a is None)

    def plain(self, t: Tensor) -> Tensor:
        """`t` with nothing left to view."""
        if t.is_plain:
            return t
        return plain(self.realize(t, tuple((d,) for d in range(t.rank))), t.dtype, t.shape)

    def realize(self, t: Tensor, groups: Groups, drop: Sequence[bool] | None = None) -> SSAValue:
        """The tensor with logical dims merged into `groups` (neighbours, in order), without the dropped ones.

        A dropped group must hold only dims that are stretched or of size one.
        """
        drop = tuple(drop) if drop else (False,) * len(groups)
        key = (t.value, t.axes, t.shape, groups, drop)
        if key not in self._realized:
            self._realized[key] = self._realize(t, groups, drop)
        return self._realized[key]

    def _realize(self, t: Tensor, groups: Groups, drop: tuple[bool, ...]) -> SSAValue:
        kept = [g for g, gone in zip(groups, drop, strict=True) if not gone]
        if t.splat is not None and kept:
            return self.fill([self.dims.product(t.shape[d] for d in g) for g in kept], t.dtype, t.splat)
        if any(t.axes[d] is None and t.shape[d] != 1 for g in kept for d in g):
            t = self._stretched(t, [d for g in kept for d in g])
        value, value_shape = t.value, t.value_shape
        order = [a for a in dict.fromkeys(t.axes) if a is not None]
        if order != sorted(order):
            order += [a for a in range(len(value_shape)) if a not in order]  # of size one, squeezed
            runs = _runs(order, [[a for d in g if (a := t.axes[d]) is not None] for g in kept])
            together = sorted(runs)
            merged = [self.dims.product(value_shape[a] for a in run) for run in together]
            value = self.reshape(value, value_shape, merged, t.dtype)
            turned = [together.index(run) for run in runs]
            value = self.transpose(value, merged, turned, t.dtype)
            value_shape = tuple(merged[i] for i in turned)
        target = [self.dims.product(t.shape[d] for d in g) for g in kept]
        return self.reshape(value, value_shape, target, t.dtype)

    def _stretched(self, t: Tensor, dims: Sequence[int]) -> Tensor:
        """Copy `t` with its stretched dims written out (those in `dims`)."""
        keep = tuple((d,) for d in range(t.rank))
        gone = tuple(t.axes[d] is None for d in range(t.rank))
        source = self.realize(t, keep, gone)
        shape = tuple(s if d in dims or not gone[d] else 1 for d, s in enumerate(t.shape))
        n = t.rank
        ins = [(source, axes_map(n, tuple(d for d in range(n) if not gone[d])))]
        outs = [(self.empty(shape, t.dtype), axes_map(n, tuple(range(n))))]
        (value,) = self.generic(ins, outs, "p" * n, lambda body, x, out: x)
        return plain(value, t.dtype, shape)

    def refine(self, t: Tensor, sizes: Sequence[int]) -> Tensor:
        """Learn static sizes (-1: nothing known) that the program states."""
        if len(sizes) != t.rank or not any(
            n >= 0 and isinstance(d, SSAValue) for n, d in zip(sizes, t.shape, strict=True)
        ):
            return t
        for n, d in zip(sizes, t.shape, strict=True):
            if n >= 0 and isinstance(d, SSAValue):
                self._check_stated(d, n)
        shape = tuple(n if n >= 0 else d for n, d in zip(sizes, t.shape, strict=True))
        return plain(self.op(tensor.CastOp, self.plain(t).value, self.type_of(shape, t.dtype)), t.dtype, shape)

    def _check_stated(self, size: SSAValue, stated: int) -> None:
        """A slice of two rows is taken to have two: it may be given fewer to slice."""
        if ("stated", size, stated) not in self.dims.known:
            same = self.op(arith.CmpiOp, size, self.index(stated), "eq")
            self.check(
                same, f"a size must be {stated} for the model as it was captured: an input is too small or large"
            )
            self.dims.known["stated", size, stated] = same


def _reassociation(groups: Groups) -> ArrayAttr[ArrayAttr[IntegerAttr]]:
    return ArrayAttr(ArrayAttr(IntegerAttr(d, i64) for d in g) for g in groups)


def _runs(order: Sequence[int], groups: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Axes in `order`, neighbours that stay neighbours and are merged by a group as one: they are not transposed but
    merged before, so that a batch of matrices has one dimension of batches."""
    of = {a: g for g, axes in enumerate(groups) for a in axes if sum(a in other for other in groups) == 1}
    runs: list[tuple[int, ...]] = []
    for a in order:
        last = runs[-1][-1] if runs else None
        if last is not None and a == last + 1 and last in of and of[last] == of.get(a):
            runs[-1] = (*runs[-1], a)
        else:
            runs.append((a,))
    return runs
