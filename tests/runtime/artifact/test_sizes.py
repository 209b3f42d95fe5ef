"""Open sizes: read from the inputs, checked, computed with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlc.errors import ExecutionError
from mlc.runtime.artifact.sizes import (
    Symbol,
    check_expression,
    evaluate,
    first_broken,
    sizes_of,
)
from mlc.runtime.artifact.sizes import (
    test_of as function_of,
)

SYMBOL = Symbol.from_json(["n", [[0, 0, 1, 0], [1, 1, 2, 1]], 2, 9])
EXPRESSIONS = st.recursive(
    st.integers(-9, 9) | st.just("n"),
    lambda inner: st.tuples(st.sampled_from(["+", "*", "max", "min", "==", "<=", "and", "or"]), inner, inner).map(list),
    max_leaves=6,
)


def _sizes(rows: int, columns: int) -> dict[str, int] | str:
    return sizes_of([SYMBOL], ["x", "y"], [np.zeros((rows, 1)), np.zeros((1, columns))])


def test_sizes_are_read_and_checked():
    assert _sizes(3, 7) == {"n": 3}
    assert _sizes(3, 8) == "dimension 1 of 'y' is 8, but must be 2*n + 1"
    assert _sizes(3, 9) == "dimension 1 of 'y' is 9, but 'n' is 3 elsewhere"
    assert _sizes(10, 21) == "dimension 0 of 'x' is 10, but 'n' must be at least 2 and at most 9"


def _python(expr: Any, n: int) -> int:
    if isinstance(expr, list):
        a, b = (_python(e, n) for e in expr[1:])
        both, either = bool(a and b), bool(a or b)
        numbers = {"+": a + b, "*": a * b, "max": max(a, b), "min": min(a, b)}
        return {**numbers, "==": a == b, "<=": a <= b, "and": both, "or": either}[expr[0]]
    return n if expr == "n" else expr


@given(EXPRESSIONS, st.integers(0, 100))
def test_expressions(expr: Any, n: int):
    check_expression(expr, {"n"})
    assert evaluate(expr, {"n": n}) == _python(expr, n)


def test_conditions_are_told_by_what_they_say():
    even, small = ["==", ["%", "n", 2], 0], ["or", ["<", "n", 4], [">", ["max", "m", 1], 7]]
    assert first_broken([even, small], {"n": 2, "m": 3}) is None
    assert first_broken([even, small], {"n": 3, "m": 3}) == (
        "the model was compiled for sizes with (n % 2) == 0, here n = 3"
    )
    assert first_broken([even, small], {"n": 6, "m": 3}) == (
        "the model was compiled for sizes with (n < 4) or (max(m, 1) > 7), here n = 6, m = 3"
    )
    assert first_broken([["==", ["%", 5, "n"], 0]], {"n": 0}) is not None  # there is no remainder


@given(EXPRESSIONS, st.integers(0, 100))
def test_a_function_of_python_says_the_same(expr: Any, n: int):
    for condition in ([expr] if isinstance(expr, list) else [["max", expr]], [["==", expr, 1], ["min", "n"]]):
        assert function_of(condition, ["n"])([n]) == (first_broken(condition, {"n": n}) is None)


@pytest.mark.parametrize("operator", ["//", "%"])
def test_no_division_by_zero(operator: str):
    with pytest.raises(ExecutionError, match="divided by zero"):
        evaluate([operator, "n", ["+", "n", -2]], {"n": 2})


def test_no_numbers_beyond_64_bits():
    check_expression(expr := ["*", *[1 << 62] * 100_000], set())
    with pytest.raises(ExecutionError, match="beyond 64 bits"):
        evaluate(expr, {})


@pytest.mark.parametrize("expr", [None, 1.5, "m", [], ["+"], ["**", 2, 99], ["+", 1, "m"], {"n": 1}, 1 << 70, True])
def test_what_is_no_expression(expr: Any):
    with pytest.raises(ValueError):
        check_expression(expr, {"n"})


@pytest.mark.parametrize(
    "data",
    [["n", [[0, 0, 0, 0]], 2, 9], ["n", [[-1, 0, 1, 0]], 2, 9], [1, [], 2, 9], ["n", [], None, 9], ["n", [], 1.5, 9]],
)
def test_what_is_no_symbol(data: Any):
    with pytest.raises(ValueError):
        Symbol.from_json(data)
