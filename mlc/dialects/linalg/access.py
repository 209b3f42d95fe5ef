"""How a structured op reaches into an operand: the indexing map turned into strided views or index arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from xdsl.ir import Operation
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)

from mlc.ir.semantics import fail

Linear = tuple[tuple[int, ...], int]
"""Coefficient of each loop dimension, and the constant."""


@lru_cache(maxsize=4096)
def linear_form(expr: AffineExpr, n_dims: int) -> Linear | None:
    """`expr` as a linear form over the loop dimensions; None for floordiv, ceildiv and mod."""
    zeros = (0,) * n_dims
    match expr:
        case AffineConstantExpr():
            return zeros, expr.value
        case AffineDimExpr():
            return tuple(1 if d == expr.position else 0 for d in range(n_dims)), 0
        case AffineBinaryOpExpr():
            a, b = linear_form(expr.lhs, n_dims), linear_form(expr.rhs, n_dims)
            if a is None or b is None:
                return None
            if expr.kind == AffineBinaryOpKind.Add:
                return tuple(x + y for x, y in zip(a[0], b[0], strict=True)), a[1] + b[1]
            if expr.kind == AffineBinaryOpKind.Mul and not any(b[0]):
                return tuple(x * b[1] for x in a[0]), a[1] * b[1]
            if expr.kind == AffineBinaryOpKind.Mul and not any(a[0]):
                return tuple(x * a[1] for x in b[0]), a[1] * b[1]
            return None
        case _:
            return None


def evaluate(expr: AffineExpr, dims: Sequence[Any]) -> Any:
    """`expr` at indices that may be arrays."""
    match expr:
        case AffineConstantExpr():
            return expr.value
        case AffineDimExpr():
            return dims[expr.position]
        case AffineBinaryOpExpr():
            a, b = evaluate(expr.lhs, dims), evaluate(expr.rhs, dims)
            match expr.kind:
                case AffineBinaryOpKind.Add:
                    return a + b
                case AffineBinaryOpKind.Mul:
                    return a * b
                case AffineBinaryOpKind.FloorDiv:
                    return a // b
                case AffineBinaryOpKind.CeilDiv:
                    return -(-a // b)
                case AffineBinaryOpKind.Mod:
                    return a % b
        case _:
            raise ValueError(f"no value for {expr}")


def loop_ranges(op: Operation, maps: Sequence[AffineMap], shapes: Sequence[Sequence[int]]) -> list[int]:
    """Trip count of each loop, read off the operand dimensions it indexes alone; they must agree."""
    n = maps[0].num_dims if maps else 0
    ranges: list[int | None] = [None] * n
    for m, shape in zip(maps, shapes, strict=True):
        for expr, size in zip(m.results, shape, strict=True):
            if isinstance(expr, AffineDimExpr):
                known = ranges[expr.position]
                if known is not None and known != size:
                    fail(op, f"loop d{expr.position} is {known} long for one operand, {size} for another")
                ranges[expr.position] = size
    if None in ranges:
        fail(op, f"no operand says how long loop d{ranges.index(None)} is")
    return [r for r in ranges if r is not None]


class Access:
    """One operand's map over known loop ranges; refuses an operand that the loops reach out of."""

    def __init__(self, op: Operation, m: AffineMap, shape: Sequence[int], ranges: Sequence[int]) -> None:
        self.exprs = m.results
        self.shape = tuple(shape)
        self.ranges = tuple(ranges)
        forms = [linear_form(e, len(ranges)) for e in m.results]
        self.forms: list[Linear] | None = None if None in forms else [f for f in forms if f is not None]
        self._layouts: dict[tuple[Any, ...], tuple[list[int], list[int], tuple[slice, ...], list[bool]]] = {}
        if all(n > 0 for n in ranges):
            self._check(op, forms)

    def _check(self, op: Operation, forms: Sequence[Linear | None]) -> None:
        for d, (form, size) in enumerate(zip(forms, self.shape, strict=True)):
            if form is None:
                continue
            low = form[1] + sum(min(0, c * (n - 1)) for c, n in zip(form[0], self.ranges, strict=True))
            high = form[1] + sum(max(0, c * (n - 1)) for c, n in zip(form[0], self.ranges, strict=True))
            if low < 0 or high >= size:
                fail(
                    op,
                    f"the loops reach {low}..{high} in dimension {d} of shape {list(self.shape)}",
                )

    def at(self, point: Sequence[int]) -> tuple[int, ...]:
        """Element reached at one point."""
        return tuple(int(evaluate(e, point)) for e in self.exprs)

    def placing_dims(self) -> set[int]:
        """Loop dimensions that are a dimension of the operand by themselves."""
        return {e.position for e in self.exprs if isinstance(e, AffineDimExpr)}

    def is_projection(self, dims: set[int]) -> bool:
        """Whether the map is a choice of exactly `dims`, each once: what a result that numpy fills may be."""
        positions = [e.position for e in self.exprs if isinstance(e, AffineDimExpr)]
        return len(positions) == len(self.exprs) == len(set(positions)) and set(positions) == dims

    def view(self, value: np.ndarray, sequential: Sequence[int], parallel: Sequence[int]) -> Callable[..., Any]:
        """Reader of the operand: given the sequential indices, an array over the parallel dims (1 where unused)."""
        if self.forms is None:
            return self._gather(value, sequential, parallel)
        key = (value.strides, *sequential, None, *parallel)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = self._layout(self.forms, value.strides, sequential, parallel)
        shape, strides, corner, live = layout
        base = value[corner] if corner else value
        full = np.lib.stride_tricks.as_strided(base, shape, strides, writeable=False)
        n = len(sequential)

        def read(point: Sequence[Any] = ()) -> Any:
            if n == 0:
                return full
            return full[tuple(i if u else 0 for i, u in zip(point, live, strict=True))]

        read.full = full  # pyright: ignore[reportFunctionMemberAccess]
        return read

    def _layout(
        self, forms: Sequence[Linear], steps: Sequence[int], sequential: Sequence[int], parallel: Sequence[int]
    ) -> tuple[list[int], list[int], tuple[slice, ...], list[bool]]:
        """Shape and strides of the operand over the loops, where it begins, and which sequential loops move it."""
        strides = [0] * len(self.ranges)
        for (coefficients, _), stride in zip(forms, steps, strict=True):
            for d, c in enumerate(coefficients):
                strides[d] += c * stride
        order = [*sequential, *parallel]
        used = [strides[d] != 0 or any(f[0][d] for f in forms) for d in range(len(self.ranges))]
        shape = [self.ranges[d] if used[d] else 1 for d in order]
        corner = tuple(slice(f[1], None) if f[1] >= 0 else slice(None) for f in forms)
        return shape, [strides[d] for d in order], corner, [used[d] for d in sequential]

    def _gather(self, value: np.ndarray, sequential: Sequence[int], parallel: Sequence[int]) -> Callable[..., Any]:
        grid: list[Any] = [None] * len(self.ranges)
        for k, d in enumerate(parallel):
            grid[d] = np.arange(self.ranges[d]).reshape([-1 if e == k else 1 for e in range(len(parallel))])

        def read(point: Sequence[Any] = ()) -> Any:
            dims = list(grid)
            for d, i in zip(sequential, point, strict=True):
                dims[d] = i
            at = np.broadcast_arrays(*(np.asarray(evaluate(e, dims)) for e in self.exprs)) if self.exprs else []
            for i, size in zip(at, self.shape, strict=True):
                if i.min() < 0 or i.max() >= size:
                    raise IndexError(f"index {i.min()}..{i.max()} is outside size {size}")
            return value[tuple(at)]

        return read

    def writable(self, value: np.ndarray, parallel: Sequence[int]) -> np.ndarray:
        """The operand with its dimensions in the order of the parallel loops, as a writable view."""
        positions = [e.position for e in self.exprs if isinstance(e, AffineDimExpr)]
        return value.transpose([positions.index(d) for d in parallel])
