"""Functions of derived constants as plain data, which `mlc/arrays/recipes.py` computes without the IR.

    @const.w.packed() { constant dense_resource<w>, tensor.empty, linalg.pack }
        -->  steps [["weight", ["w", "<f4", false], []], ["pack", [[1], [16], []], [0]]], results {"const.w.packed": 1}

Steps are numbered over all functions: equal ones have one number. Tests: tests/arrays/test_recipes.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from mlc.arrays.recipes import Recipes, Step
from mlc.ir.semantics import Step as IrStep
from mlc.ir.semantics import step_of
from mlc.ir.values import is_bf16

_MOVES = frozenset(("pack", "reshape", "transpose"))
_AS_BITS = "<u2"


def recipes_of(module: ModuleOp) -> Recipes:
    """Of the functions in `module` that consist of steps; the others have none."""
    writer = _Writer()
    for op in module.ops:
        if isinstance(op, FuncOp) and (number := writer.function(op)) is not None:
            writer.results[op.sym_name.data] = number
    return Recipes(writer.steps, writer.results).only_what_is_used()


class _Writer:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.results: dict[str, int] = {}
        self._known: dict[str, int] = {}

    def function(self, op: FuncOp) -> int | None:
        """The number of what it returns."""
        end = op.body.block.last_op
        if op.body.block.args or not isinstance(end, ReturnOp) or len(end.operands) != 1:
            return None
        number = self.value(end.operands[0], {})
        return self.bits(number) if number is not None and is_bf16(end.operands[0].type) else number

    def value(self, value: SSAValue, numbers: dict[SSAValue, int | None]) -> int | None:
        """The number of a value of the function; None where it takes an op that is no step."""
        if value not in numbers:
            owner = value.owner
            step = step_of(owner) if isinstance(owner, Operation) else None
            numbers[value] = None if step is None else self._known_step(step, numbers)
        return numbers[value]

    def _known_step(self, step: IrStep, numbers: dict[SSAValue, int | None]) -> int | None:
        operands = [self.value(v, numbers) for v in step.operands]
        known = [n for n in operands if n is not None]
        return self.step(step.kind, step.attributes, known) if len(known) == len(operands) else None

    def step(self, kind: str, attributes: Sequence[Any], operands: Sequence[int]) -> int:
        """The number of a step."""
        row = (kind, list(attributes), list(operands))
        key = json.dumps(row)
        if key not in self._known:
            self._known[key] = len(self.steps)
            self.steps.append(row)
        return self._known[key]

    def bits(self, number: int) -> int:
        """The bits of a value of bf16, taken where it is computed, not where it is moved."""
        kind, attributes, operands = self.steps[number]
        if kind in _MOVES:
            return self.step(kind, attributes, [self.bits(n) for n in operands])
        if kind == "elementwise":
            shape, _, reads, writes, body, result = attributes
            last = ("bf16_bits", (), (result,))
            return self.step(kind, (shape, _AS_BITS, reads, writes, [*body, last], len(reads) + len(body)), operands)
        return self.step("bf16_bits", (), [number])
