"""Structured ops that compute element by element, as a plain step (`mlc/arrays/elementwise.py`).

    linalg.generic [(i, j) -> (i, j), (i, j) -> (j), (i, j) -> (i, j)] { mulf }
        -->  elementwise([4, 8], "<f4", [[0, 1], [1]], [0, 1], [["float2", ["mul", "f32"], [0, 1]]], 2)

Tests: tests/arrays/test_recipes.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.ir.semantics import Step, step_of
from mlc.ir.values import DYNAMIC, dtype_of, static_shape


def structured_step(op: Operation) -> Step | None:
    """The step that `op` is; None where it reduces, where its operands are moved otherwise than dimension by dimension,
    or where its body is not made of steps."""
    assert isinstance(op, LinalgStructuredOperation)
    maps = [_dims(m.data) for m in op.get_indexing_maps().data]
    loops = maps[-1]
    if len(op.results) != 1 or loops is None or sorted(loops) != list(range(len(loops))):
        return None
    shape = static_shape(op.results[0].type)
    if DYNAMIC in shape or op.get_indexing_maps().data[-1].data.num_dims != len(loops):
        return None
    values = _Values()
    for value, argument, dims in zip(op.operands, op.body.block.args, maps, strict=True):
        if argument.first_use is not None:
            if dims is None:
                return None
            values.operand(argument, value, dims)
    *ops, last = op.body.block.ops
    if not all(values.add(inner) for inner in ops):
        return None
    extents = [shape[loops.index(d)] for d in range(len(loops))]
    result = values.number(last.operands[0])
    attributes = (extents, dtype_of(op.results[0].type).str, values.reads, loops, values.body(), result)
    return Step("elementwise", attributes, tuple(values.operands))


def _dims(m: AffineMap) -> list[int] | None:
    """The loops that index an operand, each once; None where something else does."""
    dims = [e.position for e in m.results if isinstance(e, AffineDimExpr)]
    return dims if len(dims) == len(m.results) == len(set(dims)) else None


class _Values:
    """What a body computes with: operands, with those of constants and from outside, then results of its ops."""

    def __init__(self) -> None:
        self.operands: list[SSAValue] = []
        self.reads: list[Sequence[int]] = []
        self._numbers: dict[SSAValue, int] = {}
        self._steps: dict[SSAValue, tuple[Step, list[SSAValue]]] = {}

    def operand(self, inner: SSAValue, outer: SSAValue, dims: Sequence[int]) -> None:
        self._numbers[inner] = len(self.operands)
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
        return len(self.operands) + list(self._steps).index(value)

    def body(self) -> list[Any]:
        """Kind, attributes and operands of each step."""
        return [
            (step.kind, step.attributes, [self.number(v) for v in operands]) for step, operands in self._steps.values()
        ]
