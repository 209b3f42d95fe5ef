"""Symbolic sizes: expressions of dynamic dimensions as `torch.aten.*.int` ops.

s0 * s1 // 2   -->   %d0 = torch.aten.size.int %arg0, %int0
                     %d1 = torch.aten.size.int %arg0, %int2
                     %m = torch.aten.mul.int %d0, %d1
                     %r = torch.aten.floordiv.int %m, %int2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch.utils._sympy.functions import FloorDiv, Max, Min, Mod, PythonMod, TruncToInt

from mlc.errors import UnsupportedError
from mlc.frontends.torch.captured import Place, Symbol
from mlc.frontends.torch.emit import Emitter
from mlc.frontends.torch.graph import BIND_SHAPE, LIST, SYMBOLIC_INT, ListType, Value
from mlc.frontends.torch.size_expressions import whole_number


class SymbolicSizes:
    """Builds the value of a symbolic int; equal expressions are built once."""

    def __init__(self, emitter: Emitter, symbols: Sequence[Symbol], arguments: dict[int, Value]) -> None:
        self._emitter = emitter
        self._places = {s.expr: s.places[0] for s in symbols}
        self._arguments = arguments
        self._built: dict[Any, Value] = {}

    def bind(self, symbols: Sequence[Symbol], inputs: dict[int, Any]) -> None:
        """Say which sizes of the inputs are the same and how large they may be.

        %s0 = torch.symbolic_int "args[0].shape[0]" {min_val = 2, max_val = 512} : !torch.int
        torch.bind_symbolic_shape %arg0, [%s0], affine_map<()[s0] -> (s0, 128)> : !torch.vtensor<[?,128],f32>
        """
        made: list[Value] = []
        numbers: dict[tuple[int, int], int] = {}
        for symbol in symbols:
            places = [p for p in symbol.places if p.scale == 1 and not p.offset]
            if not places:
                continue
            held = (symbol.name, symbol.low, 2**63 - 1 if symbol.high is None else symbol.high)
            numbers |= {(p.leaf, p.dim): len(made) for p in places}
            made += self._emitter.graph.append(SYMBOLIC_INT, (), ("int",), held=held)
        for leaf, argument in self._arguments.items():
            shape = [
                (numbers[leaf, d],) if (leaf, d) in numbers else n if isinstance(n, int) else None
                for d, n in enumerate(inputs[leaf].shape)
            ]
            if not any(isinstance(n, tuple) for n in shape) or None in shape:
                continue
            self._emitter.graph.append(BIND_SHAPE, [argument, *made], (), held=tuple(shape))

    def __call__(self, size: torch.SymInt) -> Value:
        """The value of `size`."""
        return self.build(size.node.expr)

    def build(self, expr: Any) -> Value:
        """The value of a sympy expression."""
        found = self._built.get(expr)
        if found is None:
            found = self._built[expr] = self._make(expr)
        return found

    def _make(self, expr: Any) -> Value:
        match expr:
            case sympy.Integer():
                return self._emitter.constant(int(expr))
            case sympy.Symbol():
                return self._symbol(expr)
            case sympy.Add():
                return self._fold("aten.add.int", expr.args)
            case sympy.Mul():
                return self._fold("aten.mul.int", expr.args)
            case sympy.Pow() if isinstance(expr.args[1], sympy.Integer) and expr.args[1] > 0:
                return self._fold("aten.mul.int", [expr.args[0]] * int(expr.args[1]))
            case FloorDiv():
                return self._fold("aten.floordiv.int", expr.args)
            case Mod() | PythonMod():
                return self._fold("aten.remainder.int", expr.args)
            case Max() | sympy.Max():
                return self._fold("prim.max.int", expr.args)
            case Min() | sympy.Min():
                return self._fold("prim.min.int", expr.args)
            case TruncToInt() if (whole := whole_number(expr.args[0])) is not None:
                return self.build(whole)
            case _:
                raise UnsupportedError(
                    f"this model computes a size by {type(expr).__name__} ({expr})",
                    hint="make the size it depends on static",
                )

    def _fold(self, name: str, args: Sequence[Any]) -> Value:
        value = self.build(args[0])
        for other in args[1:]:
            value = self._int(name, value, self.build(other))
        return value

    def _symbol(self, symbol: Any) -> Value:
        place = self._places.get(symbol)
        if place is None:
            raise UnsupportedError(
                f"this model uses a size ({symbol}) that depends on the values of a tensor",
                hint="keep sizes independent of data: masks instead of nonzero or boolean indexing",
            )
        value = self._int("aten.size.int", self._arguments[place.leaf], self._emitter.constant(place.dim))
        if place.offset:
            value = self._int("aten.add.int", value, self._emitter.constant(-place.offset))
        if place.scale != 1:
            value = self._int("aten.floordiv.int", value, self._emitter.constant(place.scale))
        return value

    def _int(self, name: str, *operands: Value) -> Value:
        if name.startswith("prim."):  # takes a list
            operands = self._emitter.graph.append(LIST, operands, (ListType("int"),))
            name = f"{name.removesuffix('.int')}.self_int"
        return self._emitter.graph.append(f"torch.{name}", operands, ("int",))[0]


def linear_place(expr: Any, leaf: int, dim: int) -> tuple[Any, Place] | None:
    """The symbol and place of a size of the form `a * s + b`; None for other forms."""
    symbols = list(expr.free_symbols)
    if len(symbols) != 1:
        return None
    (symbol,) = symbols
    offset = expr.xreplace({symbol: sympy.Integer(0)})
    scale = sympy.expand(expr - offset) / symbol
    if not (isinstance(scale, sympy.Integer) and isinstance(offset, sympy.Integer) and scale > 0):
        return None
    return symbol, Place(leaf, dim, int(scale), int(offset))
