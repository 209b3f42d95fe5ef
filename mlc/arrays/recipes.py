"""Derived constants (packed weights, folded batch norms, transformed filters) from weights, by steps that are data.

    compute = Recipes(steps, results).computer(weights.get)
    compute("const.w.packed")       -->  an array, in any memory layout

A step is `(kind, attributes, operands)`: a function of `mlc/arrays/steps.py` with its attributes, and the numbers of
the steps whose values it gets. `weight` is an array of the weight store. `mlc/interp/recipes.py` makes steps of the IR.
What several constants are made of is computed once, as far as a few megabytes hold it until then, or what one took.
Tests: tests/arrays/test_recipes.py
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlc.arrays.steps import function
from mlc.arrays.stored import carried
from mlc.errors import InternalError, LimitError, MlcError

KEPT = 8 << 20
"""Bytes of values that wait for other constants; more where a value of the last constant was larger."""
_CHEAP = frozenset(("weight", "literal", "pack", "reshape", "transpose"))
"""Kinds whose values are views, as a rule."""

Get = Callable[[str], np.ndarray]
Step = tuple[str, list[Any], list[int]]


@dataclass
class Recipes:
    """Steps, operands first, and the number of the one that gives each constant."""

    steps: list[Step] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=dict)

    def needed(self, numbers: Iterable[int], have: Collection[int] = ()) -> set[int]:
        """The steps that these values take, besides those there are."""
        found: set[int] = set()
        waiting = [n for n in numbers if n not in have]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting += [n for n in self.steps[number][2] if n not in have]
        return found

    def only_what_is_used(self) -> Recipes:
        """Without steps that no constant takes."""
        used = sorted(self.needed(self.results.values()))
        place = {number: i for i, number in enumerate(used)}
        rows = [self.steps[number] for number in used]
        steps = [(kind, attributes, [place[o] for o in operands]) for kind, attributes, operands in rows]
        return Recipes(steps, {name: place[number] for name, number in self.results.items()})

    def to_json(self) -> list[Any]:
        """As `json` takes it."""
        return [self.steps, self.results]

    @classmethod
    def from_json(cls, data: list[Any]) -> Recipes:
        """What `to_json` gave; ValueError or TypeError where it is something else."""
        rows, results = data
        steps: list[Step] = [(str(kind), list(attributes), list(operands)) for kind, attributes, operands in rows]
        if any(not 0 <= o < number for number, (_, _, operands) in enumerate(steps) for o in operands):
            raise ValueError("a step takes what is not there yet")
        if any(not 0 <= number < len(steps) for number in results.values()):
            raise ValueError("a constant has no step")
        return cls(steps, dict(results))

    def computer(self, get: Get) -> Callable[[str], np.ndarray]:
        """What computes the constants by name, each once, best in the order of the model's table. `get`: weights."""
        return _Computer(self, get)


class _Computer:
    def __init__(self, recipes: Recipes, get: Get) -> None:
        self._recipes = recipes
        self._get = get
        self._kept: dict[int, np.ndarray] = {}
        self._room = KEPT
        self._readers: list[list[int]] = [[] for _ in recipes.steps]
        for number, (_, _, operands) in enumerate(recipes.steps):
            for operand in operands:
                self._readers[operand].append(number)
        self._waiting = [0] * len(recipes.steps)  # constants that take the step and are not there yet
        for number in recipes.results.values():
            for step in recipes.needed([number]):
                self._waiting[step] += 1

    def __call__(self, name: str) -> np.ndarray:
        end = self._recipes.results[name]
        try:
            with np.errstate(all="ignore"):
                values = self._values(end)
        except MlcError:
            raise
        except MemoryError as e:
            raise LimitError("not enough memory to make the constants of the model") from e
        except Exception as e:
            raise InternalError(f"@{name} could not be computed: {type(e).__name__}: {e}") from e
        for number in self._recipes.needed([end]):
            self._waiting[number] -= 1
        self._keep(values)
        return np.asarray(values[end])

    def _values(self, end: int) -> dict[int, np.ndarray]:
        """What value `end` takes and others may take, too, and itself."""
        steps, values = self._recipes.steps, dict(self._kept)
        self._room = KEPT
        numbers = sorted(self._recipes.needed([end], self._kept))
        last = {operand: number for number in numbers for operand in steps[number][2]}
        for number in numbers:
            kind, attributes, operands = steps[number]
            if kind == "weight":
                values[number] = self._weight(*attributes)
            else:
                values[number] = function(kind)(*attributes, *(values[o] for o in operands))
                self._room = max(self._room, values[number].nbytes)
            for operand in operands:
                once = self._waiting[operand] == 1 or steps[operand][0] in _CHEAP
                if once and last[operand] == number:
                    values.pop(operand, None)
        return values

    def _weight(self, name: str, dtype: str, bf16: bool) -> np.ndarray:
        return carried(self._get(name), np.dtype(dtype), bf16=bf16)

    def _keep(self, values: dict[int, np.ndarray]) -> None:
        """Of what there is: what constants to come will take themselves, not by way of another value that is kept."""
        self._kept = kept = dict[int, np.ndarray]()
        size = 0
        for number in sorted(values, reverse=True):
            missing = any(self._waiting[r] and r not in kept for r in self._readers[number])
            if missing and self._recipes.steps[number][0] not in _CHEAP and size + values[number].nbytes <= self._room:
                kept[number] = values[number]
                size += values[number].nbytes
