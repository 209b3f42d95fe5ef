"""Open sizes of a saved version: where they are read from, which ones it takes, and numbers computed from them.

    Symbol("n", places=((0, 1, 2, 0),), low=2, high=64)     dimension 1 of leaf 0 is 2 * n
    evaluate(["+", "n", 1], {"n": 3})  -->  4
    first_broken([["==", ["%", "n", 2], 0]], {"n": 3})  -->  "… for sizes with (n % 2) == 0, here n = 3"
Tests: tests/runtime/artifact/test_sizes.py
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from mlc.errors import ExecutionError

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "*": operator.mul, "//": operator.floordiv, "%": operator.mod, "max": max, "min": min,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "and": lambda a, b: bool(a and b), "or": lambda a, b: bool(a or b),
}  # fmt: skip
_DEPTH = 50


@dataclass(frozen=True)
class Symbol:
    """A size that is open. `places`: (leaf, dimension, scale, offset), the dimension being `scale * size + offset`."""

    name: str
    places: tuple[tuple[int, int, int, int], ...]
    low: int
    high: int | None

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Symbol:
        """From `[name, places, low, high]`; ValueError for anything else."""
        name, places, low, high = data
        rows = tuple((leaf, dim, scale, offset) for leaf, dim, scale, offset in places)
        numbers = [n for row in rows for n in row] + [low, *([] if high is None else [high])]
        if type(name) is not str or not all(type(n) is int and abs(n) < 1 << 63 for n in numbers):
            raise ValueError("a size that is none")
        if not all(leaf >= 0 and dim >= 0 and scale > 0 for leaf, dim, scale, _ in rows):
            raise ValueError("places of a size")
        return cls(name, rows, low, high)


def sizes_of(symbols: Sequence[Symbol], names: Sequence[str], leaves: Sequence[Any]) -> dict[str, int] | str:
    """The open sizes of these leaves, or why they do not fit; `names` are those of the leaves."""
    sizes: dict[str, int] = {}
    for symbol in symbols:
        for leaf, dim, scale, offset in symbol.places:
            got = leaves[leaf].shape[dim]
            name = f"dimension {dim} of '{names[leaf]}'"
            value, rest = divmod(got - offset, scale)
            if rest:
                scaled = symbol.name if scale == 1 else f"{scale}*{symbol.name}"
                return f"{name} is {got}, but must be {f'{scaled} + {offset}' if offset else scaled}"
            if sizes.setdefault(symbol.name, value) != value:
                return f"{name} is {got}, but '{symbol.name}' is {sizes[symbol.name]} elsewhere"
            if value < symbol.low or (symbol.high is not None and value > symbol.high):
                high = "" if symbol.high is None else f" and at most {symbol.high}"
                return f"{name} is {got}, but '{symbol.name}' must be at least {symbol.low}{high}"
    return sizes


def test_of(conditions: Sequence[Any], names: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """Whether all conditions hold of the sizes `names`, as one function of Python: they are asked at every call."""
    places = {name: f"n[{k}]" for k, name in enumerate(names)}
    source = " and ".join(_source(c, places) for c in conditions) or "True"
    holds = eval(f"lambda n: {source}", {"max": max, "min": min, "bool": bool, "__builtins__": {}})

    def test(sizes: Sequence[int]) -> bool:
        try:
            return bool(holds(sizes))
        except ZeroDivisionError:
            return False

    return test


def _source(expr: Any, places: Mapping[str, str]) -> str:
    """Python of an expression, from nothing but numbers, places and the operators there are."""
    if isinstance(expr, list | tuple):
        operator, *parts = expr
        if operator not in _OPERATORS:
            raise ValueError("an expression of sizes")
        inner = [_source(p, places) for p in parts]
        if operator in ("max", "min"):
            return f"{operator}([{', '.join(inner)}])"
        joined = f"({f' {operator} '.join(inner)})"
        return f"bool{joined}" if operator in ("and", "or") and len(inner) > 1 else joined
    return places[expr] if isinstance(expr, str) else str(int(expr))


def first_broken(conditions: Sequence[Any], sizes: Mapping[str, int]) -> str | None:
    """Why these sizes do not fit, by the first condition that does not hold of them; None where all hold."""
    for condition in conditions:
        try:
            holds = _evaluate(condition, sizes)
        except (ZeroDivisionError, OverflowError):
            holds = False
        if not holds:
            found = ", ".join(f"{n} = {v}" for n, v in sizes.items() if _mentions(condition, n))
            return f"the model was compiled for sizes with {text(condition)}, here {found}"
    return None


def _mentions(expr: Any, name: str) -> bool:
    return expr == name or (isinstance(expr, list | tuple) and any(_mentions(e, name) for e in expr[1:]))


def text(expr: Any, *, within: bool = False) -> str:
    """An expression as Python writes it."""
    if not isinstance(expr, list | tuple):
        return str(expr)
    operator, *parts = expr
    if operator in ("max", "min"):
        return f"{operator}({', '.join(map(text, parts))})"
    shown = f" {operator} ".join(text(p, within=True) for p in parts)
    return f"({shown})" if within else shown


def check_expression(expr: Any, names: Set[str], depth: int = 0) -> None:
    """ValueError where `expr` is no expression of the sizes `names`."""
    if type(expr) is int and abs(expr) < 1 << 63:
        return
    if type(expr) is str and expr in names:
        return
    if type(expr) is not list or len(expr) < 2 or depth > _DEPTH or expr[0] not in _OPERATORS:
        raise ValueError("an expression of sizes")
    for inner in expr[1:]:
        check_expression(inner, names, depth + 1)


def evaluate(expr: Any, sizes: Mapping[str, int]) -> int:
    """The value of an expression; ExecutionError where it has none, or one that is no 64-bit number."""
    try:
        return _evaluate(expr, sizes)
    except ZeroDivisionError:
        raise ExecutionError("a size among the results is divided by zero", expected="larger inputs") from None
    except OverflowError:
        raise ExecutionError("a size among the results is beyond 64 bits", expected="smaller inputs") from None


def _evaluate(expr: Any, sizes: Mapping[str, int]) -> int:
    if isinstance(expr, int):
        return expr
    if isinstance(expr, str):
        return sizes[expr]
    first, *rest = expr[1:]
    found = _evaluate(first, sizes)
    for inner in rest:
        found = _OPERATORS[expr[0]](found, _evaluate(inner, sizes))
        if abs(found) >= 1 << 63:  # what follows would take ever longer
            raise OverflowError
    return found
