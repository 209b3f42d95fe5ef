"""Structured ops that compute element by element (`mlc/arrays/elementwise.py`), or reduce by an operation that is exact
(`mlc/arrays/reduction.py`), as a plain step.

    linalg.generic [(i, j) -> (i, j), (i, j) -> (j), (i, j) -> (i, j)] { mulf }
        -->  elementwise([4, 8], "<f4", [[0, 1], [1]], [0, 1], [["float2", ["mul", "f32"], [0, 1]]], 2)

Tests: tests/arrays/test_recipes.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg.accumulate import combiner_of, combining_step, neutral_of
from mlc.ir.semantics import Step, step_of
from mlc.ir.values import DYNAMIC, dtype_of, static_shape


def structured_step(op: Operation) -> Step | None:
    """The step that `op` is; None where it adds floats up, where its operands are moved otherwise than dimension by
    dimension, or where its body is not made of steps."""
    assert isinstance(op, LinalgStructuredOperation)
    maps = [m.data for m in op.get_indexing_maps().data]
    dims = [_dims(m) for m in maps]
    shapes = [static_shape(v.type) for v in op.operands]
    placed, block = dims[-1], op.body.block
    if len(op.results) != 1 or placed is None or any(DYNAMIC in shape for shape in shapes):
        return None
    sizes = {d: n for at, shape in zip(dims, shapes, strict=True) for d, n in zip(at or (), shape, strict=bool(at))}
    if len(sizes) != maps[-1].num_dims:
        return None
    reduced = [d for d in range(len(sizes)) if d not in placed]
    combiner = combiner_of(block, len(block.args) - 1) if reduced else None
    combining = combining_step(combiner) if combiner is not None else None
    if reduced and combining is None:
        return None
    order = [*reduced, *sorted(placed)]  # loops are numbered anew: those that reduce come first
    values = _Values(block.args[-1] if reduced else None)
    for value, argument, at in zip(op.operands, block.args, dims, strict=True):
        if argument.first_use is not None and not (reduced and argument is block.args[-1]):
            if at is None:
                return None
            values.operand(argument, value, [order.index(d) for d in at])
    *ops, last = block.ops
    if not all(values.add(inner) for inner in ops):
        return None
    result, dtype = values.number(last.operands[0]), dtype_of(op.results[0].type).str
    extents, writes = [sizes[d] for d in order], [order.index(d) - len(reduced) for d in placed]
    if combiner is None:
        attributes = (extents, dtype, values.reads, writes, values.body(), result)
        return Step("elementwise", attributes, tuple(values.operands))
    neutral = (dtype, (), np.asarray(neutral_of(combiner), dtype).tobytes().hex())
    trip, shape = extents[: len(reduced)], extents[len(reduced) :]
    attributes = (trip, shape, dtype, values.reads, writes, values.body(), result, combining, neutral)
    return Step("reduce", attributes, (*values.operands, op.operands[-1]))


def _dims(m: AffineMap) -> list[int] | None:
    """The loops that index an operand, each once; None where something else does."""
    dims = [e.position for e in m.results if isinstance(e, AffineDimExpr)]
    return dims if len(dims) == len(m.results) == len(set(dims)) else None


class _Values:
    """What a body computes with: `first` if there is one, operands, also constants and what comes from outside, then
    results of its ops."""

    def __init__(self, first: SSAValue | None) -> None:
        self.operands: list[SSAValue] = []
        self.reads: list[Sequence[int]] = []
        self._numbers: dict[SSAValue, int] = {} if first is None else {first: 0}
        self._steps: dict[SSAValue, tuple[Step, list[SSAValue]]] = {}

    def operand(self, inner: SSAValue, outer: SSAValue, dims: Sequence[int]) -> None:
        self._numbers[inner] = len(self._numbers)
        self.operands.append(outer)
        self.reads.append(dims)

    def add(self, op: Operation) -> bool:
        """Take in an op of the body; says whether it is a step."""
        step = step_of(op)
        if step is None or len(op.results) != 1 or op.regions:
            return False
        if not step.operands:
            self.operand(op.results[0], op.results[0], ())
            return True
        self._steps[op.results[0]] = step, list(step.operands)
        for value in step.operands:
            self._outer(value)
        return True

    def _outer(self, value: SSAValue) -> None:
        if value not in self._numbers and value not in self._steps:
            self.operand(value, value, ())

    def number(self, value: SSAValue) -> int:
        """Of a value of the body: the operands come first."""
        self._outer(value)
        if value in self._numbers:
            return self._numbers[value]
        return len(self._numbers) + list(self._steps).index(value)

    def body(self) -> list[Any]:
        """Kind, attributes and operands of each step."""
        return [
            (step.kind, step.attributes, [self.number(v) for v in operands]) for step, operands in self._steps.values()
        ]
