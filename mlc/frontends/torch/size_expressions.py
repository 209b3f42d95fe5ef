"""Sizes and conditions on them, from sympy's words into plain data (`mlc/runtime/artifact/sizes.py` reads it).

plain(s0 * 2 + 1, {s0: "x.shape[0]"})             -->   ["+", 1, ["*", 2, "x.shape[0]"]]
conditions(shape_env, …, {s0: "x.shape[0]"})      -->   [["==", ["%", "x.shape[0]", 2], 0]]
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import sympy
import torch
from torch.utils._sympy.functions import FloorDiv, Max, Min, Mod, PythonMod, ToFloat, TruncToInt

_OPERATORS: dict[type, str] = {
    sympy.Add: "+", sympy.Mul: "*", FloorDiv: "//", Mod: "%", PythonMod: "%",
    Max: "max", sympy.Max: "max", Min: "min", sympy.Min: "min",
    sympy.Eq: "==", sympy.Ne: "!=", sympy.StrictLessThan: "<", sympy.LessThan: "<=",
    sympy.StrictGreaterThan: ">", sympy.GreaterThan: ">=", sympy.And: "and", sympy.Or: "or",
}  # fmt: skip


def plain(expr: Any, names: Mapping[Any, str]) -> Any:
    """An expression as numbers, names and lists; TypeError, which names what there are no words for."""
    if isinstance(expr, sympy.Integer):
        return int(expr)
    if expr in names:
        return names[expr]
    if isinstance(expr, sympy.Pow) and isinstance(expr.args[1], sympy.Integer) and int(expr.args[1]) > 0:
        return ["*", *[plain(expr.args[0], names)] * int(expr.args[1])]
    if isinstance(expr, TruncToInt) and (whole := whole_number(expr.args[0])) is not None:
        return plain(whole, names)
    if isinstance(expr, sympy.Not):
        return ["==", plain(expr.args[0], names), 0]
    operator = _OPERATORS.get(type(expr))
    if operator is None:
        raise TypeError(f"{type(expr).__name__} ({expr})")
    return [operator, *(plain(e, names) for e in expr.args)]


def whole_number(expr: Any) -> Any:
    """A product of whole numbers written as floats, as a product of integers; None for others."""
    match expr:
        case ToFloat():
            return expr.args[0]
        case sympy.Float() if float(expr).is_integer():
            return sympy.Integer(int(expr))
        case sympy.Mul():
            factors = [whole_number(a) for a in expr.args]
            return None if None in factors else sympy.Mul(*factors)
        case _:
            return None


def conditions(shape_env: Any, texts: Sequence[str], given: Mapping[str, Any], names: Mapping[Any, str]) -> list[Any]:
    """What a program was exported under: conditions on its sizes by which the model, or PyTorch in it, decided
    something. A program that was saved and loaded has them as `texts` alone, about the arguments `given` by name.
    TypeError as for `plain`."""
    # those that were asked for the layout of a result alone stay, too: what was known is not asked again
    decided = [g.expr for g in shape_env.guards] or [_read(text, given) for text in texts]
    found: list[Any] = []
    for expr in map(shape_env.replace, decided):
        # sizes of weights, and of what depends on data, are in nobody's hands
        if expr != sympy.true and expr.free_symbols <= names.keys():
            condition = plain(expr, names)
            if condition not in found:
                found.append(condition)
    return found


class _Symbolic(ast.NodeTransformer):
    """`a and b` as `(a) & (b)`: conditions that are not known yet."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        parts: list[ast.expr] = [self.visit(v) for v in node.values]
        return reduce(lambda a, b: ast.BinOp(a, operator, b), parts)


def _read(text: str, given: Mapping[str, Any]) -> Any:
    """The sympy expression of a condition that PyTorch wrote as `(L['x'].size()[1] % 2) == 0`."""
    tree = ast.fix_missing_locations(_Symbolic().visit(ast.parse(text, mode="eval")))
    words = {"L": given, "max": _each(torch.sym_max), "min": _each(torch.sym_min), "__builtins__": {}}
    try:
        value = eval(compile(tree, "<condition>", "eval"), words)
    except Exception as error:  # PyTorch's own words, which may be others in another version
        raise TypeError(text) from error
    return value.node.expr if isinstance(value, torch.SymBool) else sympy.true if value else sympy.false


def _each(two: Any) -> Any:
    return lambda *values: reduce(two, values)
